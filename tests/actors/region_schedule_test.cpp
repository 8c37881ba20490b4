// Goal: a session that was shown regions gets its pages from these first, takes nothing before it needs it, is counted
// exactly, and leaves nothing behind; and nobody else is worse off for it. Method: the actors on the deterministic
// scheduler, a pool of a few extents of two pages, restarts between any two messages.
#include <gtest/gtest.h>

#include "tests/actors/house.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using bounds::MiB;
using test::house;
using test::worker;

class shown_regions_of_sessions : public ::testing::Test {
protected:
  static net::show_region_reply show(worker& who, std::uint64_t pages, std::uint32_t index = 0) {
    return who.ask_of<net::show_region_reply>(who.session, net::show_region_request{index, pages});
  }
  static ec code_of(const auto& reply) { return static_cast<ec>(reply.code); }
  static net::usage_reply usage(worker& who) { return who.ask_of<net::usage_reply>(who.session, net::usage_request{}); }
  static std::vector<page_grant> grants_of(const net::grant_reply& reply) { return *net::decode_grants(reply.grants); }
  static std::vector<page_grant> ask_for(worker& who, const net::grant_request& request) {
    return grants_of(who.ask_of<net::grant_reply>(who.session, request));
  }
  static std::uint32_t region_of(const page_grant& g) { return value_of(g.page.region); }
  std::size_t rows() const { return in.table->rows().size(); }

  house in;  // 8 MiB: four extents of two pages
  worker anna{in}, ben{in};
};

TEST_F(shown_regions_of_sessions, RegionIsAsLongAsItsExtentsAndTakesNothing) {
  auto shown = show(anna, 3);
  ASSERT_EQ(code_of(shown), ec::ok);
  EXPECT_EQ(shown.pages, 3u) << "what was asked for, though four would fit";
  EXPECT_EQ(shown.row.length, 4 * MiB);
  EXPECT_EQ(shown.row.page_bytes, MiB);
  EXPECT_FALSE(shown.shared);
  in.advance(500ms);
  EXPECT_EQ(in.table->free_pages(MiB), 0u) << "nothing is opened, so nothing has storage";
  EXPECT_EQ(in.table->counts().granted, 0u);
  EXPECT_EQ(usage(anna).pool_free_bytes, 8 * MiB);
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, GrantsComeFromThemInTheOrderShown) {
  auto first = show(anna, 2), second = show(anna, 2, 1);
  auto pages = anna.grant(4);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_EQ(region_of(pages[i]), i < 2 ? first.row.id : second.row.id);
  EXPECT_EQ(rows(), 2u);
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, FreedPageOfTheFirstIsGrantedBeforeOneOfTheSecond) {
  show(anna, 2);
  show(anna, 2, 1);
  auto pages = anna.grant(3);
  anna.ask_of<net::codes_reply>(anna.session, net::give_back_request{net::encode_grants(std::vector{pages[0]})});
  EXPECT_EQ(anna.grant()[0].page, pages[0].page);
}

TEST_F(shown_regions_of_sessions, PagesAheadComeFromNowhereElse) {
  auto shown = show(anna, 2);
  anna.grant(1);
  auto ahead = ask_for(anna, {1, true});
  ASSERT_EQ(ahead.size(), 1u);
  EXPECT_EQ(region_of(ahead[0]), shown.row.id);
  auto more = anna.ask_of<net::grant_reply>(anna.session, net::grant_request{1, true});
  EXPECT_EQ(code_of(more), ec::busy) << "the pool has six pages, the region none";
}

TEST_F(shown_regions_of_sessions, SparePagesComeFromNowhereElse) {
  house large{{.pool_bytes = 64 * MiB}};
  worker carl{large};
  auto shown = show(carl, 2);
  EXPECT_EQ(ask_for(carl, {1, false, 8}).size(), 2u);
  auto beyond = ask_for(carl, {1, false, 8});
  ASSERT_EQ(beyond.size(), 1u) << "what the caller needs, and no more";
  EXPECT_NE(region_of(beyond[0]), shown.row.id);
  worker dora{large};
  dora.grant(1);
  EXPECT_GT(ask_for(dora, {1, false, 8}).size(), 1u) << "a session that was shown none gets them from all pages";
}

