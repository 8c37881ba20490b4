// What a replay says at its end: for people and as JSON.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "app/bench/histogram.hpp"
#include "app/bench/replay.hpp"
#include "app/bench/replay_shared.hpp"

namespace maru::bench {

struct replay_plan {
  std::uint64_t blocks = 0, distinct = 0;  // of the trace
  std::uint64_t page_bytes = 0;
  std::uint64_t chunks = 0;  // committed ones that the pool has room for; 0: not our marud
  std::uint64_t pages = 0;   // of the pool: with reserve and idle grants
  bool evicts = false;       // not all of the trace fits
  double simulated_hit_rate = 0;
};

struct replay_totals {
  double seconds = 0;
  std::uint64_t requests = 0, blocks = 0, hit_blocks = 0, read_bytes = 0, written_chunks = 0, written_bytes = 0,
                exists = 0, wrong_bytes = 0, errors = 0;
  unsigned local_workers = 0;  // that looked keys up in the pool itself
  std::array<histogram, step_count> steps;
  std::string problem;

  double hit_rate() const { return blocks == 0 ? 0 : static_cast<double>(hit_blocks) / static_cast<double>(blocks); }
};

std::string simulation_text(const replay_options& options, const replay_plan& plan, const trace& t);
std::string report_text(const replay_options& options, const replay_plan& plan, const replay_totals& totals);
std::string report_json(const replay_options& options, const replay_plan& plan, const replay_totals& totals);

}  // namespace maru::bench
