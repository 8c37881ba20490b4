// Goal: the index never loses, invents or misplaces an entry, never gives a pinned one up, and evicts in the order that
// keeps prefixes. Method: each member by itself; index_model_test adds random operations.
#include "actors/index.hpp"

#include <gtest/gtest.h>

#include "tests/actors/samples.hpp"

namespace maru::actors {
namespace {

using test::hash_of;
using test::place_of;

constexpr std::uint64_t page_bytes = 65536;
using hashes = std::vector<key_hash>;
using pin_list = std::vector<pin_id>;

// A pin by key, and one of a view of what index_with put there.
pin_id key_of(std::uint64_t n) { return {hash_of(n), {}}; }
pin_id view_of(std::uint32_t n) { return {hash_of(n), {place_of(n).page, place_of(n).gen}}; }
constexpr index::lookup_flags pinned{.takes = holding::pin}, viewed{.takes = holding::view};

index index_with(std::uint32_t n, std::size_t capacity = 64) {
  index i{capacity, "lru"};
  for (std::uint32_t k = 0; k < n; ++k)
    EXPECT_EQ(i.insert(hash_of(k), place_of(k), page_bytes), ec::ok);
  return i;
}

// Numbers of the keys in the order in which they would go.
std::vector<std::uint64_t> eviction_order(index& i, std::uint64_t keys, std::uint64_t size = page_bytes) {
  std::vector<std::uint64_t> out;
  for (const auto& v : i.mark_coldest(size, keys))
    for (std::uint64_t k = 0; k < keys; ++k)
      if (hash_of(k) == v.hash)
        out.push_back(k);
  return out;
}

using order = std::vector<std::uint64_t>;

TEST(Index, LookupOfUnknownKeyMisses) {
  index i{8, "lru"};
  auto found = i.lookup(hashes{hash_of(1)}, {});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], net::found{});
  EXPECT_FALSE(i.contains(hash_of(1)));
  EXPECT_FALSE(i.find(hash_of(1)));
}

TEST(Index, LookupTellsWhereEachKeyIsInOrder) {
  auto i = index_with(3);
  auto found = i.lookup(hashes{hash_of(2), hash_of(9), hash_of(0)}, {});
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], (net::found{ec::ok, place_of(2)}));
  EXPECT_EQ(found[1].code, ec::missing);
  EXPECT_EQ(found[2], (net::found{ec::ok, place_of(0)}));
  EXPECT_TRUE(i.contains(hash_of(2)));
  EXPECT_EQ(i.find(hash_of(2))->where, place_of(2));
}

TEST(Index, Invariant8_SecondInsertSaysExistsAndChangesNothing) {
  auto i = index_with(1);
  EXPECT_EQ(i.insert(hash_of(0), place_of(5), page_bytes), ec::exists);
  EXPECT_EQ(i.find(hash_of(0))->where, place_of(0));
  EXPECT_EQ(i.size(), 1u);
}

TEST(Index, FullIndexRefusesAndTakesAgainAfterADrop) {
  auto i = index_with(4, 4);
  EXPECT_EQ(i.insert(hash_of(9), place_of(9), page_bytes), ec::out_of_memory);
  victim v;
  ASSERT_EQ(i.mark(hash_of(2), v), ec::ok);
  EXPECT_EQ(i.insert(hash_of(9), place_of(9), page_bytes), ec::out_of_memory) << "a marked entry still has its place";
  i.drop(v.hash);
  EXPECT_EQ(i.insert(hash_of(9), place_of(9), page_bytes), ec::ok);
  for (std::uint64_t k : {0, 1, 3, 9})
    EXPECT_TRUE(i.contains(hash_of(k)));
}

