// Goal: a page that is held is as old as the first of the looks that saw it without a break. Method: looks at made-up times.
#include "actors/hold_times.hpp"

#include <gtest/gtest.h>

namespace maru::actors {
namespace {

using namespace std::chrono_literals;

cxl::page_hold hold(std::uint32_t n, bool by_view = false) { return {{region_id{1}, page_index{n}}, by_view}; }
const hold_times::clock::time_point start{100s};

TEST(HoldTimes, NothingHeldIsHeldForNoTime) {
  hold_times times;
  EXPECT_EQ(times.longest(), 0ns);
  times.observe({}, start);
  EXPECT_EQ(times.longest(), 0ns);
  EXPECT_EQ(times.size(), 0u);
}

TEST(HoldTimes, GrowsFromTheFirstLookThatSawIt) {
  hold_times times;
  std::vector held = {hold(1)};
  times.observe(held, start);
  EXPECT_EQ(times.longest(), 0ns);
  times.observe(held, start + 1s);
  held.push_back(hold(2));
  times.observe(held, start + 5s);
  EXPECT_EQ(times.longest(), 5s);
  EXPECT_EQ(times.size(), 2u);
}

TEST(HoldTimes, ABreakBeginsAnew) {
  hold_times times;
  std::vector held = {hold(1)}, other = {hold(2)};
  times.observe(held, start);
  times.observe(other, start + 1s);
  times.observe(held, start + 2s);
  times.observe(held, start + 3s);
  EXPECT_EQ(times.longest(), 1s);
  times.observe({}, start + 4s);
  EXPECT_EQ(times.longest(), 0ns);
}

TEST(HoldTimes, APinAndAViewOfAPageAreTwoHolds) {
  hold_times times;
  std::vector by_view = {hold(1, true)}, by_key = {hold(1)};
  times.observe(by_view, start);
  times.observe(by_key, start + 1s);
  EXPECT_EQ(times.longest(), 0ns);
}

}  // namespace
}  // namespace maru::actors
