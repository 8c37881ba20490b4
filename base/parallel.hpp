// The same work on several parts at the same time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <thread>
#include <vector>

namespace maru {

// What this machine can do at the same time, at least 1 and at most `most`.
inline std::size_t cores_at_most(std::size_t most) {
  return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, most);
}

// Calls f(0) to f(n - 1), each on a thread of its own but the last, and returns when all have returned. What f throws
// ends the process.
template <class F>
void in_parallel(std::size_t n, const F& f) {
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i + 1 < n; ++i)
    threads.emplace_back([&f, i]() noexcept { f(i); });
  if (n > 0)
    [&]() noexcept { f(n - 1); }();
}

}  // namespace maru
