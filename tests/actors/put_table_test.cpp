// Goal: a key has one holder at a time, and whoever waits for it learns its fate exactly once. Method: the ways in which
// a holder can end, one by one, then random operations beside a queue per key.
#include "actors/put_table.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "tests/actors/samples.hpp"

namespace maru::actors {

inline void PrintTo(const put_item_ref& ref, std::ostream* out) { *out << ref.put << ":" << ref.item; }

namespace {

using test::hash_of;
using refs = std::vector<put_item_ref>;

const key_hash key = hash_of(1);

TEST(PutTable, Invariant8_FirstClaimHoldsTheKeyAndOthersWait) {
  put_table t;
  EXPECT_TRUE(t.claim(key, {1, 0}));
  EXPECT_FALSE(t.claim(key, {2, 5}));
  EXPECT_FALSE(t.claim(key, {1, 3})) << "the same key again in the batch of the holder";
  EXPECT_TRUE(t.claim(hash_of(2), {3, 0})) << "another key is not delayed";
  EXPECT_EQ(t.size(), 2u);
}

TEST(PutTable, CommitFreesTheKeyAndTellsAllWhoWait) {
  put_table t;
  t.claim(key, {1, 0});
  t.claim(key, {2, 0});
  t.claim(key, {3, 1});
  EXPECT_EQ(t.committed(key), (refs{{2, 0}, {3, 1}}));
  EXPECT_EQ(t.size(), 0u);
  EXPECT_TRUE(t.committed(key).empty());
  EXPECT_TRUE(t.claim(key, {4, 0}));
}

TEST(PutTable, FailurePassesTheKeyOnInOrder) {
  put_table t;
  t.claim(key, {1, 0});
  t.claim(key, {2, 0});
  t.claim(key, {3, 0});
  EXPECT_EQ(t.released(key), (put_item_ref{2, 0}));
  EXPECT_FALSE(t.claim(key, {4, 0}));
  EXPECT_EQ(t.committed(key), (refs{{3, 0}, {4, 0}}));
}

TEST(PutTable, ReleaseWithoutWaitersFreesTheKey) {
  put_table t;
  t.claim(key, {1, 0});
  EXPECT_EQ(t.released(key), std::nullopt);
  EXPECT_EQ(t.released(key), std::nullopt);
  EXPECT_EQ(t.size(), 0u);
}

TEST(PutTable, RemovalHoldsTheKeyUntilItIsDone) {
  put_table t;
  t.begin_removal(key);
  EXPECT_FALSE(t.claim(key, {1, 0}));
  EXPECT_FALSE(t.claim(key, {2, 0}));
  EXPECT_EQ(t.released(key), (put_item_ref{1, 0}));
  EXPECT_EQ(t.committed(key), (refs{{2, 0}}));
}

TEST(PutTable, RemovalTakesTheKeyOverAndItsHolderWaitsInFront) {
  put_table t;
  t.claim(key, {1, 0});
  t.claim(key, {2, 0});
  t.begin_removal(key);
  EXPECT_FALSE(t.claim(key, {3, 0}));
  EXPECT_EQ(t.released(key), (put_item_ref{1, 0}));
  EXPECT_EQ(t.released(key), (put_item_ref{2, 0}));
  EXPECT_EQ(t.released(key), (put_item_ref{3, 0}));
  EXPECT_EQ(t.released(key), std::nullopt);
}

TEST(PutTable, SecondRemovalDoesNotInventAWaiter) {
  put_table t;
  t.begin_removal(key);
  t.begin_removal(key);
  EXPECT_EQ(t.released(key), std::nullopt);
  t.claim(key, {1, 0});
  t.begin_removal(key);
  EXPECT_EQ(t.released(key), (put_item_ref{1, 0}));
  t.begin_removal(key);  // a removal after the first one failed
  EXPECT_EQ(t.released(key), (put_item_ref{1, 0}));
  EXPECT_EQ(t.released(key), std::nullopt);
}

TEST(PutTable, EveryClaimIsAnsweredExactlyOnceWhateverHappens) {
  test::random_source random{1};
  put_table t;
  struct queue {
    bool removal = false;
    std::deque<put_item_ref> items;  // the first one holds the key unless a removal does
  };
  std::map<std::uint64_t, queue> want;
  std::uint64_t next = 1, answered = 0;
  for (int step = 0; step < 20000; ++step) {
    auto k = random.below(5);
    auto& q = want[k];
    bool idle = !q.removal && q.items.empty();
    switch (random.below(4)) {
      case 0:
      case 1: {
        put_item_ref ref{next++, static_cast<std::uint32_t>(random.below(3))};
        ASSERT_EQ(t.claim(hash_of(k), ref), idle);
        q.items.push_back(ref);
        break;
      }
      case 2:
        if (random.chance(50)) {
          t.begin_removal(hash_of(k));
          q.removal = true;
        } else {
          if (!q.removal && !q.items.empty()) {
            q.items.pop_front();
            ++answered;
          }
          q.removal = false;
          auto holder = t.released(hash_of(k));
          ASSERT_EQ(holder, q.items.empty() ? std::nullopt : std::optional{q.items.front()});
        }
        break;
      default: {
        if (q.removal || q.items.empty())
          break;  // only a put commits
        answered += q.items.size();
        q.items.pop_front();
        ASSERT_EQ(t.committed(hash_of(k)), refs(q.items.begin(), q.items.end()));
        q.items.clear();
      }
    }
    std::size_t held = 0, waiting = 0;
    for (const auto& [key_number, each] : want) {
      held += each.removal || !each.items.empty() ? 1 : 0;
      waiting += each.items.size();
    }
    ASSERT_EQ(t.size(), held);
    ASSERT_EQ(answered + waiting, next - 1);
  }
}

}  // namespace
}  // namespace maru::actors
