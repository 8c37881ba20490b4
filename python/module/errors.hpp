// Errors of the client as Python exceptions.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <utility>

#include "base/error.hpp"

namespace maru::python {

// A call failed as a whole: becomes `maru_handler._maru.Error(code, message)`.
class failure : public std::exception {
public:
  explicit failure(error e) : error_(std::move(e)) {}
  const char* what() const noexcept override { return error_.message.c_str(); }
  const maru::error& cause() const { return error_; }

private:
  maru::error error_;
};

// The value, or a failure.
template <class T>
T must(result<T> r) {
  if (!r)
    throw failure{r.error()};
  return *std::move(r);
}

// Adds the exception to the module and has C++'s become it.
void add_error_type(pybind11::module_& module);

}  // namespace maru::python