TEST_F(shown_regions_of_sessions, OthersTakeThemOnlyWhereNothingElseIsLeft) {
  auto shown = show(anna, 4);
  for (const auto& g : ben.grant(4))
    EXPECT_NE(region_of(g), shown.row.id);
  auto kept = anna.put({"key"});
  EXPECT_EQ(region_of(ben.grant(1)[0]), shown.row.id) << "before anything is evicted";
  EXPECT_TRUE(in.visible("key"));
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, PagesPastTheirEndAreNobodys) {
  auto shown = show(anna, 3);
  auto page = ben.grant(1)[0];
  EXPECT_EQ(region_of(page), shown.row.id) << "before a new region";
  EXPECT_EQ(value_of(page.page.page), 3u);
  for (const auto& g : anna.grant(3))
    EXPECT_LT(value_of(g.page.page), 3u);
  EXPECT_NE(region_of(ben.grant(1)[0]), shown.row.id);
}

TEST_F(shown_regions_of_sessions, StorageIsTakenAStepAtATime) {
  show(anna, 8);
  anna.grant(1);
  EXPECT_EQ(in.table->free_pages(MiB), 1u) << "an extent";
  anna.grant(2);
  in.run();
  EXPECT_LE(in.table->free_pages(MiB), 2u);
  anna.grant(5);
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, WithoutRoomOneIsShared) {
  auto all = show(anna, 8);
  anna.grant(1);
  auto shared = show(ben, 2);
  ASSERT_EQ(code_of(shared), ec::ok);
  EXPECT_TRUE(shared.shared);
  EXPECT_EQ(shared.row.id, all.row.id);
  EXPECT_EQ(shared.pages, 8u) << "any of its pages";
  EXPECT_EQ(region_of(ben.grant(1)[0]), all.row.id);
  EXPECT_EQ(code_of(show(ben, 2, 1)), ec::out_of_memory) << "there is no other one";
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, TheOneWithMostFreePagesIsShared) {
  auto first = show(anna, 4), second = show(anna, 4, 1);
  anna.grant(1);
  EXPECT_EQ(show(ben, 100).row.id, second.row.id);
  EXPECT_EQ(show(ben, UINT64_MAX, 1).row.id, first.row.id);
}

TEST_F(shown_regions_of_sessions, AnotherPageSizeWithoutRoomIsRefused) {
  anna.put({"0", "1", "2", "3", "4", "5", "6", "7"});
  worker large{in, {.page_bytes = 2 * MiB}};
  EXPECT_EQ(code_of(show(large, 1)), ec::out_of_memory) << "nothing is evicted for a region that nobody writes yet";
  EXPECT_EQ(in.index_of("").size(), 8u);
}

TEST_F(shown_regions_of_sessions, MakesNoSense) {
  EXPECT_EQ(code_of(show(anna, 0)), ec::invalid);
  EXPECT_EQ(code_of(show(anna, 1, 1)), ec::invalid) << "the first one is not shown yet";
  EXPECT_EQ(rows(), 0u);
}

TEST_F(shown_regions_of_sessions, AskedAgainIsToldTheSame) {
  auto first = show(anna, 2);
  auto again = show(anna, 2);
  EXPECT_EQ(again.row.id, first.row.id);
  EXPECT_EQ(again.pages, first.pages);
  EXPECT_EQ(rows(), 1u);
  EXPECT_NE(show(anna, 2, 1).row.id, first.row.id);
}

TEST_F(shown_regions_of_sessions, RecordThatCannotBeWrittenLeavesNoRegion) {
  in.pool.store->fail_write(1, {ec::storage_failed, "failed to write: the test says so"});
  EXPECT_EQ(code_of(show(anna, 8)), ec::storage_failed);
  EXPECT_EQ(in.table->unassigned_bytes(), 8 * MiB);
  EXPECT_EQ(code_of(show(anna, 8)), ec::ok);
}

// -- the end of a session

