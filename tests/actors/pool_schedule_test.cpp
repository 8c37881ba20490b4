// Goal: a grant is served as long as anything can make room for it, by eviction or from another page size, never at the
// cost of a pinned entry, and refused in bounded time otherwise. Method: the actors on the deterministic scheduler, a pool
// of eight pages, virtual time.
#include <gtest/gtest.h>

#include "tests/actors/house.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using bounds::MiB;
using test::house;
using test::worker;
using codes = std::vector<ec>;

std::vector<std::string> names(int n, const std::string& prefix = "key") {
  std::vector<std::string> out;
  for (int i = 0; i < n; ++i)
    out.push_back(prefix + std::to_string(i));
  return out;
}

class full_pool : public ::testing::Test {
protected:
  full_pool() { pages = anna.put(keys); }
  ec code_of(const test::pending<net::grant_reply>& reply) {
    return reply->has_value() ? static_cast<ec>((*reply)->code) : ec::timeout;
  }
  // A worker that asks for pages of 2 MiB: one region each.
  worker with_large_pages() { return worker{in, {.page_bytes = 2 * MiB}}; }

  house in;
  worker anna{in};
  std::vector<std::string> keys = names(8);
  std::vector<page_grant> pages;
};

TEST_F(full_pool, GrantThatMustEvictIsServedFromTheColdestEntry) {
  anna.lookup({"key0"});
  worker ben{in};
  auto page = ben.grant()[0];
  EXPECT_FALSE(in.visible("key1"));
  EXPECT_EQ(page.page, pages[1].page);
  EXPECT_EQ(page.gen, pages[1].gen + 1);
  EXPECT_EQ(in.index_of("").size(), 7u) << "one page was wanted, one entry went";
  EXPECT_FALSE(in.pool.has_record("key1"));
  EXPECT_EQ(ben.commit({{"new", page}}), codes{ec::ok});
  in.expect_sound();
}

TEST_F(full_pool, EvictionKeepsPrefixes) {
  anna.lookup({"key0", "key1", "key2"}, net::flag_pin);
  anna.lookup({"key3", "key4", "key5", "key6", "key7"});
  anna.unpin({"key0", "key1", "key2"});
  // Used last: the unpinned prefix. Before it the batch key3 to key7, of which the last is the coldest.
  for (const auto* gone : {"key7", "key6", "key5", "key4", "key3", "key2", "key1", "key0"}) {
    EXPECT_TRUE(in.visible(gone));
    anna.grant();
    EXPECT_FALSE(in.visible(gone)) << gone;
  }
}

TEST_F(full_pool, Invariant4_AllPinnedGivesOutOfMemoryAfterTheWaitAndNothingIsLost) {
  anna.pin(keys);
  auto grant = anna.begin_grant(1);
  in.run();
  in.advance(950ms);
  EXPECT_FALSE(grant->has_value()) << "a second has not passed";
  in.advance(150ms);
  EXPECT_EQ(code_of(grant), ec::out_of_memory);
  for (const auto& key : keys)
    EXPECT_TRUE(in.visible(key));
  in.expect_sound();
}

TEST_F(full_pool, WaitingGrantIsServedAsSoonAsAPinEnds) {
  anna.pin(keys);
  worker ben{in};
  auto grant = ben.begin_grant(1);
  in.advance(300ms);
  EXPECT_FALSE(grant->has_value());
  anna.unpin({"key5"});
  in.advance(100ms);
  EXPECT_EQ(code_of(grant), ec::ok);
  EXPECT_FALSE(in.visible("key5"));
  in.expect_sound();
}

TEST_F(full_pool, WaitingGrantIsServedAtOnceByAPageThatComesBack) {
  auto mine = anna.grant()[0];
  auto left = keys;
  left.erase(left.begin());
  anna.pin(left);
  worker ben{in};
  auto grant = ben.begin_grant(1);
  in.run();
  EXPECT_FALSE(grant->has_value());
  anna.begin_with<net::codes_reply>(anna.session, net::give_back_request{net::encode_grants(std::vector{mine})});
  in.run();
  EXPECT_EQ(code_of(grant), ec::ok);
  EXPECT_EQ(net::decode_grants((*grant)->grants)->at(0).gen, mine.gen + 1);
  in.expect_sound();
}

