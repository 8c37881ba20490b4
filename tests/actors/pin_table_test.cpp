// Goal: a pin has an owner, ends with it, and is never released twice. Method: each member by itself, then random
// operations beside a model of nested maps.
#include "actors/pin_table.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/actors/samples.hpp"

namespace maru::actors {
namespace {

using pins = std::vector<pin_id>;
using codes = std::vector<ec>;

constexpr session_id anna{1}, ben{2};

// Odd ones are views'.
pin_id pin_of(std::uint64_t n) {
  return {test::hash_of(n), n % 2 == 1 ? page_grant{test::page_at(1, static_cast<std::uint32_t>(n)), 3} : page_grant{}};
}

TEST(PinTable, ReleaseOfAPinThatIsHeldIsOk) {
  pin_table t;
  t.record(anna, pins{pin_of(1), pin_of(2)});
  EXPECT_EQ(t.pins(), 2u);
  EXPECT_EQ(t.release(anna, pins{pin_of(2)}), codes{ec::ok});
  EXPECT_EQ(t.pins_of(anna), 1u);
}

TEST(PinTable, Invariant5_APinIsReleasedOnceOnly) {
  pin_table t;
  t.record(anna, pins{pin_of(1), pin_of(1)});
  EXPECT_EQ(t.release(anna, pins{pin_of(1), pin_of(1), pin_of(1)}), (codes{ec::ok, ec::ok, ec::not_pinned}));
  EXPECT_EQ(t.release(anna, pins{pin_of(1)}), codes{ec::not_pinned});
  EXPECT_EQ(t.pins(), 0u);
}

TEST(PinTable, Invariant5_NobodyReleasesAnothersPin) {
  pin_table t;
  t.record(anna, pins{pin_of(1)});
  EXPECT_EQ(t.release(ben, pins{pin_of(1)}), codes{ec::not_pinned});
  t.record(ben, pins{pin_of(2)});
  EXPECT_EQ(t.release(ben, pins{pin_of(1)}), codes{ec::not_pinned});
  EXPECT_EQ(t.pins_of(anna), 1u);
  EXPECT_EQ(t.pins_of(ben), 1u);
}

TEST(PinTable, APinByKeyAndAViewsPinOfItAreTwo) {
  pin_table t;
  auto view = pin_of(1);
  t.record(anna, pins{view});
  EXPECT_EQ(t.release(anna, pins{{view.hash, {}}}), codes{ec::not_pinned});
  EXPECT_EQ(t.release(anna, pins{view}), codes{ec::ok});
}

TEST(PinTable, PinsOfTheDeadCountAlsoWhenTheyComeLate) {
  pin_table t;
  t.record(ben, pins{pin_of(5)});
  t.set_dead(anna);
  EXPECT_EQ(t.pins_held_dead(), 0u);
  t.record(anna, pins{pin_of(1), pin_of(2), pin_of(2)});
  EXPECT_EQ(t.pins_held_dead(), 3u);
  t.set_dead(anna);
  EXPECT_EQ(t.pins_held_dead(), 3u) << "once";
  t.release(anna, pins{pin_of(2)});
  EXPECT_EQ(t.pins_held_dead(), 2u);
  while (!t.take(anna, 1).empty())
    ;
  EXPECT_EQ(t.pins_held_dead(), 0u);
  t.record(anna, pins{pin_of(1)});
  EXPECT_EQ(t.pins_held_dead(), 0u) << "it ended with its session";
}

TEST(PinTable, Invariant5_AllPinsOfASessionAreTakenInSlices) {
  pin_table t;
  t.record(anna, pins{pin_of(1), pin_of(1), pin_of(1), pin_of(2)});
  t.record(ben, pins{pin_of(1)});
  std::map<std::uint64_t, int> taken;
  std::size_t n = 0;
  for (auto slice = t.take(anna, 2); !slice.empty(); slice = t.take(anna, 2)) {
    EXPECT_LE(slice.size(), 2u);
    n += slice.size();
    for (const auto& h : slice)
      ++taken[h == pin_of(1) ? 1 : 2];
  }
  EXPECT_EQ(n, 4u);
  EXPECT_EQ(taken[1], 3);
  EXPECT_EQ(taken[2], 1);
  EXPECT_EQ(t.pins_of(anna), 0u);
  EXPECT_EQ(t.pins(), 1u) << "the other session keeps its own";
}

TEST(PinTable, PinsOfADeadSessionAreCountedApartUntilTheyEnd) {
  pin_table t;
  t.set_dead(ben);  // holds nothing: nothing to count
  t.record(anna, pins{pin_of(1), pin_of(2)});
  EXPECT_EQ(t.pins_held_dead(), 0u);
  t.set_dead(anna);
  EXPECT_EQ(t.pins_held_dead(), 2u);
  EXPECT_EQ(t.pins(), 2u);
  t.take(anna, 9);
  EXPECT_EQ(t.pins_held_dead(), 0u);
}

class pin_table_against_model : public ::testing::TestWithParam<int> {};

TEST_P(pin_table_against_model, RandomOperationsAgree) {
  test::random_source random{static_cast<std::uint64_t>(GetParam())};
  pin_table real;
  std::map<std::uint64_t, std::map<std::uint64_t, std::uint64_t>> want;
  auto sum = [](const auto& counts) {
    std::uint64_t n = 0;
    for (const auto& [key, count] : counts)
      n += count;
    return n;
  };
  for (int step = 0; step < 5000; ++step) {
    auto session = 1 + random.below(4);
    pins batch;
    std::vector<std::uint64_t> keys;
    for (auto n = 1 + random.below(5); n > 0; --n) {
      keys.push_back(random.below(12));
      batch.push_back(pin_of(keys.back()));
    }
    switch (random.below(5)) {
      case 0:
      case 1:
        real.record(session_id{session}, batch);
        for (auto k : keys)
          ++want[session][k];
        break;
      case 2:
      case 3: {
        auto got = real.release(session_id{session}, batch);
        for (std::size_t i = 0; i < keys.size(); ++i) {
          auto& count = want[session][keys[i]];
          ASSERT_EQ(got[i], count > 0 ? ec::ok : ec::not_pinned);
          count -= count > 0 ? 1 : 0;
        }
        break;
      }
      default: {
        auto count = random.below(4);
        auto held = sum(want[session]);
        auto taken = real.take(session_id{session}, count);
        ASSERT_EQ(taken.size(), std::min<std::uint64_t>(count, held));
        for (const auto& h : taken)
          for (auto& [k, n] : want[session])
            if (pin_of(k) == h) {
              ASSERT_GT(n, 0u);
              --n;
            }
      }
    }
    std::uint64_t all = 0;
    for (const auto& [id, counts] : want) {
      ASSERT_EQ(real.pins_of(session_id{id}), sum(counts));
      all += sum(counts);
    }
    ASSERT_EQ(real.pins(), all);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, pin_table_against_model, ::testing::Range(0, 4));

}  // namespace
}  // namespace maru::actors
