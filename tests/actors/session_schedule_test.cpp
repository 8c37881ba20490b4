// Goal: nobody speaks for a session but its worker, its requests are bounded, and what it held ends with it. Method: the
// actors on the deterministic scheduler, stopped between the messages that matter.
#include <gtest/gtest.h>

#include "tests/actors/session_fixture.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using test::house;
using test::worker;
using codes = std::vector<ec>;

class sessions : public test::session_fixture {};

// -- doors and bounds

TEST_F(sessions, HelloIsAnsweredOnceTheSessionIsDurable) {
  worker anna{in};
  ASSERT_EQ(anna.hello.code, 0);
  auto records = *in.pool.store->sessions();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].id, anna.id());
  EXPECT_EQ(records[0].page_bytes, in.pool.env->options.page_min);
  EXPECT_EQ(anna.hello.page_bytes, records[0].page_bytes);
}

TEST_F(sessions, HelloWhoseSessionCannotBeSavedOpensNone) {
  in.pool.store->fail_write(1, {ec::storage_failed, "failed to write: the test says so"});
  worker anna{in};
  EXPECT_EQ(static_cast<ec>(anna.hello.code), ec::storage_failed);
  EXPECT_FALSE(anna.session);
  EXPECT_TRUE(in.sessions().empty());
}

TEST_F(sessions, RequestsOfAnotherSenderAreRefused) {
  worker anna{in}, ben{in};
  auto page = anna.put({"k"})[0];
  anna.pin({"k"});
  auto free_page = anna.grant()[0];
  auto grants = net::encode_grants(std::vector{free_page});
  auto& s = anna.session;
  auto refused = static_cast<std::uint8_t>(ec::refused);
  EXPECT_EQ(ben.ask_of<net::grant_reply>(s, net::grant_request{1}).code, refused);
  EXPECT_EQ(ben.ask_of<net::codes_reply>(s, net::give_back_request{grants}).code, refused);
  EXPECT_EQ(ben.ask_of<net::codes_reply>(s, worker::commit_of({{"l", free_page}})).code, refused);
  EXPECT_EQ(ben.ask_of<net::found_reply>(s, net::lookup_request{0, anna.blob({"k"})}).code, refused);
  EXPECT_EQ(ben.ask_of<net::codes_reply>(s, net::exists_request{0, anna.blob({"k"})}).code, refused);
  EXPECT_EQ(ben.ask_of<net::codes_reply>(s, net::unpin_request{anna.blob({"k"})}).code, refused);
  EXPECT_EQ(ben.ask_of<net::codes_reply>(s, net::remove_request{anna.blob({"k"})}).code, refused);
  EXPECT_EQ(ben.ask_of<net::renew_reply>(s, net::renew_request{}).code, refused);
  EXPECT_EQ(ben.ask_of<net::regions_reply>(s, net::regions_request{{1}}).code, refused);
  EXPECT_EQ(ben.ask_of<net::close_reply>(s, net::close_request{}).code, refused);
  EXPECT_EQ(state_of(anna), "active");
  EXPECT_EQ(in.pins(), 1u);
  EXPECT_EQ(in.state_of(page.page), page_state::committed);
  EXPECT_EQ(in.state_of(free_page.page), page_state::granted);
}

TEST_F(sessions, Invariant9_RequestPastTheBoundIsBusyAndTheOthersAreAnswered) {
  worker anna{in};
  anna.put({"k"});
  std::vector<test::pending<net::found_reply>> replies;
  for (std::size_t i = 0; i <= bounds::requests_in_flight_max; ++i)
    replies.push_back(anna.begin_with<net::found_reply>(anna.session, net::lookup_request{0, anna.blob({"k"})}));
  in.run_without(in.shards[0]);
  auto& last = *replies.back();
  ASSERT_TRUE(last.has_value()) << "refused at once";
  EXPECT_EQ(static_cast<ec>(last->code), ec::busy);
  in.run();
  for (std::size_t i = 0; i < bounds::requests_in_flight_max; ++i)
    EXPECT_EQ((*replies[i])->code, 0);
  EXPECT_EQ(anna.lookup({"k"})[0].code, ec::ok) << "and it goes on";
}