TEST_F(full_pool, GrantsAreServedFirstComeFirstServed) {
  anna.pin(keys);
  worker ben{in}, carl{in};
  auto first = ben.begin_grant(1);
  in.run();
  auto second = carl.begin_grant(1);
  in.run();
  anna.unpin({"key0"});
  in.advance(100ms);
  EXPECT_EQ(code_of(first), ec::ok);
  EXPECT_FALSE(second->has_value());
  anna.unpin({"key1"});
  in.advance(100ms);
  EXPECT_EQ(code_of(second), ec::ok);
}

TEST_F(full_pool, UnusedGrantsAreRecalledWhileSomebodyWaits) {
  auto mine = anna.grant(2);
  auto recall = [&] { return anna.ask_of<net::renew_reply>(anna.session, net::renew_request{}).recall; };
  EXPECT_EQ(recall(), 0u);
  auto left = keys;
  left.erase(left.begin(), left.begin() + 2);
  anna.pin(left);
  worker ben{in};
  auto grant = ben.begin_grant(1);
  in.run();
  EXPECT_EQ(recall(), 2u);
}

TEST_F(full_pool, FailedDeleteKeepsTheEntryAndTheGrantTriesAgain) {
  worker ben{in};
  in.pool.store->fail_write(1, {ec::storage_failed, "failed to write: the test says so"});
  auto grant = ben.begin_grant(1);
  in.advance(300ms);
  EXPECT_EQ(code_of(grant), ec::ok);
  EXPECT_EQ(in.index_of("").size(), 7u);
  in.expect_sound();
}

TEST_F(full_pool, OperatorEvictsAsManyBytesAsAsked) {
  auto gone = in.ask<evicted_bytes>(in.manager, evict_bytes{3 * MiB});
  EXPECT_EQ(gone.pages, 3u);
  EXPECT_EQ(gone.bytes, 3 * MiB);
  anna.pin({"key3", "key4"});
  gone = in.ask<evicted_bytes>(in.manager, evict_bytes{100 * MiB});
  EXPECT_EQ(gone.pages, 3u) << "all but the pinned ones";
  EXPECT_EQ(in.ask<evicted_bytes>(in.manager, evict_bytes{MiB}).pages, 0u);
  EXPECT_EQ(in.ask<evicted_bytes>(in.manager, evict_bytes{0}).pages, 0u);
  in.expect_sound();
}

TEST(Reserve, IsKeptFreeAheadOfTheDemand) {
  house in{{.reserve_pages = 2}};
  worker anna{in};
  anna.put(names(8));
  EXPECT_EQ(in.table->counts().free, 2u);
  EXPECT_EQ(in.index_of("").size(), 6u);
  EXPECT_TRUE(in.visible("key7"));
  EXPECT_FALSE(in.visible("key0"));
  in.expect_sound();
}

TEST(Shards, EvictionFindsTheEntriesWhicheverShardTheyAreIn) {
  house in{{.shards = 3}};
  worker anna{in};
  anna.put(names(30));  // 30 keys through 8 pages
  EXPECT_EQ(in.table->counts().total(), 8u);
  in.expect_sound();
}

TEST(SmallPool, NoSessionGetsMoreThanItsPartOfAQuarterAtATime) {
  house in;
  worker anna{in}, ben{in};
  auto count = [](worker& who) {
    return net::decode_grants(who.ask_of<net::grant_reply>(who.session, net::grant_request{8}).grants)->size();
  };
  EXPECT_EQ(count(anna), 2u);
  EXPECT_EQ(count(ben), 1u);
}

