#include "app/bench/cycle_clock.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr int readings = 64;      // the tightest of so many is taken
constexpr int cost_tries = 4096;  // the cheapest of so many is what reading costs
constexpr auto calibration = 50ms;

// The counter that this processor has.
cycle_clock::source best_source() {
#if defined(__x86_64__)
  constexpr unsigned power_leaf = 0x80000007, invariant_tsc = 1u << 8;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(power_leaf, &a, &b, &c, &d) != 0 && (d & invariant_tsc) != 0)
    return cycle_clock::source::tsc;
#elif defined(__aarch64__)
  return cycle_clock::source::virtual_counter;
#endif
  return cycle_clock::source::monotonic;
}

// Both clocks, with the least time between them of several tries.
clock_reading read_both(const cycle_clock& clock) {
  clock_reading best;
  auto least = UINT64_MAX;
  for (int i = 0; i < readings; ++i) {
    auto before = monotonic_ns();
    auto ticks = clock.begin();
    auto after = monotonic_ns();
    if (after - before < least) {
      least = after - before;
      best = {ticks, before + (after - before) / 2};
    }
  }
  return best;
}

std::uint64_t cost_of(const cycle_clock& clock) {
  auto least = UINT64_MAX;
  for (int i = 0; i < cost_tries; ++i) {
    auto begin = clock.begin();
    auto end = clock.end();
    least = std::min(least, end - begin);
  }
  return least;
}

}  // namespace

double ticks_per_ns(const clock_reading& first, const clock_reading& last) {
  if (last.ticks <= first.ticks || last.ns <= first.ns)
    return 0;
  return static_cast<double>(last.ticks - first.ticks) / static_cast<double>(last.ns - first.ns);
}

cycle_clock cycle_clock::calibrate() {
  auto from = best_source();
  double rate = 1;
  if (from != source::monotonic) {
    cycle_clock raw(from, 1, 0);
    auto first = read_both(raw);
    std::this_thread::sleep_for(calibration);
    rate = ticks_per_ns(first, read_both(raw));
    if (rate == 0) {
      from = source::monotonic;
      rate = 1;
    }
  }
  return {from, rate, cost_of(cycle_clock(from, rate, 0))};
}

std::string cycle_clock::text() const {
  constexpr const char* names[] = {"TSC", "cntvct_el0", "CLOCK_MONOTONIC"};
  char out[96];
  std::snprintf(out, sizeof out, "%s, %.3f ticks/ns, %.1f ns to read", names[static_cast<int>(source_)], ticks_per_ns_,
                cost_ns());
  return out;
}

}  // namespace maru::bench
