// What a future waits for.
#pragma once

#include <utility>

#include "base/error.hpp"

namespace maru::net {

// REQUIRES: get() is called at most once. Destroying it without get() leaves nothing behind.
template <class T>
struct pending {
  virtual ~pending() = default;
  // True when get() will not wait for marud, but for the few cases in which what was answered is void by then, and to map a
  // region that this process has not seen yet.
  virtual bool ready() = 0;
  virtual result<T> get() = 0;
};

// An answer that is known already.
template <class T>
struct settled final : pending<T> {
  explicit settled(result<T> r) : answer(std::move(r)) {}
  bool ready() override { return true; }
  result<T> get() override { return std::move(answer); }
  result<T> answer;
};

}  // namespace maru::net