TEST_F(sessions, Invariant9_BatchOverItsBoundIsTooLarge) {
  worker anna{in};
  std::string hashes((bounds::batch_items_max + 1) * sizeof(key_hash), 'x');
  EXPECT_EQ(static_cast<ec>(anna.ask_of<net::found_reply>(anna.session, net::lookup_request{0, hashes}).code),
            ec::too_large);
  hashes.resize(17);
  EXPECT_EQ(static_cast<ec>(anna.ask_of<net::found_reply>(anna.session, net::lookup_request{0, hashes}).code),
            ec::invalid);
}

TEST_F(sessions, Invariant9_PinsPastTheBoundAreBusyAndNothingIsPinned) {
  in.pool.env->options.pins_max = 3;
  worker anna{in};
  anna.put({"a", "b"});
  anna.pin({"a", "b"});
  auto reply = anna.ask_of<net::found_reply>(anna.session, net::lookup_request{net::flag_pin, anna.blob({"a", "b"})});
  EXPECT_EQ(static_cast<ec>(reply.code), ec::busy);
  EXPECT_EQ(in.pins(), 2u);
  anna.lookup({"x"}, net::flag_pin);  // a miss takes no room
  anna.pin({"a"});
  EXPECT_EQ(anna.unpin({"a", "a", "b"}), (codes{ec::ok, ec::ok, ec::ok}));
  anna.pin({"a", "b"});
}

TEST_F(sessions, Invariant9_GrantsPastTheBoundAreBusy) {
  in.pool.env->options.grants_max = 2;
  worker anna{in};
  auto pages = anna.grant(2);
  auto ask = [&] { return static_cast<ec>(anna.ask_of<net::grant_reply>(anna.session, net::grant_request{1}).code); };
  EXPECT_EQ(ask(), ec::busy);
  EXPECT_EQ(anna.commit({{"k", pages[0]}}), codes{ec::ok});
  EXPECT_EQ(ask(), ec::ok);
}

TEST_F(sessions, LeaseIsRenewedPastTheBoundOnRequests) {
  worker anna{in};
  auto ask = [&] { return anna.begin_with<net::found_reply>(anna.session, net::lookup_request{0, anna.blob({"a"})}); };
  for (std::size_t i = 0; i < bounds::requests_in_flight_max; ++i)
    ask();
  in.run_without(in.shards[0]);
  auto refused = ask();
  auto renewed = anna.begin_with<net::renew_reply>(anna.session, net::renew_request{});
  in.run_without(in.shards[0]);
  ASSERT_TRUE(refused->has_value() && renewed->has_value());
  EXPECT_EQ(static_cast<ec>((*refused)->code), ec::busy);
  EXPECT_EQ(static_cast<ec>((*renewed)->code), ec::ok) << "slow answers are no sign of a dead worker";
  in.run();
}

TEST_F(sessions, Invariant9_TwoGrantRequestsInFlightDoNotPassTheBoundTogether) {
  in.pool.env->options.grants_max = 2;
  worker anna{in};
  auto first = anna.begin_grant(2);
  auto second = anna.begin_grant(2);
  in.run();
  ASSERT_TRUE(first->has_value() && second->has_value());
  EXPECT_EQ(net::decode_grants((*first)->grants)->size(), 2u);
  EXPECT_EQ(static_cast<ec>((*second)->code), ec::busy);
}

TEST_F(sessions, WorkerOfAnotherHostIsRefused) {
  net::hello m;
  m.boot_id.assign(16, 'b');
  auto reply = in.ask<net::hello_reply>(in.door, m);
  EXPECT_EQ(static_cast<ec>(reply.code), ec::refused);
  EXPECT_FALSE(reply.handle);
  EXPECT_TRUE(in.sessions().empty());
}

TEST(SessionsOfTwoShards, PrefixStopPinsNothingAfterTheFirstMissWhateverTheShard) {
  house in{{.shards = 3}};
  worker anna{in};
  std::vector<std::string> keys;
  for (int i = 0; i < 6; ++i)
    keys.push_back("key" + std::to_string(i));
  anna.put(keys);
  for (std::size_t hole = 0; hole <= keys.size(); ++hole) {
    auto asked = keys;
    asked.insert(asked.begin() + static_cast<std::ptrdiff_t>(hole), "missing");
    auto found = anna.lookup(asked, net::flag_pin | net::flag_prefix_stop);
    for (std::size_t i = 0; i < asked.size(); ++i)
      EXPECT_EQ(found[i].code, i < hole ? ec::ok : ec::missing);
    EXPECT_EQ(in.pins(), hole);
    EXPECT_EQ(in.ask<pin_counts>(in.ledger, ask_pins{}).pins, hole);
    anna.unpin(asked);
    EXPECT_EQ(in.pins(), 0u);
  }
}

