// The loop of `maru-bench local`: threads of this process that make one call on random keys as fast as they can, timed
// one by one or, for the rate, not timed at all.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "app/bench/cycle_clock.hpp"
#include "app/bench/histogram.hpp"

namespace maru::bench {

// How many keys are asked for again and again in a hot cell: their entries stay in the caches.
inline constexpr std::uint64_t hot_keys = 1000;
// Keys that are never there: this and what comes after it.
inline constexpr std::uint64_t absent_keys = std::uint64_t{1} << 60;

// One operation on a batch of keys: how many were answered as they should be; empty where the call failed. Called by
// all threads of a loop at the same time.
using loop_call = std::function<std::optional<std::size_t>(std::span<const std::string_view>)>;

struct loop_job {
  unsigned threads = 1;
  unsigned batch = 1;
  std::uint64_t keys = 1;  // keys 0 ... keys - 1 are there
  bool hot = false;        // ask for `hot_keys` of them, spread evenly; else for any, each as likely
  bool absent = false;     // ask for as many others, that are not there
  std::chrono::milliseconds time{500};
};

struct loop_totals {
  histogram latency;           // of the calls that did not fail; empty where they were not timed
  std::uint64_t calls = 0;     // that did not fail
  std::uint64_t keys = 0;      // answered as they should be
  std::uint64_t wrong = 0;     // answered otherwise
  std::uint64_t failures = 0;  // calls
  double seconds = 0;

  double keys_per_s() const { return seconds == 0 ? 0 : static_cast<double>(keys) / seconds; }
  double calls_per_s() const { return seconds == 0 ? 0 : static_cast<double>(calls) / seconds; }
};

// Warms up for a tenth of the time, then counts for all of it; ends early when interrupted. Every thread
// makes one measured call at least. `clock`: time each call with it;
// null: none. Making the keys of a batch is part of the rate and not of the times.
loop_totals run_loop(const loop_job& job, const loop_call& call, const cycle_clock* clock);

// The number of a key that such a loop asks for: the `pick`-th of those it chooses among.
std::uint64_t loop_key(const loop_job& job, std::uint64_t pick);
// How many it chooses among.
std::uint64_t loop_choices(const loop_job& job);

}  // namespace maru::bench