TEST(SmallPool, RegionsAreMadeReadyAheadOfTheDemand) {
  house in;
  worker anna{in};
  anna.grant(2);
  in.advance(100ms);
  anna.grant(1);
  in.run();
  EXPECT_GE(in.table->counts().free, 5u) << "two pages a tick: six may be wanted before a region is ready";
  in.expect_sound();
}

TEST(SmallPool, PagesAheadOfNeedAreNoMoreThanTheSessionsPart) {
  house in;
  worker anna{in};
  auto ahead = [&] { return anna.ask_of<net::grant_reply>(anna.session, net::grant_request{8, true}); };
  EXPECT_EQ(static_cast<ec>(ahead().code), ec::busy) << "no region yet; it does not wait for one";
  anna.grant(1);
  EXPECT_EQ(net::decode_grants(ahead().grants)->size(), 1u) << "2 of 8 pages are its part";
  EXPECT_EQ(static_cast<ec>(ahead().code), ec::busy);
  anna.grant(1);  // for a caller that waits there is more
}

TEST_F(full_pool, NobodyGetsPagesAheadWhileSomebodyWaits) {
  anna.pin(keys);
  worker ben{in}, carl{in};
  auto waits = ben.begin_grant(1);
  in.run();
  auto ahead = carl.ask_of<net::grant_reply>(carl.session, net::grant_request{1, true});
  EXPECT_EQ(static_cast<ec>(ahead.code), ec::busy) << "at once, and it does not stand in the queue";
  EXPECT_FALSE(waits->has_value());
}

TEST(SmallPool, DeviceWithoutStorageIsNoSpaceAndTriedAgain) {
  house in;
  worker anna{in};
  // The region is refused because the table already has one there.
  ASSERT_TRUE(in.pool.env->pool->add_region(0, 2 * MiB, MiB));
  auto grant = anna.begin_grant(1);
  in.advance(1100ms);
  ASSERT_TRUE(grant->has_value());
  EXPECT_EQ(static_cast<ec>((*grant)->code), ec::no_space);
  ASSERT_TRUE(in.pool.env->pool->remove_region(region_id{1}));
  in.advance(1s);
  anna.grant(1);
  in.expect_sound();
}

// -- two page sizes

TEST_F(full_pool, SecondPageSizeDrainsARegionOfTheFirst) {
  auto ben = with_large_pages();
  auto page = ben.grant()[0];
  EXPECT_EQ(in.table->find(page.page.region)->page_bytes, 2 * MiB);
  EXPECT_EQ(in.index_of("").size(), 6u);
  EXPECT_EQ(in.table->find(pages[0].page.region), nullptr) << "ids are not used again";
  EXPECT_EQ(ben.commit({{"large", page}}), codes{ec::ok});
  in.expect_sound();
}

TEST_F(full_pool, OperatorEvictsNoMoreWhereThereAreSeveralPageSizes) {
  auto ben = with_large_pages();
  EXPECT_EQ(ben.commit({{"large", ben.grant()[0]}}), codes{ec::ok});
  EXPECT_EQ(in.ask<evicted_bytes>(in.manager, evict_bytes{2 * MiB}).bytes, 2 * MiB);
  in.expect_sound();
}

TEST(PageSizes, UnusedOnesMakeRoomForOthersPastTheirBound) {
  house in{{.page_min = 64 * bounds::KiB}};
  for (std::uint64_t i = 1; i <= bounds::page_sizes_max + 4; ++i) {
    worker one{in, {.page_bytes = i * 64 * bounds::KiB}};
    auto page = one.grant()[0];
    EXPECT_EQ(in.table->find(page.page.region)->page_bytes, i * 64 * bounds::KiB);
    EXPECT_EQ(one.close(), ec::ok);
  }
  EXPECT_EQ(in.table->counts().granted, 0u);
  in.expect_sound();
}

