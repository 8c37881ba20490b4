// What marud said of itself at one moment, and what passed between two moments.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/maructl/top/metrics_text.hpp"

namespace maru::ctl {

inline constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

struct session_sample {
  std::uint64_t id = 0, committed_bytes = 0, grants = 0, pins = 0, requests = 0;
  std::string worker, host, state;
  std::int64_t lease_left_ms = 0;
};

// By the state of their page.
struct state_sizes {
  std::uint64_t committed = 0, granted = 0, evicting = 0, quarantined = 0, retired = 0, free = 0;
};

struct sample {
  std::chrono::steady_clock::time_point at;
  std::string version, pool_path;
  std::uint64_t epoch = 0, uptime_ms = 0;
  bool ready = false;
  std::uint64_t pool_bytes = 0, unassigned_bytes = 0;
  state_sizes pages, bytes;
  std::uint64_t pins = 0, pins_held_dead = 0, evicted = 0, hits = 0, misses = 0;
  double puts_in_flight = 0, stored = 0, existed = 0, failed = 0, pins_taken = 0;
  std::map<std::string, histogram> latency;  // by operation
  std::vector<session_sample> sessions;
};

// From marud's answers to `status`, `sessions` and `metrics`. Throws nlohmann::json::exception where one is not as
// agreed. A metric that this marud does not have counts as 0.
sample read_sample(const nlohmann::json& status, const nlohmann::json& sessions, std::string_view metrics);

// Seconds; NaN where nothing was measured.
struct latency {
  double per_s = 0, p50 = unknown, p99 = unknown, p999 = unknown;
};

struct change {
  double seconds = 0;  // between the two; since marud's start where there is no earlier one of the same marud
  bool since_start = true;
  double hit_rate = unknown;                                                             // 0 to 1; NaN: no lookups
  double lookups = 0, stored = 0, existed = 0, failed = 0, pins_taken = 0, evicted = 0;  // a second
  std::map<std::string, latency> latencies;                                              // by operation
  std::map<std::uint64_t, double> session_requests;                                      // a second, by session
};

// `before`: an earlier sample; one of another start of marud is no use and is passed over.
change between(const std::optional<sample>& before, const sample& now);

}  // namespace maru::ctl
