// Goal: the pins by key that a worker took by itself end as often as they were taken, no more and no less, by hand and by
// age. Method: a session's file of its own, read as marud reads it.
#include "net/session_holds.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "tests/cxl/session_file.hpp"

namespace maru::net {
namespace {

using namespace std::chrono_literals;
using cxl::test::page;
using steady = std::chrono::steady_clock;

struct session_of_a_test : ::testing::Test {
  cxl::test::session_file file;
  session_holds holds{file.worker(), bounds::pins_max};
  cxl::held_pages_reader reader = file.reader();

  static key_hash hash(std::uint64_t n) { return {n * 0x9e3779b97f4a7c15, n}; }
  void pin(std::uint64_t n) {
    holds.add_key(hash(n), holds.table()->add({page(static_cast<std::uint32_t>(n)), false}), 100 + n);
  }
  bool held(std::uint64_t n) { return cxl::test::seen(reader, page(static_cast<std::uint32_t>(n))).by_key; }
};

TEST_F(session_of_a_test, EndsAPinAndTellsItsSlot) {
  pin(1);
  EXPECT_TRUE(holds.has_keys() && held(1));
  EXPECT_EQ(holds.drop_key(hash(1)), 101u);
  EXPECT_FALSE(holds.has_keys() || held(1));
  EXPECT_EQ(holds.drop_key(hash(1)), std::nullopt);
}

TEST_F(session_of_a_test, KnowsNothingOfAKeyThatItDidNotPin) {
  pin(1);
  EXPECT_EQ(holds.drop_key(hash(2)), std::nullopt);
  EXPECT_EQ(holds.drop_key({hash(1).low, hash(1).high + 16}), std::nullopt);
  EXPECT_TRUE(held(1));
}

TEST_F(session_of_a_test, CountsThePinsOfOneKey) {
  for (int i = 0; i < 3; ++i)
    pin(1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(held(1)) << i;
    EXPECT_EQ(holds.drop_key(hash(1)), 101u) << i;
  }
  EXPECT_FALSE(held(1));
  EXPECT_EQ(holds.drop_key(hash(1)), std::nullopt);
}

TEST_F(session_of_a_test, EndsThoseThatNobodyTookSince) {
  for (std::uint64_t n = 0; n < 50; ++n) {
    pin(n);
    pin(n);
  }
  // The clock of pins is coarse: some milliseconds.
  std::this_thread::sleep_for(50ms);
  auto then = steady::now();
  std::this_thread::sleep_for(50ms);
  for (std::uint64_t n = 0; n < 10; ++n)
    pin(n);
  EXPECT_EQ(holds.drop_keys_of(then), 40u);
  for (std::uint64_t n = 0; n < 50; ++n)
    EXPECT_EQ(held(n), n < 10) << n;
  EXPECT_EQ(holds.drop_keys_of(then), 0u);
  EXPECT_EQ(holds.drop_keys_of(), 10u);
  EXPECT_FALSE(holds.has_keys());
  EXPECT_EQ(reader.all().size(), 0u);
}

TEST_F(session_of_a_test, LeavesViewsAlone) {
  holds.table()->add({page(1), true});
  pin(1);
  EXPECT_EQ(holds.drop_keys_of(), 1u);
  EXPECT_TRUE(cxl::test::seen(reader, page(1)).by_view);
  EXPECT_FALSE(held(1));
}

TEST_F(session_of_a_test, HasNoMorePinsThanItMay) {
  session_holds bounded{cxl::test::session_file{}.worker(), 10};
  EXPECT_TRUE(bounded.reserve(7));
  EXPECT_FALSE(bounded.reserve(4));
  EXPECT_TRUE(bounded.reserve(3)) << "what was refused takes no room";
  EXPECT_FALSE(bounded.reserve(1));
  for (int i = 0; i < 2; ++i)
    bounded.add_key(hash(1), bounded.table()->add({page(1), false}), 1);
  EXPECT_TRUE(bounded.drop_key(hash(1)));
  EXPECT_TRUE(bounded.reserve(1)) << "one has ended";
  EXPECT_FALSE(bounded.reserve(1));
  EXPECT_EQ(bounded.drop_keys_of(), 1u);
  EXPECT_TRUE(bounded.reserve(1));
  bounded.drop_view(bounded.table()->add({page(2), true}), 2, false);
  EXPECT_TRUE(bounded.reserve(1));
  EXPECT_FALSE(bounded.reserve(1));
}

TEST_F(session_of_a_test, ThreadsThatPinAndUnpinLeaveNothingBehind) {
  std::atomic<int> lost{0};
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < 20'000; ++i) {
          auto n = (i * (t + 1)) % 40;
          pin(n);
          lost += !holds.drop_key(hash(n));
        }
      });
  }
  EXPECT_EQ(lost, 0);
  EXPECT_FALSE(holds.has_keys());
  EXPECT_EQ(reader.all().size(), 0u);
}

TEST_F(session_of_a_test, ABoundOfTheOperatorHoldsForNestedPinsToo) {
  cxl::test::session_file other;
  session_holds bounded{other.worker(), 3};
  EXPECT_TRUE(bounded.reserve(3));
  EXPECT_FALSE(bounded.reserve(1));
  bounded.release(1);
  EXPECT_FALSE(bounded.reserve(2));
  EXPECT_TRUE(bounded.reserve(1));
  EXPECT_TRUE(holds.reserve(bounds::pins_max)) << "without one the table's room is the bound";
  EXPECT_TRUE(holds.reserve(bounds::pins_max));
}

}  // namespace
}  // namespace maru::net
