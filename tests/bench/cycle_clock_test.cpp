// Goal: ticks become nanoseconds by the right arithmetic, and the clock of this machine agrees with the system's.
// Method: clocks with a known rate and cost; a pause that both clocks time.
#include "app/bench/cycle_clock.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

namespace maru::bench {
namespace {

using namespace std::chrono_literals;
using source = cycle_clock::source;

TEST(CycleClock, RateIsTicksOverTime) {
  EXPECT_DOUBLE_EQ(ticks_per_ns({1'000, 500}, {3'500, 1'500}), 2.5);
  EXPECT_DOUBLE_EQ(ticks_per_ns({0, 0}, {24, 1'000}), 0.024);
}

TEST(CycleClock, ClocksThatStandStillOrGoBackHaveNoRate) {
  EXPECT_EQ(ticks_per_ns({10, 10}, {10, 20}), 0);
  EXPECT_EQ(ticks_per_ns({10, 10}, {20, 10}), 0);
  EXPECT_EQ(ticks_per_ns({10, 10}, {9, 20}), 0);
  EXPECT_EQ(ticks_per_ns({10, 10}, {20, 9}), 0);
}

TEST(CycleClock, CostOfReadingIsTakenOffAndNothingIsBelowZero) {
  cycle_clock clock(source::monotonic, 2.5, 40);
  EXPECT_EQ(clock.ns(1'000, 1'290), 100u);
  EXPECT_EQ(clock.ns(1'000, 1'043), 1u);  // 1.2
  EXPECT_EQ(clock.ns(1'000, 1'044), 2u);  // 1.6
  EXPECT_EQ(clock.ns(1'000, 1'040), 0u);
  EXPECT_EQ(clock.ns(1'000, 1'001), 0u);
  EXPECT_DOUBLE_EQ(clock.cost_ns(), 16);
}

TEST(CycleClock, CalibratedClockAgreesWithTheSystems) {
  auto clock = cycle_clock::calibrate();
  // A pause between readings of either clock only makes one of them too long: of several tries one is not disturbed.
  double closest = 1;
  for (int i = 0; i < 20 && closest > 0.01; ++i) {
    auto begin_ns = monotonic_ns();
    auto begin = clock.begin();
    std::this_thread::sleep_for(20ms);
    auto end = clock.end();
    auto ns = static_cast<double>(monotonic_ns() - begin_ns);
    closest = std::min(closest, std::abs(static_cast<double>(clock.ns(begin, end)) / ns - 1));
  }
  EXPECT_LE(closest, 0.01) << clock.text();
  EXPECT_GT(clock.cost_ns(), 0);
  EXPECT_LT(clock.cost_ns(), 2'000);
}

}  // namespace
}  // namespace maru::bench
