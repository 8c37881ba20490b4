// Python's keys as the bytes that marud knows.
#pragma once

#include <pybind11/pybind11.h>

#include <forward_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace maru::python {

// A batch of keys. A str is its UTF-8. What is no str, or has no UTF-8 of 1 to 1024 bytes, becomes a byte that UTF-8
// never has, a letter for its kind, and what tells it from others of its kind:
//   int: i and its decimal digits; bytes: b and the bytes; None: n; "": s; over 1024 bytes: h and a digest.
// Errors: TypeError for any other type.
// Concurrency: made with the GIL; views() may be read without it: the batch keeps the objects that they point into.
class key_batch {
public:
  explicit key_batch(const pybind11::list& keys);

  std::span<const std::string_view> views() const { return views_; }
  std::size_t size() const { return views_.size(); }

private:
  std::string_view view_of(PyObject* key);
  std::string_view marked(char kind, std::string_view text);

  pybind11::tuple keys_;                 // the list may change meanwhile
  std::forward_list<std::string> made_;  // what is not in a Python object as it is
  std::vector<std::string_view> views_;
};

}  // namespace maru::python