// -- the end of a session

TEST_F(sessions, Invariant5_ClosedSessionReturnsPinsAndPages) {
  worker anna{in}, ben{in};
  anna.put({"a", "b"});
  anna.pin({"a", "b"});
  auto pages = anna.grant(3);
  EXPECT_EQ(anna.close(), ec::ok);
  EXPECT_FALSE(is_known(anna));
  EXPECT_TRUE(is_known(ben));
  EXPECT_EQ(in.pool.store->sessions()->size(), 1u);
  EXPECT_NE(::access(anna.hello.lock_path.c_str(), F_OK), 0) << "the lock file is gone";
  EXPECT_EQ(in.pool.descriptor(pages[0].page)->gen, pages[0].gen + 1);
  expect_nothing_is_held();
}

TEST_F(sessions, Invariant5_KilledWorkerLosesEverythingAtOnce) {
  worker anna{in};
  anna.put({"a"});
  anna.pin({"a"});
  anna.grant(2);
  anna.die();
  in.run();
  in.advance(200ms);
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(sessions, Invariant5_EndOfALargeSessionGoesInSlices) {
  in.pool.env->options.pins_max = 100000;
  worker anna{in};
  anna.put({"a"});
  for (int i = 0; i < 5; ++i)
    anna.pin(std::vector<std::string>(bounds::slice_pages, "a"));
  EXPECT_EQ(in.pins(), 5 * bounds::slice_pages);
  anna.die();
  std::uint64_t most = 0, before = in.pins();
  while (in.scheduler().try_run_once()) {
    most = std::max(most, before - in.pins());
    before = in.pins();
  }
  EXPECT_EQ(most, bounds::slice_pages);
  expect_nothing_is_held();
}

TEST_F(sessions, Invariant5_SessionWaitsForALatePinAndUndoesIt) {
  worker anna{in};
  anna.put({"a"});
  auto late = anna.begin_with<net::found_reply>(anna.session, net::lookup_request{net::flag_pin, anna.blob({"a"})});
  in.run_without(in.shards[0]);  // the pin is under way
  anna.begin_with<net::close_reply>(anna.session, net::close_request{});
  in.run_without(in.shards[0]);
  EXPECT_EQ(in.pool.store->sessions()->size(), 1u) << "not over yet";
  in.run();
  EXPECT_TRUE(late->has_value());
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(sessions, CommitUnderWayAtTheEndIsFinishedAndItsPageIsNotLost) {
  worker anna{in}, ben{in};
  auto pages = anna.grant(2);
  anna.begin_commit({{"a", pages[0]}});
  in.run_without(in.workers[0]);
  anna.die();
  in.run_without(in.workers[0]);
  EXPECT_EQ(in.state_of(pages[1].page), page_state::granted) << "the session waits for its commit";
  in.run();
  EXPECT_TRUE(in.visible("a"));
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(sessions, EndedSessionAnswersNothingMore) {
  worker anna{in};
  auto late = anna.begin_with<net::found_reply>(anna.session, net::lookup_request{net::flag_pin, anna.blob({"a"})});
  in.run_without(in.shards[0]);
  anna.begin_with<net::close_reply>(anna.session, net::close_request{});
  auto after = anna.begin_grant(1);
  in.run_without(in.shards[0]);
  ASSERT_TRUE(after->has_value());
  EXPECT_EQ(static_cast<ec>((*after)->code), ec::session_over);
  in.run();
  expect_nothing_is_held();
}

// -- several shards

TEST(SessionsOfTwoShards, APrefixLookupEndsNobodysPins) {
  house in{{.shards = 2}};
  worker anna{in}, ben{in};
  std::string there = "key0", missing = "key1";
  while (in.shard_index(missing) == in.shard_index(there))
    missing += "x";
  anna.put({there});
  anna.pin({there});
  for (int taken : {0, int{net::flag_pin}, int{net::flag_view}}) {
    auto found = ben.lookup({missing, there}, static_cast<std::uint8_t>(taken | net::flag_prefix_stop));
    EXPECT_EQ(found[1].code, ec::missing) << "behind the first miss";
    EXPECT_EQ(in.index_of(there).find(in.hash(there))->pins, 1u) << "flag " << taken;
  }
  EXPECT_EQ(anna.unpin({there}), codes{ec::ok});
  EXPECT_EQ(in.pins(), 0u);
}

}  // namespace
}  // namespace maru::actors