TEST_F(shown_regions_of_sessions, UnusedOneEndsWithItsSession) {
  show(anna, 8);
  anna.grant(2);
  EXPECT_EQ(anna.close(), ec::ok);
  in.run();
  EXPECT_EQ(in.table->unassigned_bytes(), 8 * MiB);
  EXPECT_TRUE(in.pool.env->pool->regions().empty());
  EXPECT_EQ(show(ben, 8).shared, false);
}

TEST_F(shown_regions_of_sessions, UnusedOneEndsWithAKilledWorker) {
  show(anna, 8);
  anna.grant(2);
  anna.die();
  in.advance(1s);
  EXPECT_EQ(in.table->unassigned_bytes(), 8 * MiB);
}

TEST_F(shown_regions_of_sessions, OneWithEntriesIsNobodysAfterItsSession) {
  auto shown = show(anna, 4);
  anna.put({"key"});
  EXPECT_EQ(anna.close(), ec::ok);
  in.run();
  EXPECT_TRUE(in.visible("key"));
  EXPECT_EQ(region_of(ben.grant(1)[0]), shown.row.id) << "before a new region";
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, EmptiedOneMakesRoomForANewOne) {
  show(anna, 8);
  anna.put({"key"});
  EXPECT_EQ(anna.close(), ec::ok);
  in.run();
  EXPECT_TRUE(show(ben, 8).shared);
  worker carl{in};
  EXPECT_EQ(ben.close(), ec::ok);
  EXPECT_EQ(carl.remove({"key"}), std::vector{ec::ok});
  EXPECT_FALSE(show(carl, 8).shared) << "nobody has it, nobody uses it";
}

TEST_F(shown_regions_of_sessions, SharedOneStaysUntilTheLastWhoWasShownItIsGone) {
  auto shown = show(anna, 8);
  EXPECT_TRUE(show(ben, 1).shared);
  EXPECT_EQ(anna.close(), ec::ok);
  in.run();
  ASSERT_NE(in.table->find(region_id{shown.row.id}), nullptr);
  EXPECT_EQ(region_of(ben.grant(1)[0]), shown.row.id);
  EXPECT_EQ(ben.close(), ec::ok);
  in.run();
  EXPECT_EQ(in.table->unassigned_bytes(), 8 * MiB);
}

TEST_F(shown_regions_of_sessions, SessionThatEndsWhileAStepIsUnderWayLeavesNothing) {
  show(anna, 8);
  auto grant = anna.begin_grant(1);
  in.run_without(in.preparer);
  EXPECT_FALSE(grant->has_value());
  anna.begin_with<net::close_reply>(anna.session, net::close_request{});
  in.run();
  EXPECT_EQ(in.table->unassigned_bytes(), 8 * MiB);
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, AnotherPageSizeTakesAnUnusedOneBackWhereNothingElseIsLeft) {
  show(anna, 8);
  worker large{in, {.page_bytes = 2 * MiB}};
  auto grant = large.begin_grant(1);
  in.advance(500ms);
  ASSERT_TRUE(grant->has_value());
  EXPECT_EQ(code_of(**grant), ec::ok);
  EXPECT_TRUE(usage(anna).regions.empty());
  EXPECT_EQ(code_of(show(anna, 8)), ec::gone) << "asked again";
  anna.grant(1);
  in.expect_sound();
}

// -- usage

TEST_F(shown_regions_of_sessions, UsageCountsWhatASessionHasAndNoMore) {
  auto shown = show(anna, 4);
  anna.put({"a", "b"});
  anna.grant(1);
  ben.put({"c"});
  auto u = usage(anna);
  ASSERT_EQ(u.regions.size(), 1u);
  EXPECT_EQ(u.regions[0].row.id, shown.row.id);
  EXPECT_EQ(u.regions[0].pages, 4u);
  EXPECT_EQ(u.regions[0].granted, 1u);
  EXPECT_EQ(u.regions[0].committed, 2u);
  EXPECT_EQ(u.entries, 3u);
  EXPECT_EQ(u.entry_bytes, 300u);
  EXPECT_EQ(u.sessions, 2u);
  EXPECT_EQ(u.shown_regions, 2u) << "anna's, and the one that holds ben's entry";
  EXPECT_EQ(u.shown_bytes, 6 * MiB);
  EXPECT_EQ(u.pool_bytes, 8 * MiB);
  EXPECT_EQ(u.pool_free_bytes, 4 * MiB);
  auto bens = usage(ben);
  ASSERT_EQ(bens.regions.size(), 1u) << "where it has pages, though it was shown none";
  EXPECT_EQ(bens.regions[0].pages, 0u);
  EXPECT_EQ(bens.regions[0].committed, 1u);
}

