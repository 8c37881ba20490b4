// A small number for each thread of the process, to spread what threads write over different cache lines.
#pragma once

#include <atomic>
#include <cstddef>

namespace maru {

// Numbers count up from 0 and are not used again.
inline std::size_t thread_number() {
  static std::atomic<std::size_t> threads{0};
  thread_local const std::size_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace maru