TEST(Index, KeysOfOneBucketAreToldApart) {
  index i{16, "lru"};
  for (std::uint64_t k = 0; k < 10; ++k)  // all in bucket 3
    ASSERT_EQ(i.insert({3, k}, place_of(static_cast<std::uint32_t>(k)), page_bytes), ec::ok);
  for (std::uint64_t gone : {0, 9, 4}) {  // the chain's ends and its middle
    victim v;
    ASSERT_EQ(i.mark({3, gone}, v), ec::ok);
    i.drop({3, gone});
  }
  for (std::uint64_t k = 0; k < 10; ++k)
    EXPECT_EQ(i.contains({3, k}), k != 0 && k != 9 && k != 4) << k;
  EXPECT_FALSE(i.contains({3, 99}));
}

TEST(Index, PageSizesThatAreGoneMakeRoomForOthers) {
  index i{16, "lru"};
  ASSERT_EQ(i.insert(hash_of(1), place_of(1), page_bytes), ec::ok);
  for (std::uint64_t n = 1; n <= 600; ++n) {
    ASSERT_EQ(i.insert(hash_of(2), place_of(2), n * 4096 + 1), ec::ok);
    auto gone = i.mark_coldest(n * 4096 + 1, 2);
    ASSERT_EQ(gone.size(), 1u) << n;
    ASSERT_EQ(gone[0].hash, hash_of(2));
    i.drop(hash_of(2));
  }
  EXPECT_EQ(i.mark_coldest(page_bytes, 2).size(), 1u);
}

TEST(Index, CountsFollowEveryChange) {
  auto i = index_with(3);
  auto bytes = place_of(0).length + place_of(1).length + place_of(2).length;
  EXPECT_EQ(i.size(), 3u);
  EXPECT_EQ(i.bytes(), bytes);
  i.lookup(hashes{hash_of(0), hash_of(0), hash_of(7)}, pinned);
  EXPECT_EQ(i.pins(), 2u);
  victim v;
  ASSERT_EQ(i.mark(hash_of(1), v), ec::ok);
  EXPECT_EQ(i.size(), 2u);
  EXPECT_EQ(i.evicting(), 1u);
  EXPECT_EQ(i.bytes(), bytes - place_of(1).length);
  i.restore(hash_of(1));
  EXPECT_EQ(i.size(), 3u);
  EXPECT_EQ(i.evicting(), 0u);
  EXPECT_EQ(i.bytes(), bytes);
}

TEST(Index, PrefixStopMissesAllAfterTheFirstMissAndPinsNoneOfThem) {
  auto i = index_with(4);
  auto found = i.lookup(hashes{hash_of(0), hash_of(1), hash_of(9), hash_of(2), hash_of(3)},
                        {.takes = holding::pin, .prefix_stop = true});
  std::vector<ec> codes;
  for (const auto& f : found)
    codes.push_back(f.code);
  EXPECT_EQ(codes, (std::vector{ec::ok, ec::ok, ec::missing, ec::missing, ec::missing}));
  EXPECT_EQ(i.find(hash_of(1))->pins, 1u);
  EXPECT_EQ(i.find(hash_of(2))->pins, 0u);
  EXPECT_EQ(i.pins(), 2u);
}

TEST(Index, ColdestIsTheLeastRecentlyUsed) {
  auto i = index_with(4);
  EXPECT_EQ(i.coldest(page_bytes), place_of(0));
  i.lookup(hashes{hash_of(0)}, {});
  EXPECT_EQ(i.coldest(page_bytes), place_of(1));
  EXPECT_EQ(eviction_order(i, 4), (order{1, 2, 3, 0}));
  EXPECT_EQ(i.coldest(page_bytes), std::nullopt);
}

TEST(Index, EarlierKeysOfABatchAreMoreRecent) {
  auto i = index_with(5);
  i.lookup(hashes{hash_of(1), hash_of(2), hash_of(3)}, {});
  EXPECT_EQ(eviction_order(i, 5), (order{0, 4, 3, 2, 1}));
}

