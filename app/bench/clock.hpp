#pragma once

#include <time.h>

#include <cstdint>

namespace maru::bench {

// CLOCK_MONOTONIC: the same for all processes of the host.
inline std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace maru::bench
