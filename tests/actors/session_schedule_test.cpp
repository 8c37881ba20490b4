// Goal: what a session holds ends with it and not before its process is proven dead; nobody else speaks for it; its
// requests are bounded. Method: the actors on the deterministic scheduler with virtual time; a worker's life is a real
// lock on its file, which the test takes and lets go.
#include <gtest/gtest.h>

#include "tests/actors/house.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using test::house;
using test::worker;
using codes = std::vector<ec>;

class sessions : public ::testing::Test {
protected:
  bool is_known(const worker& who) {
    auto known = in.sessions();
    return std::any_of(known.begin(), known.end(), [&](const auto& s) { return s.id == who.hello.session; });
  }
  std::string state_of(const worker& who) {
    for (const auto& s : in.sessions())
      if (s.id == who.hello.session)
        return s.state;
    return "none";
  }
  pin_counts pins() { return in.ask<pin_counts>(in.ledger, ask_pins{}); }
  void expect_nothing_is_held() {
    EXPECT_EQ(in.table->counts().granted, 0u);
    EXPECT_EQ(in.table->counts().quarantined, 0u);
    EXPECT_EQ(in.pins(), 0u);
    EXPECT_EQ(pins().pins, 0u);
    in.expect_sound();
  }

  house in;
};

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

// -- lease and proof of death

