// The pins that a handler took by key, by the page they hold.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/types.hpp"

namespace maru::python {

// While a key is pinned its entry stays where it is, so a key has one page and a page one key.
// It only tells which key to unpin; whether there is a pin to end is the client's to know.
// Concurrency: all members from any thread.
class service_pins {
public:
  void add(std::string_view key, const location& where);
  // One pin of the key ended.
  void drop(std::string_view key);
  // Takes one pin of what lies on the page; its key, or empty where none is held there.
  std::optional<std::string> take(page_ref where);
  void clear();

private:
  struct held {
    location where;
    std::size_t count = 0;
  };
  using by_key = std::unordered_map<std::string, held>;
  void drop_one(by_key::iterator it);

  std::mutex mutex_;
  by_key pins_;
  std::unordered_map<page_ref, by_key::value_type*> by_page_;
};

}  // namespace maru::python