TEST(Index, UnpinCountsAsUseInTheOrderOfTheBatch) {
  auto i = index_with(3);
  hashes prefix{hash_of(0), hash_of(1), hash_of(2)};
  i.lookup(prefix, pinned);
  ASSERT_EQ(i.insert(hash_of(3), place_of(3), page_bytes), ec::ok);  // what the request commits after its lookup
  EXPECT_EQ(i.unpin(pin_list{key_of(0), key_of(1), key_of(2)}), 0u);
  EXPECT_EQ(eviction_order(i, 4), (order{3, 2, 1, 0}));
}

TEST(Index, ExistsIsNoUse) {
  auto i = index_with(2);
  EXPECT_TRUE(i.contains(hash_of(0)));
  EXPECT_TRUE(i.find(hash_of(0)));
  EXPECT_EQ(eviction_order(i, 2), (order{0, 1}));
}

TEST(Index, Invariant4_PinnedEntryIsNeitherChosenNorMarked) {
  auto i = index_with(3);
  i.lookup(hashes{hash_of(0), hash_of(0)}, pinned);
  victim v;
  EXPECT_EQ(i.mark(hash_of(0), v), ec::pinned);
  EXPECT_EQ(eviction_order(i, 3), (order{1, 2}));
  EXPECT_EQ(i.unpin(pin_list{key_of(0)}), 0u);
  EXPECT_EQ(i.coldest(page_bytes), std::nullopt) << "one of two pins is left";
  EXPECT_EQ(i.unpin(pin_list{key_of(0)}), 0u);
  EXPECT_EQ(i.coldest(page_bytes), place_of(0));
  EXPECT_EQ(i.mark(hash_of(0), v), ec::ok);
}

TEST(Index, Invariant5_UnpinWithoutAPinIsCountedAndCannotUnderflow) {
  auto i = index_with(2);
  i.lookup(hashes{hash_of(0)}, pinned);
  EXPECT_EQ(i.unpin(pin_list{key_of(1), key_of(8), key_of(0), key_of(0)}), 3u);
  EXPECT_EQ(i.pins(), 0u);
  EXPECT_EQ(i.find(hash_of(0))->pins, 0u);
}

TEST(Index, MarkedEntryIsAMissButKeepsItsKey) {
  auto i = index_with(2);
  victim v;
  ASSERT_EQ(i.mark(hash_of(0), v), ec::ok);
  EXPECT_EQ(v.hash, hash_of(0));
  EXPECT_EQ(v.where, place_of(0));
  EXPECT_EQ(i.lookup(hashes{hash_of(0)}, pinned)[0].code, ec::missing);
  EXPECT_EQ(i.pins(), 0u);
  EXPECT_FALSE(i.contains(hash_of(0)));
  EXPECT_TRUE(i.find(hash_of(0))->evicting);
  EXPECT_EQ(i.mark(hash_of(0), v), ec::missing);
  EXPECT_EQ(i.insert(hash_of(0), place_of(5), page_bytes), ec::exists);
  EXPECT_EQ(eviction_order(i, 2), (order{1}));
}

TEST(Index, RestoredEntryIsTheMostRecentlyUsed) {
  auto i = index_with(3);
  victim v;
  ASSERT_EQ(i.mark(hash_of(0), v), ec::ok);
  i.restore(hash_of(0));
  i.restore(hash_of(1));  // was not marked: nothing happens
  EXPECT_EQ(i.lookup(hashes{hash_of(0)}, {})[0].code, ec::ok);
  EXPECT_EQ(eviction_order(i, 3), (order{1, 2, 0}));
}

TEST(Index, DroppedEntryIsGone) {
  auto i = index_with(2);
  victim v;
  ASSERT_EQ(i.mark(hash_of(0), v), ec::ok);
  i.drop(hash_of(0));
  EXPECT_FALSE(i.find(hash_of(0)));
  EXPECT_EQ(i.evicting(), 0u);
  EXPECT_EQ(i.insert(hash_of(0), place_of(6), page_bytes), ec::ok);
  EXPECT_EQ(i.find(hash_of(0))->where, place_of(6));
}

