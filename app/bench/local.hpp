// `maru-bench local`: what a lookup costs a worker that shares its host with the pool. Threads of one process call one
// client in a loop, with and without messages, beside bare maps in the same process.
#pragma once

#include <cstdint>
#include <string>

namespace maru::bench {

struct local_options {
  std::uint64_t keys = 1'000'000;
  double seconds = 0.5;                // of each of a cell's two phases: calls timed, calls counted
  std::string only;                    // one operation; empty: all
  std::uint64_t writer_rate = 10'000;  // keys a second at most
  std::string json_path;
  bool append = false;
};

// Exit codes of the process: 0 good, 1 errors, 2 could not run. Missed promises are said, and no error.
int run_local(const local_options& options);

}  // namespace maru::bench
