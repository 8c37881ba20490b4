// Goal: eviction keeps few pages free, as many as the demand takes and no more than about one percent. Method: made-up
// rates of grants.
#include "actors/reserve_target.hpp"

#include <gtest/gtest.h>

namespace maru::actors {
namespace {

TEST(ReserveTarget, WithoutDemandOnePageIsKept) {
  reserve_target r{-1};
  EXPECT_EQ(r.pages(100000), 1u);
  EXPECT_EQ(r.pages(10), 1u);
}

TEST(ReserveTarget, FollowsTheGrantsOfATick) {
  reserve_target r{-1};
  r.observe(40);
  EXPECT_EQ(r.pages(100000), 40u);
  r.observe(90);
  EXPECT_EQ(r.pages(100000), 90u);
}

TEST(ReserveTarget, NeverTakesMoreThanOnePercent) {
  reserve_target r{-1};
  r.observe(5000);
  EXPECT_EQ(r.pages(10000), 100u);
  EXPECT_EQ(r.pages(300), 3u);
  EXPECT_EQ(r.pages(99), 1u);
}

TEST(ReserveTarget, PeakIsForgottenBitByBitAndWhollyInTheEnd) {
  reserve_target r{-1};
  r.observe(80);
  r.observe(0);
  EXPECT_EQ(r.pages(100000), 70u);
  std::uint64_t last = 70;
  for (int i = 0; i < 60; ++i) {
    r.observe(0);
    EXPECT_LE(r.pages(100000), last);
    last = r.pages(100000);
  }
  EXPECT_EQ(last, 1u);
}

TEST(ReserveTarget, LeadIsWhatThreeTicksTake) {
  reserve_target r{-1}, fixed{5};
  EXPECT_EQ(r.lead(), 0u);
  r.observe(5000);
  fixed.observe(5000);
  EXPECT_EQ(r.lead(), 15000u) << "not only a percent of the pool";
  EXPECT_EQ(fixed.lead(), 15000u);
}

TEST(ReserveTarget, FixedNumberSwitchesTheFollowingOff) {
  reserve_target none{0}, many{500};
  none.observe(1000);
  EXPECT_EQ(none.pages(100000), 0u);
  EXPECT_EQ(many.pages(100000), 500u);
  EXPECT_EQ(many.pages(20), 20u) << "not more than there are";
}

}  // namespace
}  // namespace maru::actors