TEST_F(full_pool, PageSizeThatTookEverythingCanBeTakenBackFrom) {
  // Pinned at once, else one's own coldest entry would go before another size's.
  auto put_pinned = [](worker& who, const std::string& prefix) {
    for (const auto& key : names(4, prefix)) {
      who.put({key});
      who.pin({key});
    }
  };
  auto ben = with_large_pages();
  put_pinned(ben, "large");
  EXPECT_EQ(in.table->counts(2 * MiB).committed, 4u);
  ben.unpin(names(4, "large"));
  EXPECT_EQ(in.table->counts(MiB).total(), 0u);
  put_pinned(anna, "small");
  EXPECT_EQ(in.table->counts(MiB).total(), 4u);
  in.expect_sound();
}

TEST_F(full_pool, Invariant4_DrainGivesUpCleanlyOnPins) {
  anna.pin({"key0", "key2", "key4", "key6"});  // one in each region
  auto ben = with_large_pages();
  auto grant = ben.begin_grant(1);
  in.advance(1100ms);
  EXPECT_EQ(code_of(grant), ec::out_of_memory);
  for (const auto& key : keys)
    EXPECT_TRUE(in.visible(key)) << key << ": nothing goes for a drain that cannot succeed";
  for (const auto& row : in.table->rows())
    EXPECT_FALSE(in.table->draining(row.id));
  in.expect_sound();
  anna.unpin({"key4"});
  auto second = ben.begin_grant(1);
  in.advance(400ms);
  EXPECT_EQ(code_of(second), ec::ok);
  EXPECT_FALSE(in.visible("key4"));
  in.expect_sound();
}

TEST_F(full_pool, DrainPassesOverARegionWithPins) {
  anna.pin({"key0", "key2"});
  auto ben = with_large_pages();
  auto grant = ben.begin_grant(1);
  in.advance(900ms);
  EXPECT_EQ(code_of(grant), ec::ok);
  EXPECT_TRUE(in.visible("key0") && in.visible("key2"));
  in.expect_sound();
}

TEST_F(full_pool, Invariant6_DrainLeavesRegionsWithGrantedPagesAlone) {
  std::vector<page_grant> held;
  for (int i = 0; i < 4; ++i) {  // one granted page in each region
    anna.lookup({"key1", "key3", "key5", "key7"});
    held.push_back(anna.grant()[0]);
  }
  auto ben = with_large_pages();
  auto grant = ben.begin_grant(1);
  in.advance(1100ms);
  EXPECT_EQ(code_of(grant), ec::out_of_memory);
  for (const auto* key : {"key1", "key3", "key5", "key7"})
    EXPECT_TRUE(in.visible(key));
  auto back = net::give_back_request{net::encode_grants(std::vector{held[0]})};
  anna.ask_of<net::codes_reply>(anna.session, back);
  in.advance(300ms);
  ben.grant();  // the region has no other page granted
  in.expect_sound();
}

TEST_F(full_pool, DrainThatMeetsEntriesWhichAreGoneOrElsewhereEvictsNothing) {
  victim elsewhere{in.hash("key0"), {pages[1].page, 100, pages[1].gen, 0}};
  victim gone{in.hash("never"), {pages[0].page, 100, pages[0].gen, 0}};
  auto answer = in.ask<evicted>(in.shards[0], evict_entries{{elsewhere, gone}});
  EXPECT_EQ(answer.pages + answer.pinned, 0u);
  EXPECT_EQ(in.index_of("").size(), 8u);
}

TEST_F(full_pool, DrainStopsWhereTheDeviceHasNoSpaceForTheNewRegion) {
  // The pool's own table has a row where the drained region was: as good as a device without storage.
  auto first = pages[0].page.region;
  ASSERT_TRUE(in.pool.env->pool->remove_region(first));
  ASSERT_TRUE(in.pool.env->pool->add_region(0, 2 * MiB, MiB));
  auto ben = with_large_pages();
  auto grant = ben.begin_grant(1);
  in.advance(900ms);
  EXPECT_EQ(in.index_of("").size(), 6u) << "one region was drained, not one after another";
}

}  // namespace
}  // namespace maru::actors
