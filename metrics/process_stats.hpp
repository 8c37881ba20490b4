// What the kernel says of this process.
#pragma once

#include <cstdint>

namespace maru::metrics {

struct process_stats {
  double start_seconds = 0;  // since 1970
  std::uint64_t resident_bytes = 0, open_fds = 0, max_fds = 0;
};

// 0 for what /proc does not tell. Any thread.
process_stats read_process_stats();

}  // namespace maru::metrics
