// Goal: what a session holds does not end before its process is proven dead, and a worker that comes back, after a lost
// connection or a restart of marud, finds what was its own. Method: the actors on the deterministic scheduler with
// virtual time; a worker's life is a real lock on its file, which the test takes and lets go.
#include <gtest/gtest.h>
#include <unistd.h>

#include "cxl/held_pages.hpp"
#include "tests/actors/session_fixture.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using test::house;
using test::worker;
using codes = std::vector<ec>;

class session_lives : public test::session_fixture {};

// -- lease and proof of death

TEST_F(session_lives, Invariant6_SilentWorkerLosesItsRightsButItsPagesAndPinsWaitForProofOfDeath) {
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

TEST_F(session_lives, RenewedLeaseDoesNotEnd) {
  worker anna{in};
  for (int i = 0; i < 30; ++i) {
    in.advance(1s);
    ASSERT_EQ(anna.renew(), ec::ok);
  }
  EXPECT_EQ(state_of(anna), "active");
}

TEST_F(session_lives, Invariant6_LostConnectionIsNoProofOfDeath) {
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

TEST_F(session_lives, Invariant6_DeletedLockFileProvesNothing) {
  worker anna{in};
  auto page = anna.grant()[0];
  ::unlink(anna.hello.lock_path.c_str());
  anna.disconnect();
  in.advance(12s);
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
}

TEST_F(session_lives, Invariant6_GrantThatArrivesAfterTheLapseIsQuarantinedAndFreedWithTheRest) {
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
  in.ask<shard_blob>(in.ledger, release_pins{anna.id(), {{in.hash("key0"), {}}}});
  in.advance(200ms);
  ASSERT_TRUE(late->has_value());
  EXPECT_EQ(in.table->counts().granted, 0u);
  EXPECT_EQ(in.table->counts().quarantined, 1u);
  anna.lock.release();
  in.advance(1s);
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(session_lives, Invariant6_RefusedCommitThatArrivesAfterTheLapseIsQuarantinedAndFreedWithTheRest) {
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

TEST_F(session_lives, ResumedSessionKeepsWhatTheWorkerNamesAndReturnsTheRest) {
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

TEST_F(session_lives, ResumeWaitsForWhatTheOldConnectionAskedFor) {
  worker anna{in};
  anna.put({"a"});
  auto pin = anna.begin_with<net::found_reply>(anna.session, net::lookup_request{net::flag_pin, anna.blob({"a"})});
  auto grant = anna.begin_grant(1);
  in.run_without(in.shards[0]);  // the pin is under way
  auto granted = *net::decode_grants((*grant)->grants);
  caf::anon_send_exit(anna.end, caf::exit_reason::kill);
  auto reply = test::request_as<net::hello_reply>(in.new_end(), in.door, worker::hello_of(anna.to_resume()));
  in.run_without(in.shards[0]);
  EXPECT_FALSE(reply->has_value());
  in.run();
  ASSERT_TRUE(reply->has_value());
  EXPECT_EQ((*reply)->code, 0);
  EXPECT_EQ(in.pins(), 0u) << "its answer was lost with the connection";
  EXPECT_EQ(in.state_of(granted.at(0).page), page_state::free);
  in.expect_sound();
}

TEST_F(session_lives, ResumeWithAWrongSecretIsRefused) {
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

TEST_F(session_lives, Invariant10_NonsenseInAResumeIsGoneOrRefused) {
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

TEST_F(session_lives, Invariant5_WorkerThatDiesDuringItsResumeStillEnds) {
  worker anna{in};
  anna.put({"a"});
  anna.pin({"a"});
  anna.disconnect();
  in.run();
  auto back = anna.to_resume();
  back.pinned = anna.blob({"a"});
  auto end = in.new_end();
  auto reply = test::request_as<net::hello_reply>(end, in.door, worker::hello_of(back));
  in.run_without(in.shards[0]);  // the pins are being taken again
  anna.lock.release();
  caf::anon_send_exit(end, caf::exit_reason::kill);
  in.run_without(in.shards[0]);
  in.run();
  in.advance(1s);
  EXPECT_FALSE(is_known(anna));
  expect_nothing_is_held();
}

TEST_F(session_lives, LeaseOfAResumedSessionHasItsUsualLength) {
  worker anna{in};
  in.restart();
  worker again{in, anna.to_resume()};
  ASSERT_EQ(again.hello.code, 0);
  EXPECT_EQ(in.sessions().at(0).lease_left_ms, 10000);
  in.advance(5s);
  ASSERT_EQ(again.renew(), ec::ok);
  EXPECT_EQ(in.sessions().at(0).lease_left_ms, 10000);
}

// -- views

TEST_F(session_lives, AViewKeepsThePageOfARemovedKeyAndTheKeyCanBePutAgain) {
  worker anna{in}, ben{in};
  auto page = anna.put({"a"})[0];
  auto views = ben.view({"a"});
  EXPECT_EQ(anna.remove({"a"}), codes{ec::ok});
  EXPECT_FALSE(in.visible("a"));
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  auto next = anna.put({"a"})[0];
  EXPECT_NE(next.page, page.page);
  EXPECT_EQ(in.pool.descriptor(page.page)->gen, page.gen);
  in.expect_sound();
  EXPECT_EQ(ben.end_views(views), codes{ec::ok});
  EXPECT_EQ(ben.end_views(views), codes{ec::not_pinned});
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  EXPECT_EQ(in.pool.descriptor(page.page)->gen, page.gen + 1);
  EXPECT_TRUE(in.visible("a"));
  in.expect_sound();
}

TEST_F(session_lives, AViewedEntryIsNotEvicted) {
  worker anna{in};
  anna.put({"a"});
  auto views = anna.view({"a"});
  EXPECT_EQ(in.ask<evicted_bytes>(in.manager, evict_bytes{8 * bounds::MiB}).pages, 0u);
  EXPECT_EQ(anna.end_views(views), codes{ec::ok});
  EXPECT_EQ(in.ask<evicted_bytes>(in.manager, evict_bytes{8 * bounds::MiB}).pages, 1u);
}

TEST_F(session_lives, Invariant5_ViewsOfRemovedKeysEndWithTheirWorker) {
  worker anna{in}, ben{in};
  auto page = anna.put({"a"})[0];
  ben.view({"a"});
  anna.view({"a"});
  EXPECT_EQ(anna.remove({"a"}), codes{ec::ok});
  ben.die();
  in.advance(1s);
  EXPECT_EQ(in.state_of(page.page), page_state::evicting) << "the other's view is left";
  anna.die();
  in.advance(1s);
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  expect_nothing_is_held();
}

TEST_F(session_lives, Invariant6_AViewOfARemovedKeySurvivesReconnectAndKill) {
  worker anna{in}, ben{in};
  auto page = anna.put({"a"})[0];
  auto back = anna.to_resume();
  back.viewed = net::encode_view_pins(anna.view({"a"}));
  EXPECT_EQ(ben.remove({"a"}), codes{ec::ok});
  anna.disconnect();
  in.run();
  worker again{in, back};
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  in.restart();
  EXPECT_EQ(in.state_of(page.page), page_state::evicting) << "nobody came back yet";
  EXPECT_FALSE(in.visible("a"));
  ben.die();
  worker third{in, back};
  in.advance(1s);
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  in.expect_sound();
  EXPECT_EQ(third.end_views(*net::decode_view_pins(back.viewed)), codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  in.expect_sound();
}

TEST_F(session_lives, Invariant6_ADetachedPageThatOneLetGoWaitsForTheOthersOfBefore) {
  worker anna{in}, ben{in};
  auto page = anna.put({"a"})[0];
  auto first = anna.to_resume(), second = ben.to_resume();
  first.viewed = net::encode_view_pins(anna.view({"a"}));
  second.viewed = net::encode_view_pins(ben.view({"a"}));
  EXPECT_EQ(anna.remove({"a"}), codes{ec::ok});
  in.restart();
  worker back{in, first};
  EXPECT_EQ(back.end_views(*net::decode_view_pins(first.viewed)), codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::evicting) << "the other one is not back yet";
  worker late{in, second};
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  EXPECT_EQ(late.end_views(*net::decode_view_pins(second.viewed)), codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::free);
}

TEST_F(session_lives, Invariant6_AStoppedWorkersViewOfARemovedKeyOutlivesTheGrace) {
  worker anna{in}, ben{in};
  auto page = ben.put({"a"})[0];
  auto table = cxl::held_pages::open(anna.hello.lock_path);
  ASSERT_TRUE(table);
  (*table)->add({anna.view({"a"})[0].page.page, true});
  EXPECT_EQ(ben.remove({"a"}), codes{ec::ok});
  in.restart();
  ben.die();
  in.advance(31s);
  EXPECT_EQ(state_of(anna), "lapsed");
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  anna.lock.release();
  in.advance(1s);
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  in.expect_sound();
}

TEST_F(session_lives, ARemovalUnderWayAsMarudIsKilledFreesItsPageOnceAllAreBack) {
  worker anna{in};
  auto page = anna.put({"a"})[0];
  in.pool.env->pool->descriptors().set_state(in.pool.slot(page.page), page_state::evicting);
  in.restart();
  EXPECT_FALSE(in.visible("a")) << "the descriptor says that it was on its way out";
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  worker again{in, anna.to_resume()};
  in.advance(1s);
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  in.expect_sound();
}

// -- restart of marud

TEST_F(session_lives, Invariant2_EntriesAndGrantsSurviveAKillAndTheWorkerGoesOn) {
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

TEST_F(session_lives, Invariant4_NothingIsEvictedOrRemovedBeforeSessionsOfBeforeAreSettled) {
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

TEST_F(session_lives, GraceEndsWithTheProofOfDeathOrWhenItsTimeIsOver) {
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

TEST_F(session_lives, Invariant6_DamagedPageIsUsedOnlyOnceAllSessionsOfBeforeAreProvenDead) {
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

TEST_F(session_lives, Invariant6_BytesOfADamagedRegionRowAreUsedOnlyOnceAllSessionsOfBeforeAreProvenDead) {
  worker anna{in};
  anna.grant();
  auto* metadata = in.pool.env->pool->descriptors().line(0) - cxl::descriptors_offset;
  metadata[cxl::region_table_offset + 8] ^= std::byte{1};
  in.restart();
  ASSERT_EQ(in.pool.env->pool->damaged_rows(), 1u);
  auto ask = [&] {
    worker ben{in};
    auto reply = ben.begin_grant(1);
    in.advance(1100ms);
    return reply->has_value() ? static_cast<ec>((*reply)->code) : ec::timeout;
  };
  EXPECT_EQ(ask(), ec::busy);
  in.advance(31s);
  EXPECT_EQ(state_of(anna), "lapsed");
  EXPECT_EQ(ask(), ec::out_of_memory) << "out of time is no proof";
  anna.lock.release();
  in.advance(200ms);
  EXPECT_EQ(ask(), ec::ok);
  in.expect_sound();
}

}  // namespace
}  // namespace maru::actors