TEST_F(sessions, Invariant6_SilentWorkerLosesItsRightsButItsPagesAndPinsWaitForProofOfDeath) {
  worker anna{in}, ben{in};
  anna.put({"a"});
  anna.pin({"a"});
  auto pages = anna.grant(2);
  for (int i = 0; i < 11; ++i) {  // stopped: its lock is held, it renews no more
    in.advance(1s);
    ASSERT_EQ(ben.renew(), ec::ok);
  }
  EXPECT_EQ(state_of(anna), "lapsed");
  EXPECT_EQ(state_of(ben), "active");
  for (const auto& g : pages)
    EXPECT_EQ(in.pool.descriptor(g.page)->state, page_state::quarantined);
  EXPECT_EQ(in.table->counts().quarantined, pages.size());
  EXPECT_EQ(ben.remove({"a"}), codes{ec::pinned});
  EXPECT_EQ(pins().held_dead, 1u);
  EXPECT_EQ(static_cast<ec>(anna.ask_of<net::grant_reply>(anna.session, net::grant_request{1}).code), ec::session_over);
  anna.lock.release();
  in.advance(200ms);
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(sessions, RenewedLeaseDoesNotEnd) {
  worker anna{in};
  for (int i = 0; i < 30; ++i) {
    in.advance(1s);
    ASSERT_EQ(anna.renew(), ec::ok);
  }
  EXPECT_EQ(state_of(anna), "active");
}

TEST_F(sessions, Invariant6_LostConnectionIsNoProofOfDeath) {
  worker anna{in};
  anna.put({"a"});
  anna.pin({"a"});
  auto page = anna.grant()[0];
  anna.disconnect();
  in.advance(3s);
  EXPECT_EQ(state_of(anna), "suspect");
  EXPECT_EQ(in.pins(), 1u);
  EXPECT_EQ(in.state_of(page.page), page_state::granted);
  in.advance(10s);
  EXPECT_EQ(state_of(anna), "lapsed");
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
  EXPECT_EQ(in.pins(), 1u);
}

TEST_F(sessions, Invariant6_DeletedLockFileProvesNothing) {
  worker anna{in};
  auto page = anna.grant()[0];
  ::unlink(anna.hello.lock_path.c_str());
  anna.disconnect();
  in.advance(12s);
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
}

TEST_F(sessions, Invariant6_GrantThatArrivesAfterTheLapseIsQuarantinedAndFreedWithTheRest) {
  worker anna{in};
  std::vector<std::string> keys;
  for (int i = 0; i < 8; ++i)
    keys.push_back("key" + std::to_string(i));
  anna.put(keys);
  anna.pin(keys);
  in.advance(9500ms);
  worker ben{in};
  auto late = anna.begin_grant(1);  // waits: all is pinned
  in.run();
  in.advance(600ms);
  ASSERT_EQ(state_of(anna), "lapsed");
  ASSERT_FALSE(late->has_value());
  in.ask<shard_blob>(in.ledger, release_pins{anna.id(), ben.blob({"key0"})});
  in.advance(200ms);
  ASSERT_TRUE(late->has_value());
  EXPECT_EQ(in.table->counts().granted, 0u);
  EXPECT_EQ(in.table->counts().quarantined, 1u);
  anna.lock.release();
  in.advance(1s);
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(sessions, Invariant6_RefusedCommitThatArrivesAfterTheLapseIsQuarantinedAndFreedWithTheRest) {
  worker anna{in}, ben{in};
  ben.put({"k"});
  auto page = anna.grant()[0];
  in.advance(9s);
  ASSERT_EQ(ben.renew(), ec::ok);
  auto late = anna.begin_commit({{"k", page}});
  for (int i = 0; i < 40; ++i) {
    in.scheduler().advance_time(50ms);
    in.run_without(in.workers[0]);
  }
  EXPECT_EQ(in.state_of(page.page), page_state::granted) << "its commit is not answered";
  in.run();
  ASSERT_EQ(state_of(anna), "lapsed");
  EXPECT_EQ(worker::codes(**late), codes{ec::exists});
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
  anna.lock.release();
  in.advance(1s);
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  in.expect_sound();
}

// -- resume

TEST_F(sessions, ResumedSessionKeepsWhatTheWorkerNamesAndReturnsTheRest) {
  worker anna{in};
  anna.put({"a", "b"});
  anna.pin({"a", "b", "b"});
  auto pages = anna.grant(2);
  anna.disconnect();
  in.run();
  auto back = anna.to_resume();
  back.pinned = anna.blob({"b"});
  back.grants = net::encode_grants(std::vector{pages[0], page_grant{pages[1].page, pages[1].gen + 1}});
  worker again{in, back};
  ASSERT_EQ(again.hello.code, 0);
  EXPECT_EQ(again.id(), anna.id());
  EXPECT_EQ(*net::decode_codes(again.hello.kept), (codes{ec::ok, ec::gone}));
  EXPECT_EQ(state_of(again), "active");
  EXPECT_EQ(in.pins(), 1u);
  EXPECT_EQ(again.unpin({"a", "b"}), (codes{ec::not_pinned, ec::ok}));
  EXPECT_EQ(in.state_of(pages[1].page), page_state::free) << "granted in a reply that got lost";
  EXPECT_EQ(again.commit({{"c", pages[0]}}), codes{ec::ok});
  in.expect_sound();
}

TEST_F(sessions, ResumeWithAWrongSecretIsRefused) {
  worker anna{in};
  auto wrong = anna.to_resume();
  wrong.secret[3] ^= 1;
  worker thief{in, wrong};
  EXPECT_EQ(static_cast<ec>(thief.hello.code), ec::session_over);
  wrong.secret.clear();
  worker other{in, wrong};
  EXPECT_EQ(static_cast<ec>(other.hello.code), ec::session_over);
  EXPECT_EQ(anna.renew(), ec::ok);
}

TEST_F(sessions, Invariant10_NonsenseInAResumeIsGoneOrRefused) {
  worker anna{in};
  auto page = anna.grant()[0];
  anna.disconnect();
  in.run();
  auto bad = anna.to_resume();
  bad.pinned = "not a hash";
  worker one{in, bad};
  EXPECT_EQ(static_cast<ec>(one.hello.code), ec::invalid);
  bad = anna.to_resume();
  bad.grants = net::encode_grants(std::vector{page}) + std::string(16, '\xff') + "tail";  // no such generation
  worker two{in, bad};
  ASSERT_EQ(two.hello.code, 0);
  EXPECT_EQ(*net::decode_codes(two.hello.kept), (codes{ec::ok, ec::gone}));
  EXPECT_EQ(two.commit({{"k", page}}), codes{ec::ok});
}

TEST_F(sessions, Invariant5_WorkerThatDiesDuringItsResumeStillEnds) {
  worker anna{in};
  anna.put({"a"});
  anna.pin({"a"});
  anna.disconnect();
  in.run();
  auto back = anna.to_resume();
  back.pinned = anna.blob({"a"});
  net::hello m;
  m.instance = "worker";
  m.boot_id.assign(16, 'b');
  m.resume_session = back.resume;
  m.resume_secret = back.secret;
  m.pinned = back.pinned;
  auto end = in.new_end();
  auto reply = test::request_as<net::hello_reply>(end, in.door, m);
  in.run_without(in.shards[0]);  // the pins are being taken again
  anna.lock.release();
  caf::anon_send_exit(end, caf::exit_reason::kill);
  in.run_without(in.shards[0]);
  in.run();
  in.advance(1s);
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(sessions, LeaseOfAResumedSessionHasItsUsualLength) {
  worker anna{in};
  in.restart();
  worker again{in, anna.to_resume()};
  ASSERT_EQ(again.hello.code, 0);
  EXPECT_EQ(in.sessions().at(0).lease_left_ms, 10000);
  in.advance(5s);
  ASSERT_EQ(again.renew(), ec::ok);
  EXPECT_EQ(in.sessions().at(0).lease_left_ms, 10000);
}

// -- restart of marud

TEST_F(sessions, Invariant2_EntriesAndGrantsSurviveAKillAndTheWorkerGoesOn) {
  worker anna{in};
  anna.put({"a", "b"});
  anna.pin({"a"});
  auto page = anna.grant()[0];
  in.restart();
  EXPECT_TRUE(in.visible("a"));
  EXPECT_EQ(in.state_of(page.page), page_state::granted);
  EXPECT_EQ(state_of(anna), "awaiting_resume");
  auto back = anna.to_resume();
  back.pinned = anna.blob({"a"});
  back.grants = net::encode_grants(std::vector{page});
  worker again{in, back};
  EXPECT_EQ(in.pins(), 1u);
  EXPECT_EQ(again.commit({{"c", page}}), codes{ec::ok});
  EXPECT_EQ(again.remove({"b"}), codes{ec::ok}) << "everybody is back: removals go on";
  EXPECT_EQ(again.remove({"a"}), codes{ec::pinned});
  in.expect_sound();
}

TEST_F(sessions, Invariant4_NothingIsEvictedOrRemovedBeforeSessionsOfBeforeAreSettled) {
  worker anna{in};
  std::vector<std::string> keys;
  for (int i = 0; i < 8; ++i)
    keys.push_back("key" + std::to_string(i));
  anna.put(keys);
  anna.pin({"key0"});
  in.restart();
  worker ben{in};
  EXPECT_EQ(ben.remove({"key1"}), codes{ec::busy});
  auto grant = ben.begin_grant(1);
  in.run();
  EXPECT_FALSE(grant->has_value());
  in.advance(1100ms);
  ASSERT_TRUE(grant->has_value());
  EXPECT_EQ(static_cast<ec>((*grant)->code), ec::busy) << "the pool is full, and nothing may go yet";
  EXPECT_EQ(in.ask<evicted_bytes>(in.manager, evict_bytes{8 * bounds::MiB}).pages, 0u);
  for (const auto& key : keys)
    EXPECT_TRUE(in.visible(key));
  auto back = anna.to_resume();
  back.pinned = anna.blob({"key0"});
  worker again{in, back};
  EXPECT_EQ(ben.remove({"key0", "key1"}), (codes{ec::pinned, ec::ok}));
  ben.grant(1);
  in.expect_sound();
}

TEST_F(sessions, GraceEndsWithTheProofOfDeathOrWhenItsTimeIsOver) {
  worker anna{in}, ben{in};
  anna.put({"a", "b"});
  auto page = ben.grant()[0];
  in.restart();
  anna.die();  // its lock is free: settled at the first look
  in.advance(200ms);
  EXPECT_FALSE(is_known(anna));
  worker carl{in};
  EXPECT_EQ(carl.remove({"a"}), codes{ec::busy}) << "ben is not settled";
  for (int i = 0; i < 31; ++i) {
    in.advance(1s);
    ASSERT_EQ(carl.renew(), ec::ok);
  }
  EXPECT_EQ(state_of(ben), "lapsed");
  EXPECT_EQ(carl.remove({"a"}), codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined) << "its process may still write it";
  ben.lock.release();
  in.advance(200ms);
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  in.expect_sound();
}

TEST_F(sessions, Invariant6_DamagedPageIsUsedOnlyOnceAllSessionsOfBeforeAreProvenDead) {
  worker anna{in};
  auto page = anna.grant()[0];
  in.pool.env->pool->descriptors().line(in.pool.slot(page.page))[40] ^= std::byte{1};
  in.restart();
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
  in.advance(31s);
  EXPECT_EQ(state_of(anna), "lapsed");
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined) << "out of time is no proof";
  anna.lock.release();
  in.advance(200ms);
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  EXPECT_GT(in.pool.descriptor(page.page)->gen, page.gen);
  in.expect_sound();
}

}  // namespace
}  // namespace maru::actors