TEST_F(shown_regions_of_sessions, PageIsFreeTheMomentItsRemovalIsAnsweredWhoeverRemovesIt) {
  show(anna, 4);
  anna.put({"a", "b"});
  auto removed = ben.begin_remove({"a"});
  while (!removed->has_value())
    ASSERT_TRUE(in.scheduler().try_run_once());
  EXPECT_EQ(usage(anna).regions.at(0).committed, 1u);
  EXPECT_EQ(usage(ben).entries, 1u);
}

TEST_F(shown_regions_of_sessions, EvictedPageIsFree) {
  show(anna, 8);
  anna.put({"a", "b"});
  EXPECT_EQ(in.ask<evicted_bytes>(in.manager, evict_bytes{MiB}).pages, 1u);
  EXPECT_EQ(usage(anna).regions.at(0).committed, 1u);
}

TEST_F(shown_regions_of_sessions, OnlyConnectedSessionsCount) {
  ben.disconnect();
  in.run();
  EXPECT_EQ(usage(anna).sessions, 1u);
  worker again{in, ben.to_resume()};
  EXPECT_EQ(usage(anna).sessions, 2u);
  EXPECT_EQ(again.close(), ec::ok);
  EXPECT_EQ(usage(anna).sessions, 1u);
}

// -- restarts

TEST_F(shown_regions_of_sessions, RegionsAndOwnersOutliveARestart) {
  auto shown = show(anna, 4);
  auto shared = show(ben, 100);
  anna.put({"a", "b"});
  in.restart();
  worker back{in, anna.to_resume()}, ben_back{in, ben.to_resume()};
  auto u = usage(back);
  ASSERT_EQ(u.regions.size(), 1u);
  EXPECT_EQ(u.regions[0].row.id, shown.row.id);
  EXPECT_EQ(u.regions[0].pages, 4u);
  EXPECT_EQ(u.regions[0].committed, 2u);
  EXPECT_EQ(show(back, 4).row.id, shown.row.id) << "asked again";
  EXPECT_EQ(region_of(back.grant(1)[0]), shown.row.id);
  EXPECT_TRUE(shared.shared);
  EXPECT_TRUE(usage(ben_back).regions.at(0).shared);
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, OneOfASessionThatDiedWithMarudIsGivenBack) {
  show(anna, 8);
  anna.grant(2);
  anna.lock.release();
  ben.lock.release();
  in.restart();
  in.advance(1s);
  EXPECT_EQ(in.table->unassigned_bytes(), 8 * MiB);
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, KillBeforeTheSessionKnowsLosesNoPageAndCountsNoneTwice) {
  anna.begin_with<net::show_region_reply>(anna.session, net::show_region_request{0, 8});
  in.run_without(in.workers[0]);
  ASSERT_EQ(in.pool.env->pool->regions().size(), 1u) << "the row is written, the record is not";
  ben.lock.release();
  in.restart();
  worker back{in, anna.to_resume()};
  auto shown = show(back, 8);
  EXPECT_EQ(code_of(shown), ec::ok);
  EXPECT_FALSE(shown.shared);
  EXPECT_EQ(back.grant(8).size(), 8u);
  EXPECT_EQ(in.table->counts().total(), 8u);
  EXPECT_EQ(usage(back).regions.at(0).granted, 8u);
  in.expect_sound();
}

TEST_F(shown_regions_of_sessions, KillBeforeTheAnswerShowsTheSameOne) {
  auto lost = anna.begin_with<net::show_region_reply>(anna.session, net::show_region_request{0, 8});
  in.run();
  auto id = (*lost)->row.id;
  in.restart();
  worker back{in, anna.to_resume()};
  EXPECT_EQ(show(back, 8).row.id, id);
  EXPECT_EQ(rows(), 1u);
}

}  // namespace
}  // namespace maru::actors