TEST(Index, EachPageSizeHasItsOwnRecency) {
  index i{8, "lru"};
  ASSERT_EQ(i.insert(hash_of(0), place_of(0), 4096), ec::ok);
  ASSERT_EQ(i.insert(hash_of(1), place_of(1), 8192), ec::ok);
  ASSERT_EQ(i.insert(hash_of(2), place_of(2), 4096), ec::ok);
  EXPECT_EQ(i.coldest(8192), place_of(1));
  EXPECT_EQ(i.coldest(16384), std::nullopt);
  EXPECT_TRUE(i.mark_coldest(16384, 5).empty());
  EXPECT_EQ(eviction_order(i, 3, 4096), (order{0, 2}));
  EXPECT_TRUE(i.contains(hash_of(1)));
}

TEST(EvictionPolicy, UnknownNameGivesNone) {
  EXPECT_EQ(make_eviction_policy("fifo?", 4), nullptr);
  EXPECT_NE(make_eviction_policy("lru", 4), nullptr);
}

TEST(Index, ACondemnedEntryIsAMissAndGoesWithItsLastPin) {
  auto i = index_with(3);
  i.lookup(hashes{hash_of(1), hash_of(1)}, pinned);
  victim out;
  EXPECT_EQ(i.condemn({hash_of(0), place_of(0)}, false, out), ec::ok);
  EXPECT_EQ(out.hash, hash_of(0));
  EXPECT_EQ(i.condemn({hash_of(0), place_of(0)}, false, out), ec::busy) << "it is on its way out, and may stay";
  EXPECT_EQ(i.condemn({hash_of(1), place_of(1)}, false, out), ec::pinned);
  EXPECT_FALSE(i.contains(hash_of(1)));
  EXPECT_TRUE(i.find(hash_of(1))->condemned);
  EXPECT_EQ(i.lookup(hashes{hash_of(1)}, pinned)[0].code, ec::missing) << "no new pin holds it";
  EXPECT_EQ(i.mark(hash_of(1), out), ec::missing);
  i.unpin(pin_list{key_of(1)});
  EXPECT_TRUE(i.take_condemned().empty()) << "one pin is left";
  i.unpin(pin_list{key_of(1)});
  auto gone = i.take_condemned();
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0].hash, hash_of(1));
  EXPECT_EQ(i.evicting(), 2u);
  EXPECT_TRUE(i.take_condemned().empty());
}

TEST(Index, AnEntryThatMovedOnIsNotCondemned) {
  auto i = index_with(1);
  auto older = place_of(0);
  --older.gen;
  victim out;
  EXPECT_EQ(i.condemn({hash_of(0), older}, false, out), ec::missing);
  EXPECT_EQ(i.condemn({hash_of(0), place_of(1)}, false, out), ec::missing);
  EXPECT_TRUE(i.contains(hash_of(0)));
}

TEST(Index, AViewsPinKeepsAnEntryFromEvictionButNotFromRemoval) {
  auto i = index_with(2);
  i.lookup(hashes{hash_of(0)}, viewed);
  EXPECT_EQ(eviction_order(i, 2), (order{1}));
  victim v;
  ASSERT_EQ(i.mark(hash_of(0), v), ec::ok);
  EXPECT_TRUE(v.viewed);
  EXPECT_TRUE(i.drop(hash_of(0))) << "a view holds the page";
  EXPECT_EQ(i.detached(), 1u);
  EXPECT_EQ(i.pins(), 1u);
  EXPECT_TRUE(i.take_unheld().empty());
  EXPECT_EQ(i.unpin(pin_list{key_of(0)}), 1u) << "an unpin by key does not end it";
  EXPECT_EQ(i.unpin(pin_list{view_of(0)}), 0u);
  EXPECT_EQ(i.take_unheld(), std::vector{view_of(0).page});
  EXPECT_EQ(i.detached(), 0u);
  EXPECT_EQ(i.pins(), 0u);
  EXPECT_EQ(i.unpin(pin_list{view_of(0)}), 1u);
}

