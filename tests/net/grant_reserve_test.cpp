// Goal: every granted page is in exactly one state, and only the moves of the life of a page are possible.
// Method: each operation in each state; a seeded random run (MARU_SEED) against a model of plain sets.
#include "net/grant_reserve.hpp"
#include "tests/support/random_run.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

namespace maru::net {
namespace {

page_grant grant(std::uint32_t index, generation gen = 1) {
  return {{static_cast<region_id>(1), static_cast<page_index>(index)}, gen};
}

TEST(GrantReserve, TakesAllOrNone) {
  grant_reserve r;
  r.add(std::vector{grant(1), grant(2)});
  EXPECT_FALSE(r.take(3));
  EXPECT_EQ(r.idle(), 2u);
  EXPECT_EQ(r.take(2)->size(), 2u);
  EXPECT_EQ(r.idle(), 0u);
  EXPECT_EQ(r.take(0)->size(), 0u);
  EXPECT_FALSE(r.take_one());
}

TEST(GrantReserve, ThePageThatCameBackLastGoesFirst) {
  grant_reserve r;
  r.add(std::vector{grant(1), grant(2), grant(3)});
  auto taken = *r.take(3);
  for (auto& g : {taken[1], taken[0]})
    EXPECT_TRUE(r.put_back(g));
  EXPECT_EQ(r.take_one(), taken[0]);
}

TEST(GrantReserve, AnotherGenerationIsAnotherGrant) {
  grant_reserve r;
  r.add(std::vector{grant(1, 5)});
  auto out = *r.take_one();
  auto stale = grant(1, 4);
  EXPECT_FALSE(r.holds(stale));
  EXPECT_FALSE(r.put_back(stale));
  EXPECT_FALSE(r.doubt(stale));
  EXPECT_FALSE(r.forget(stale));
  EXPECT_TRUE(r.put_back(out));
}

TEST(GrantReserve, PageGrantedAgainBeforeItsCommitWasSettledIsTheNewGrant) {
  grant_reserve r;
  r.add(std::vector{grant(1, 5), grant(2, 5)});
  auto taken = *r.take(2);
  ASSERT_TRUE(r.doubt(grant(1, 5)));
  r.add(std::vector{grant(1, 6), grant(2, 6)});
  EXPECT_EQ(r.idle(), 2u);
  EXPECT_EQ(r.in_doubt(), 0u);
  EXPECT_FALSE(r.forget(grant(1, 5))) << "the late answer is of a page that is no longer ours";
  EXPECT_FALSE(r.put_back(grant(2, 5)));
  r.add(std::vector{grant(1, 4)});
  EXPECT_EQ(r.idle(), 2u);
  EXPECT_TRUE(r.holds(grant(1, 6)));
}

TEST(GrantReserve, AnIdlePageCannotComeBackTwice) {
  grant_reserve r;
  r.add(std::vector{grant(1), grant(1)});
  EXPECT_EQ(r.idle(), 1u);
  EXPECT_FALSE(r.put_back(grant(1)));
  EXPECT_FALSE(r.doubt(grant(1)));
  EXPECT_EQ(r.idle(), 1u);
}

TEST(GrantReserve, APageInDoubtIsNotHandedOut) {
  grant_reserve r;
  r.add(std::vector{grant(1)});
  ASSERT_TRUE(r.take_one());
  EXPECT_TRUE(r.doubt(grant(1)));
  EXPECT_TRUE(r.doubtful(grant(1)));
  EXPECT_EQ(r.in_doubt(), 1u);
  EXPECT_FALSE(r.take_one());
  EXPECT_EQ(r.held().size(), 1u);
  EXPECT_TRUE(r.put_back(grant(1)));
  EXPECT_EQ(r.in_doubt(), 0u);
  EXPECT_TRUE(r.take_one());
}

TEST(GrantReserve, RecallTakesIdlePagesOnlyAndTheColdestFirst) {
  grant_reserve r;
  r.add(std::vector{grant(1), grant(2), grant(3)});
  auto out = *r.take_one();
  EXPECT_EQ(out, grant(3));
  EXPECT_EQ(r.recall(1), std::vector{grant(1)});
  EXPECT_EQ(r.recall(9), std::vector{grant(2)});
  EXPECT_TRUE(r.holds(out));
  EXPECT_EQ(r.held().size(), 1u);
}

TEST(GrantReserve, APageThatIsSetAsideIsHandedOutNeverAndRecalledFirst) {
  grant_reserve r;
  r.add(std::vector<page_grant>{{{region_id{1}, page_index{0}}, 1}, {{region_id{1}, page_index{1}}, 1}});
  auto bad = *r.take_one();
  EXPECT_TRUE(r.set_aside(bad));
  EXPECT_FALSE(r.set_aside(bad));
  EXPECT_EQ(r.idle(), 1u);
  EXPECT_TRUE(r.uses().empty());
  EXPECT_NE(r.take_one()->page, bad.page);
  EXPECT_FALSE(r.take_one());
  EXPECT_TRUE(r.holds(bad)) << "marud is told so when the session resumes";
  EXPECT_EQ(r.recall(5), std::vector{bad});
  EXPECT_FALSE(r.holds(bad));
  r.add(std::vector{page_grant{bad.page, 2}});
  EXPECT_TRUE(r.set_aside(*r.take_one()));
  EXPECT_TRUE(r.forget({bad.page, 2}));
  EXPECT_TRUE(r.recall(5).empty());
}

TEST(GrantReserve, AnyOrderOfOperationsKeepsThreeDisjointSets) {
  std::mt19937_64 random{maru::test::test_seed()};
  enum { idle, out, doubt };
  grant_reserve r;
  std::map<std::uint32_t, int> model;
  for (int step = 0; step < 50000; ++step) {
    auto index = static_cast<std::uint32_t>(random() % 32);
    auto g = grant(index);
    auto known = model.find(index);
    switch (random() % 6) {
      case 0:
        r.add({&g, 1});
        model.try_emplace(index, idle);
        break;
      case 1:
        if (auto taken = r.take_one()) {
          ASSERT_EQ(model.at(value_of(taken->page.page)), idle);
          model[value_of(taken->page.page)] = out;
        }
        break;
      case 2: {
        bool may = known != model.end() && known->second != idle;
        ASSERT_EQ(r.put_back(g), may);
        if (may)
          known->second = idle;
        break;
      }
      case 3: {
        bool may = known != model.end() && known->second == out;
        ASSERT_EQ(r.doubt(g), may);
        if (may)
          known->second = doubt;
        break;
      }
      case 4:
        ASSERT_EQ(r.forget(g), known != model.end());
        model.erase(index);
        break;
      case 5:
        for (auto& gone : r.recall(random() % 3)) {
          ASSERT_EQ(model.at(value_of(gone.page.page)), idle);
          model.erase(value_of(gone.page.page));
        }
        break;
    }
    std::size_t counts[3] = {};
    for (auto& [i, state] : model)
      ++counts[state];
    ASSERT_EQ(r.idle(), counts[idle]);
    ASSERT_EQ(r.in_doubt(), counts[doubt]);
    ASSERT_EQ(r.held().size(), model.size());
    auto uses = r.uses();
    ASSERT_EQ(uses.empty() ? 0 : uses.begin()->second, counts[out] + counts[doubt]);
  }
}

}  // namespace
}  // namespace maru::net
