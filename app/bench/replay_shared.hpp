// What a replay's parent and its workers share: the job on the command line, and the counters in shared memory.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "app/bench/histogram.hpp"
#include "app/bench/replay.hpp"
#include "app/bench/shared_memory.hpp"
#include "base/bounds.hpp"
#include "base/error.hpp"
#include "base/size.hpp"

namespace maru::bench {

// Steps of a request, timed one by one. `read` is one chunk, checked in place; `write` fills one chunk.
enum class step : std::uint8_t { lookup, read, alloc, write, commit, unpin };
inline constexpr std::size_t step_count = 6;
inline constexpr std::array<std::string_view, step_count> step_names = {"lookup", "read",   "alloc",
                                                                        "write",  "commit", "unpin"};

// Free pages that the benchmark's marud keeps ahead of the demand; they come on top of --pool-pages. 2 MiB at least: a
// pool cannot be smaller.
inline constexpr std::uint64_t reserve_pages(std::uint64_t page_bytes) {
  return std::clamp<std::uint64_t>(32 * bounds::MiB / page_bytes, 4, 512);
}
// Pages that a worker fetches ahead where the pool's room is not counted.
inline constexpr std::uint64_t grants_ahead(std::uint64_t page_bytes) {
  return std::clamp<std::uint64_t>(16 * bounds::MiB / page_bytes, 4, 256);
}

struct replay_job {
  unsigned index = 0;
  std::string server;
  std::string trace_path;
  conversation_options conversations;
  std::uint64_t requests = 0;
  std::uint64_t chunk_bytes = 0;
  bool verify = false;
  bool spare_grants = false;  // fetch no page before it is needed: the pool's room is counted
  bool messages = false;      // no local reads
};
std::string to_text(const replay_job& job);
result<replay_job> read_replay_job(const std::string& text);

// The requests that `trace_path` or the generator gives.
result<trace> load_trace(const std::string& trace_path, const conversation_options& conversations,
                         std::size_t requests);

struct replay_control {
  std::atomic<std::uint32_t> go, stop;
  std::atomic<std::uint64_t> next_request;  // workers take requests in the trace's order
};

struct replay_counts {
  std::atomic<std::uint32_t> ready;
  std::atomic<std::uint32_t> local_reads;  // 1: keys were looked up in the pool itself
  std::atomic<std::uint64_t> requests, blocks, hit_blocks, read_bytes, written_chunks, written_bytes, exists,
    wrong_bytes, errors;
  std::array<histogram, step_count> steps;
  char problem[256];  // the first error, as text
};

inline std::size_t replay_counts_offset(unsigned worker) {
  constexpr std::size_t line = 64;
  return align_up(sizeof(replay_control), line) + worker * align_up(sizeof(replay_counts), line);
}

}  // namespace maru::bench
