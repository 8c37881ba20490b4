// Set-up that cannot fail in a sound test: the value, or an exception with the reason.
#pragma once

#include <stdexcept>
#include <utility>

#include "base/error.hpp"

namespace maru::test {

template <class T>
T must(result<T> r) {
  if (!r)
    throw std::runtime_error{to_string(r.error())};
  return *std::move(r);
}

}  // namespace maru::test