TEST(Index, APinByKeyBesideAViewRefusesTheRemoval) {
  auto i = index_with(1);
  i.lookup(hashes{hash_of(0)}, viewed);
  i.lookup(hashes{hash_of(0)}, pinned);
  victim v;
  EXPECT_EQ(i.mark(hash_of(0), v), ec::pinned);
  EXPECT_EQ(i.unpin(pin_list{key_of(0), key_of(0)}), 1u) << "the second would be the view's";
  EXPECT_EQ(i.mark(hash_of(0), v), ec::ok);
}

TEST(Index, AViewThatEndsDuringTheRemovalLeavesNothingDetached) {
  auto i = index_with(1);
  i.lookup(hashes{hash_of(0)}, viewed);
  victim v;
  ASSERT_EQ(i.mark(hash_of(0), v), ec::ok);
  EXPECT_EQ(i.unpin(pin_list{view_of(0)}), 0u);
  EXPECT_FALSE(i.drop(hash_of(0)));
  EXPECT_EQ(i.detached(), 0u);
  EXPECT_TRUE(i.take_unheld().empty()) << "whoever drops it knows";
}

TEST(Index, ARemovalThatFailedLeavesTheViewsPin) {
  auto i = index_with(1);
  i.lookup(hashes{hash_of(0)}, viewed);
  victim v;
  ASSERT_EQ(i.mark(hash_of(0), v), ec::ok);
  i.restore(hash_of(0));
  EXPECT_EQ(i.coldest(page_bytes), std::nullopt);
  EXPECT_EQ(i.unpin(pin_list{view_of(0)}), 0u);
  EXPECT_EQ(i.coldest(page_bytes), place_of(0));
}

TEST(Index, AViewOfARemovedKeyIsNoPinOnWhatCameAfterIt) {
  auto i = index_with(1);
  i.lookup(hashes{hash_of(0)}, viewed);
  victim v;
  ASSERT_EQ(i.mark(hash_of(0), v), ec::ok);
  i.drop(hash_of(0));
  ASSERT_EQ(i.insert(hash_of(0), place_of(9), page_bytes), ec::ok);
  EXPECT_EQ(i.find(hash_of(0))->pins, 0u);
  EXPECT_EQ(i.unpin(pin_list{view_of(0)}), 0u);
  EXPECT_EQ(i.take_unheld(), std::vector{view_of(0).page});
  EXPECT_EQ(i.coldest(page_bytes), place_of(9));
}

TEST(Index, PinsAreCountedAgainWhereTheyCanHaveBeen) {
  auto i = index_with(3);
  i.lookup(hashes{hash_of(1)}, viewed);
  victim v;
  ASSERT_EQ(i.mark(hash_of(1), v), ec::ok);
  ASSERT_EQ(i.mark(hash_of(2), v), ec::ok);
  auto elsewhere = view_of(0);
  ++elsewhere.page.gen;
  auto codes = i.pin_again(pin_list{key_of(0), view_of(0), elsewhere, view_of(1), key_of(1), view_of(2), key_of(8)});
  EXPECT_EQ(codes, (std::vector{ec::ok, ec::ok, ec::missing, ec::ok, ec::missing, ec::missing, ec::missing}));
  EXPECT_EQ(i.pins(), 4u);
}

TEST(Index, DetachedPagesOfARecoveryWaitToBeAskedFor) {
  index i{8, "lru"};
  i.detach(view_of(0).page);
  i.detach(view_of(1).page);
  EXPECT_EQ(i.pin_again(pin_list{view_of(0)}), std::vector{ec::ok});
  EXPECT_EQ(i.take_unheld(), std::vector{view_of(1).page});
  EXPECT_EQ(i.pin_again(pin_list{view_of(1)}), std::vector{ec::missing}) << "it is free by now";
  i.unpin(pin_list{view_of(0)});
  EXPECT_EQ(i.pin_again(pin_list{view_of(0)}), std::vector{ec::ok}) << "not taken yet, so it can be held again";
  EXPECT_TRUE(i.take_unheld().empty());
}

}  // namespace
}  // namespace maru::actors
