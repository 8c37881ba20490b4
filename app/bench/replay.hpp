// `maru-bench replay`: a request trace through worker processes and one marud. Per request a worker looks the prefix
// up with pins, reads the chunks that are there in place, writes and commits the rest, and unpins.
#pragma once

#include <cstdint>
#include <string>

#include "app/bench/trace.hpp"

namespace maru::bench {

struct replay_options {
  std::string server;            // HOST:PORT or unix:/PATH; empty: a marud of its own
  std::uint64_t pool_pages = 0;  // committed chunks that its pool has room for; 0: all of the trace, or what fits
  std::string trace_path;        // empty: generated conversations
  conversation_options conversations;
  std::size_t requests = 0;  // of the trace; 0: all
  unsigned workers = 1;
  std::uint64_t chunk_bytes = 64 << 10;
  bool verify = false;    // check every byte read, not one cache line of each 4 KiB
  bool messages = false;  // workers ask by message what they could read in the pool itself
  bool simulate = false;  // no server: print what an exact LRU would hit
  std::string json_path;
};

inline constexpr unsigned replay_workers_max = 64;

// Both are exit codes of the process: 0 good, 1 wrong bytes or errors, 2 could not run.
int run_replay(const replay_options& options);
// A worker process of a replay; `job` is what the parent wrote.
int run_replay_worker(const std::string& job);

}  // namespace maru::bench
