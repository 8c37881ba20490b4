// Goal: a key becomes visible only when it is whole and durable, the first commit of a key wins, and no failure costs
// more than its own item. Method: the actors on the deterministic scheduler, stopped between the messages that matter.
#include <gtest/gtest.h>

#include "tests/actors/house.hpp"

namespace maru::actors {
namespace {

using test::house;
using test::worker;
using codes = std::vector<ec>;

class commits : public ::testing::Test {
protected:
  // Runs one message after another and calls `look` in between.
  template <class F>
  void run_slowly(F look) {
    while (in.scheduler().try_run_once())
      look();
  }
  // Up to the point where K's put is in the store_worker's group and only the write is missing.
  test::pending<net::codes_reply> begin_until_write(worker& who, const worker::items& items) {
    auto reply = who.begin_commit(items);
    in.run_without(in.workers[0]);
    in.step(in.workers[0]);         // the put: claims
    in.run_without(in.workers[0]);  // the shard answers
    in.step(in.workers[0]);         // the answer: staged, the write is a message away
    return reply;
  }
  void fail_next_write() { in.pool.store->fail_write(1, {ec::storage_failed, "failed to write: the test says so"}); }

  house in;
  worker anna{in}, ben{in};
};

TEST_F(commits, Invariant1_KeyIsVisibleOnlyOnceItIsCompleteAndDurable) {
  auto page = anna.grant()[0];
  auto reply = anna.begin_commit({{"k", page}});
  bool durable_before_visible = false;
  run_slowly([&] {
    auto d = in.pool.descriptor(page.page);
    bool whole = d && d->state == page_state::committed && d->hash == in.hash("k") && d->gen == page.gen;
    durable_before_visible |= in.pool.has_record("k") && !in.visible("k");
    if (in.visible("k"))
      EXPECT_TRUE(whole && in.pool.has_record("k"));
    else
      EXPECT_FALSE(reply->has_value()) << "acknowledged before it can be found";
    if (in.pool.has_record("k")) {
      EXPECT_TRUE(whole) << "durable before the descriptor says so";
    }
  });
  EXPECT_TRUE(durable_before_visible) << "the schedule never showed the order";
  EXPECT_EQ(worker::codes(**reply), codes{ec::ok});
  auto found = ben.lookup({"k"})[0];
  EXPECT_EQ(found.code, ec::ok);
  EXPECT_EQ(found.where.page, page.page);
  EXPECT_EQ(found.where.gen, page.gen);
  in.expect_sound();
}

TEST_F(commits, Invariant1_CommitIsAcknowledgedOnlyOnceItCanBeFound) {
  auto reply = begin_until_write(anna, {{"k", anna.grant()[0]}});
  in.step(in.workers[0]);        // durable
  in.run_without(in.shards[0]);  // the insert waits at the shard
  EXPECT_TRUE(in.pool.has_record("k"));
  EXPECT_FALSE(in.visible("k"));
  EXPECT_FALSE(reply->has_value());
  in.run();
  EXPECT_EQ(worker::codes(**reply), codes{ec::ok});
  EXPECT_TRUE(in.visible("k"));
}

TEST_F(commits, Invariant8_FirstCommitOfTwoSessionsWinsAndTheOtherKeepsItsPage) {
  auto first = anna.grant()[0];
  auto second = ben.grant()[0];
  auto a = anna.begin_commit({{"k", first}});
  auto b = ben.begin_commit({{"k", second}});
  in.run();
  EXPECT_EQ(worker::codes(**a), codes{ec::ok});
  EXPECT_EQ(worker::codes(**b), codes{ec::exists});
  EXPECT_EQ(anna.lookup({"k"})[0].where.page, first.page);
  EXPECT_EQ(in.state_of(second.page), page_state::granted);
  EXPECT_EQ(ben.commit({{"other", second}}), codes{ec::ok});
  EXPECT_EQ(ben.commit({{"k", ben.grant()[0]}}), codes{ec::exists}) << "long after";
  in.expect_sound();
}

TEST_F(commits, KeyTwiceInOneBatchIsAnsweredFromTheFirst) {
  auto pages = anna.grant(2);
  EXPECT_EQ(anna.commit({{"k", pages[0]}, {"k", pages[1]}}), (codes{ec::ok, ec::exists}));
  EXPECT_EQ(anna.lookup({"k"})[0].where.page, pages[0].page);
  EXPECT_EQ(anna.commit({{"other", pages[1]}}), codes{ec::ok});
  in.expect_sound();
}

TEST_F(commits, WaitingItemDoesNotDelayTheOthersOfItsBatch) {
  anna.put({"k"});
  auto pages = ben.grant(2);
  auto& shard = in.shards[0];
  auto& store = in.workers[0];
  auto removed = anna.begin_remove({"k"});
  in.run_without(store);  // the removal waits at the store_worker
  auto reply = ben.begin_commit({{"k", pages[0]}, {"l", pages[1]}});
  in.run_without(store);
  in.step(store);  // the removal takes the key
  in.step(store);  // the put: `k` waits, `l` is claimed
  in.step(store);  // the removal is written
  in.step(shard);  // `l` may be put
  in.step(store);
  in.step(store);  // `l` is written
  in.run_without(store);
  EXPECT_TRUE(in.visible("l"));
  EXPECT_FALSE(in.visible("k"));
  EXPECT_FALSE(reply->has_value()) << "the reply waits for all";
  in.run();
  EXPECT_EQ(worker::codes(**removed), codes{ec::ok});
  EXPECT_EQ(worker::codes(**reply), (codes{ec::ok, ec::ok}));
  in.expect_sound();
}

TEST_F(commits, CommitDuringTheRemovalOfItsKeyWaitsAndThenWins) {
  auto old = anna.put({"k"})[0];
  auto page = ben.grant()[0];
  auto removed = anna.begin_remove({"k"});
  in.run_without(in.workers[0]);
  EXPECT_FALSE(in.visible("k")) << "marked: a lookup misses";
  auto reply = ben.begin_commit({{"k", page}});
  in.run_without(in.workers[0]);
  in.step(in.workers[0]);
  in.step(in.workers[0]);
  EXPECT_FALSE(reply->has_value());
  in.run();
  EXPECT_EQ(worker::codes(**removed), codes{ec::ok});
  EXPECT_EQ(worker::codes(**reply), codes{ec::ok});
  EXPECT_EQ(anna.lookup({"k"})[0].where.page, page.page);
  EXPECT_EQ(in.state_of(old.page), page_state::free);
  in.expect_sound();
}

TEST_F(commits, CommitWhoseClaimMeetsTheRemovalWaitsToo) {
  anna.put({"k"});
  auto page = ben.grant()[0];
  auto reply = ben.begin_commit({{"k", page}});
  in.run_without(in.shards[0]);  // the claim waits at the shard, the eviction comes behind it
  caf::anon_send(in.shards[0], evict_coldest{in.pool.env->options.page_min, 1, {}});
  in.run();
  EXPECT_EQ(worker::codes(**reply), codes{ec::exists});
  EXPECT_FALSE(in.visible("k"));

  anna.put({"k2"});
  caf::anon_send(in.shards[0], evict_coldest{in.pool.env->options.page_min, 1, {}});
  auto second = ben.begin_commit({{"k2", page}});
  in.step(ben.session);
  in.step(in.workers[0]);  // the claim is behind the eviction in the shard's mailbox
  in.step(in.shards[0]);   // marks and sends the removal
  in.step(in.shards[0]);   // the claim meets the marked entry
  in.run();
  EXPECT_EQ(worker::codes(**second), codes{ec::ok});
  EXPECT_EQ(anna.lookup({"k2"})[0].where.page, page.page);
  in.expect_sound();
}

TEST_F(commits, FailedWriteLeavesThePageGrantedAndTheNextWaiterGoesOn) {
  auto first = anna.grant()[0];
  auto second = ben.grant()[0];
  auto a = begin_until_write(anna, {{"k", first}});
  auto b = ben.begin_commit({{"k", second}});
  in.step(ben.session);  // its put is behind the write
  fail_next_write();
  in.run();
  EXPECT_EQ(worker::codes(**a), codes{ec::storage_failed});
  EXPECT_EQ(in.state_of(first.page), page_state::granted);
  EXPECT_EQ(in.pool.descriptor(first.page)->state, page_state::granted);
  EXPECT_EQ(worker::codes(**b), codes{ec::ok});
  EXPECT_EQ(anna.lookup({"k"})[0].where.page, second.page);
  EXPECT_EQ(anna.commit({{"other", first}}), codes{ec::ok}) << "a refused item costs nothing";
  in.expect_sound();
}

TEST_F(commits, WaiterOfTheFailedWriteGoesOnFromTheSameGroup) {
  auto first = anna.grant()[0];
  auto second = ben.grant()[0];
  auto a = anna.begin_commit({{"k", first}});
  auto b = ben.begin_commit({{"k", second}});
  in.run_without(in.workers[0]);
  in.step(in.workers[0]);
  in.step(in.workers[0]);  // the second put waits for the first
  fail_next_write();
  in.run();
  EXPECT_EQ(worker::codes(**a), codes{ec::storage_failed});
  EXPECT_EQ(worker::codes(**b), codes{ec::ok});
  EXPECT_EQ(in.state_of(first.page), page_state::granted);
  in.expect_sound();
}

TEST_F(commits, FailedRemovalLeavesTheEntryAsItWas) {
  auto page = anna.put({"k"})[0];
  fail_next_write();
  EXPECT_EQ(anna.remove({"k"}), codes{ec::storage_failed});
  EXPECT_EQ(anna.lookup({"k"})[0].where.gen, page.gen);
  in.expect_sound();
  EXPECT_EQ(anna.remove({"k"}), codes{ec::ok});
  in.expect_sound();
}

TEST_F(commits, RemovedKeyIsGoneForGoodAndItsPageIsOfTheNextGeneration) {
  auto page = anna.put({"k"})[0];
  EXPECT_EQ(ben.remove({"k", "unknown"}), (codes{ec::ok, ec::missing}));
  EXPECT_EQ(anna.lookup({"k"})[0].code, ec::missing);
  EXPECT_FALSE(in.pool.has_record("k"));
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  EXPECT_EQ(in.pool.descriptor(page.page)->gen, page.gen + 1);
  in.expect_sound();
}

TEST_F(commits, Invariant4_RemovalOfAPinnedKeyAnswersPinned) {
  anna.put({"k"});
  anna.pin({"k"});
  ben.pin({"k"});
  EXPECT_EQ(anna.remove({"k"}), codes{ec::pinned});
  EXPECT_EQ(anna.unpin({"k"}), codes{ec::ok});
  EXPECT_EQ(anna.remove({"k"}), codes{ec::pinned}) << "the other one still holds it";
  EXPECT_EQ(ben.unpin({"k", "k"}), (codes{ec::ok, ec::not_pinned}));
  EXPECT_EQ(ben.remove({"k"}), codes{ec::ok});
  in.expect_sound();
}

// The leak checker of the sanitizers is the judge.
TEST_F(commits, MarudThatEndsInTheMiddleOfEverythingLeavesNoActorBehind) {
  auto first = anna.grant()[0];
  auto second = ben.grant()[0];
  anna.begin_commit({{"k", first}});
  ben.begin_commit({{"k", second}});
  in.run_without(in.workers[0]);
  in.step(in.workers[0]);
  in.step(in.workers[0]);  // one is claimed, one waits for it
}

// -- pages that are not the session's

TEST_F(commits, Invariant10_ForeignPageIsNotGranted) {
  auto page = anna.grant()[0];
  EXPECT_EQ(ben.commit({{"k", page}}), codes{ec::not_granted});
  EXPECT_EQ(ben.commit({{"k", {test::page_at(77, 0), 0}}}), codes{ec::not_granted});
  EXPECT_EQ(ben.commit({{"k", {{page.page.region, page_index{500}}, 0}}}), codes{ec::not_granted});
  EXPECT_EQ(anna.commit({{"k", {page.page, page.gen + 1}}}), codes{ec::not_granted}) << "another generation";
  EXPECT_EQ(anna.commit({{"k", page}}), codes{ec::ok}) << "its owner lost nothing";
  in.expect_sound();
}

TEST_F(commits, Invariant10_BadItemsAreRefusedOneByOne) {
  auto pages = anna.grant(3);
  std::string long_key(bounds::key_bytes_max + 1, 'x');
  EXPECT_EQ(anna.commit({{"", pages[0]}, {long_key, pages[1]}, {"k", pages[2]}}),
            (codes{ec::invalid, ec::too_large, ec::ok}));
  std::vector<net::commit_item> huge{
    {"h", {pages[0].page, static_cast<std::uint32_t>(2 * bounds::MiB), pages[0].gen, 0}}};
  auto reply = anna.ask_of<net::codes_reply>(anna.session, net::commit_request{net::encode_commits(huge)});
  EXPECT_EQ(worker::codes(reply), codes{ec::too_large});
  reply = anna.ask_of<net::codes_reply>(anna.session, net::commit_request{"nonsense"});
  EXPECT_EQ(worker::codes(reply), codes{ec::invalid});
  EXPECT_TRUE(anna.commit({}).empty());
  EXPECT_EQ(anna.commit({{"a", pages[0]}, {"b", pages[1]}}), (codes{ec::ok, ec::ok}));
  in.expect_sound();
}

TEST_F(commits, PageTwiceInOneBatchIsCommittedOnce) {
  auto page = anna.grant()[0];
  EXPECT_EQ(anna.commit({{"k", page}, {"l", page}}), (codes{ec::ok, ec::not_granted}));
  EXPECT_TRUE(in.visible("k"));
  EXPECT_FALSE(in.visible("l"));
  in.expect_sound();
}

TEST_F(commits, PageWhoseCommitIsUnderWayIsBusy) {
  auto page = anna.grant()[0];
  auto first = anna.begin_commit({{"k", page}});
  auto second = anna.begin_commit({{"l", page}});
  in.run();
  EXPECT_EQ(worker::codes(**first), codes{ec::ok});
  EXPECT_EQ(worker::codes(**second), codes{ec::busy});
  in.expect_sound();
}

TEST_F(commits, RepeatedCommitIsAnsweredByThePagesState) {
  auto page = anna.grant()[0];
  EXPECT_EQ(anna.commit({{"k", page}}), codes{ec::ok});
  EXPECT_EQ(anna.commit({{"k", page}}), codes{ec::ok}) << "its first answer was lost";
  EXPECT_EQ(anna.commit({{"other", page}}), codes{ec::not_granted}) << "not what was committed";
  EXPECT_EQ(ben.commit({{"k", page}}), codes{ec::not_granted}) << "not by this session";
  EXPECT_EQ(anna.remove({"k"}), codes{ec::ok});
  EXPECT_EQ(anna.commit({{"k", page}}), codes{ec::gone}) << "its generation moved on";
  in.expect_sound();
}

TEST_F(commits, RepeatedCommitOfAKeyThatIsRemovedUnderAViewIsGone) {
  auto page = anna.put({"k"})[0];
  auto views = ben.view({"k"});
  EXPECT_EQ(anna.remove({"k"}), codes{ec::ok});
  EXPECT_EQ(anna.commit({{"k", page}}), codes{ec::gone}) << "only its generation stays for the view";
  EXPECT_EQ(ben.end_views(views), codes{ec::ok});
  in.expect_sound();
}

TEST_F(commits, GivenBackPageIsNobodysAnyMore) {
  auto page = anna.grant()[0];
  auto back = net::give_back_request{net::encode_grants(std::vector{page, page_grant{test::page_at(9, 9), 0}})};
  EXPECT_EQ(worker::codes(anna.ask_of<net::codes_reply>(anna.session, back)), (codes{ec::ok, ec::not_granted}));
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  EXPECT_EQ(worker::codes(anna.ask_of<net::codes_reply>(anna.session, back)),
            (codes{ec::not_granted, ec::not_granted}));
  EXPECT_EQ(anna.commit({{"k", page}}), codes{ec::gone});
  in.expect_sound();
}

TEST_F(commits, EmptyPutIsAnsweredAndLeavesNothingBehind) {
  EXPECT_TRUE(in.ask<put_results>(in.workers[0], put_keys{anna.id(), "anna", {}}).codes.empty());
  anna.put({"k"});
  in.expect_sound();
}

}  // namespace
}  // namespace maru::actors
