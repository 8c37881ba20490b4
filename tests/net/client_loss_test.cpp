// Goal: whatever marud or the connection does, calls end at their deadline, nothing is left behind, and no page is
// written twice.
// Method: real clients against a fake marud that holds back, loses or ignores answers, forgets sessions or vanishes.
#include <atomic>

#include "net/link.hpp"
#include "net/runtime.hpp"
#include "tests/net/client_fixture.hpp"

namespace maru::test {
namespace {

using ClientLoss = client_fixture;

client_options hasty(client_options o) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  o.timeout = 600ms;  // it has to open, too
#else
  o.timeout = 200ms;
#endif
  return o;
}

TEST_F(ClientLoss, NothingWaitsForADoorThatIsGone) {
  auto own = net::runtime::acquire();
  ASSERT_TRUE(own);
  net::link wire{*own, std::make_shared<net::job_queue>()};
  ASSERT_TRUE(wire.connect(*parse_server_address(options().server), {}, steady::now() + 5s));
  marud.stop();
  EXPECT_TRUE(soon([&] {
    auto asked = wire.send(net::hello{});
    return !asked || asked->wait_until(steady::now() + 100ms);
  }));
}

// -- late answers

TEST_F(ClientLoss, CallsEndAtTheirDeadline) {
  auto c = must_open(hasty(options()));
  for (auto what : {op::lookup, op::exists, op::remove, op::grant})
    pool().set(what, treat::ignore);
  auto began = steady::now();
  EXPECT_EQ(c->lookup(keys{"a"}).code(), ec::timeout);
  EXPECT_EQ(c->exists(keys{"a"}).code(), ec::timeout);
  EXPECT_EQ(c->remove(keys{"a"}).code(), ec::timeout);
  EXPECT_EQ(c->alloc(1).code(), ec::timeout);
  EXPECT_GE(steady::now() - began, 800ms);
  EXPECT_LT(steady::now() - began, 4s);
}

TEST_F(ClientLoss, PinsThatComeTooLateAreReleased) {
  auto writer = must_open();
  ASSERT_TRUE(writer->store("a", bytes_of("abc")));
  auto c = must_open(hasty(options()));
  pool().set(op::lookup, treat::hold);
  EXPECT_EQ(c->retrieve("a").code(), ec::timeout);
  EXPECT_EQ(c->pin(keys{"a", "b"}).code(), ec::timeout);
  EXPECT_EQ(c->lookup(keys{"a"}, {.pin = true}).code(), ec::timeout);
  EXPECT_EQ(pool().pins(), 3u);
  marud.release();
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
}

TEST_F(ClientLoss, ADroppedFutureLeavesNothingBehind) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  pool().set(op::lookup, treat::hold);
  {
    auto first = c->retrieve_async(keys{"a"});
    auto second = c->pin_async(keys{"a"});
    EXPECT_TRUE(soon([this] { return pool().pins() == 2; }));
    marud.release();
    EXPECT_TRUE(soon([&] { return first.ready(); }));
  }
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
}

TEST_F(ClientLoss, GrantsThatComeTooLateGoIntoTheReserve) {
  auto o = hasty(options());
  o.fetch_ahead = false;
  auto c = must_open(o);
  pool().set(op::grant, treat::hold);
  EXPECT_EQ(c->alloc(1).code(), ec::timeout);
  pool().set(op::grant, treat::answer);
  marud.release();
  EXPECT_TRUE(soon([&] { return c->info().grants_in_reserve == 8; }));
  EXPECT_TRUE(c->alloc(1));
}

// -- commits in doubt

TEST_F(ClientLoss, ACommitWithoutAnswerIsInDoubtAndSettledWhenItComes) {
  auto o = hasty(options());
  o.fetch_ahead = false;
  auto c = must_open(o);
  auto pages = c->alloc_batch(2, 1);
  pool().set(op::commit, treat::hold);
  EXPECT_EQ(c->commit("a", (*pages)[0]).code(), ec::timeout);
  EXPECT_FALSE((*pages)[0]) << "nobody may write it now";
  EXPECT_EQ(c->info().pages_in_doubt, 1u);
  EXPECT_EQ(c->info().grants_in_reserve, 6u);
  pool().set(op::commit, treat::answer);
  ASSERT_TRUE(c->commit("b", (*pages)[1]));
  marud.release();
  EXPECT_TRUE(soon([&] { return c->info().pages_in_doubt == 0; }));
  EXPECT_EQ(c->info().grants_in_reserve, 6u);
}

TEST_F(ClientLoss, ADoubtThatEndsAsExistsGivesThePageBack) {
  auto o = hasty(options());
  o.fetch_ahead = false;
  auto c = must_open(o);
  ASSERT_TRUE(c->store("a", bytes_of("x")));
  auto page = c->alloc(1);
  pool().set(op::commit, treat::hold);
  EXPECT_EQ(c->commit("a", *page).code(), ec::timeout);
  EXPECT_EQ(c->info().grants_in_reserve, 6u);
  marud.release();
  EXPECT_TRUE(soon([&] { return c->info().grants_in_reserve == 7; }));
  EXPECT_EQ(c->info().pages_in_doubt, 0u);
}

// The answer is lost with the connection, after the commit was served (lose) or before (ignore).
class InDoubt : public client_fixture, public ::testing::WithParamInterface<treat> {};

TEST_P(InDoubt, GetsItsAnswerOverTheNextConnection) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  auto page = c->alloc(3);
  write(*page, "abc");
  auto grant = page->grant();
  pool().set(op::commit, GetParam());
  std::atomic<ec> code{ec::ok};
  std::thread caller([&] { code = c->commit("a", *page).code(); });
  EXPECT_TRUE(soon([this] { return pool().count(op::commit) == 1; }));
  pool().set(op::commit, treat::answer);
  marud.kill_sessions();
  caller.join();
  EXPECT_EQ(code, ec::ok);
  EXPECT_FALSE(*page);
  EXPECT_EQ(c->info().pages_in_doubt, 0u);
  EXPECT_EQ(pool().count(op::commit), 2) << "sent again, once";
  auto v = c->retrieve("a");
  ASSERT_TRUE(v) << to_string(v.error());
  EXPECT_EQ(text_of(v->bytes()), "abc");
  EXPECT_EQ(v->where().page, grant.page);
  EXPECT_EQ(c->info().grants_in_reserve, 7u);
}

TEST_P(InDoubt, IsSettledForADroppedFutureToo) {
  auto c = must_open();
  auto pages = c->alloc_batch(2, 1);
  pool().set(op::commit, GetParam());
  {
    auto dropped = c->commit_async(keys{"a", "b"}, *pages);
    EXPECT_TRUE(soon([this] { return pool().count(op::commit) == 1; }));
  }
  EXPECT_EQ(c->info().pages_in_doubt, 2u);
  pool().set(op::commit, treat::answer);
  marud.kill_sessions();
  EXPECT_TRUE(soon([&] { return c->info().pages_in_doubt == 0; }));
  EXPECT_EQ(*c->exists(keys{"a", "b"}), (std::vector<bool>{true, true}));
}

INSTANTIATE_TEST_SUITE_P(ClientLoss, InDoubt, ::testing::Values(treat::lose, treat::ignore));

// -- reconnect

// Every kind of call, with its answer lost: after it was served (lose) or before (ignore).
class UnderWay : public client_fixture, public ::testing::WithParamInterface<treat> {};

TEST_P(UnderWay, CallsGoOnOverTheNextConnection) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto lost = [&](op what, const std::function<void()>& call) {
    SCOPED_TRACE(static_cast<int>(what));
    auto before = pool().count(what);
    pool().set(what, GetParam());
    std::thread caller(call);
    EXPECT_TRUE(soon([&] { return pool().count(what) == before + 1; }));
    pool().set(what, treat::answer);
    marud.kill_sessions();
    caller.join();
    EXPECT_EQ(pool().count(what), before + 2) << "sent again, once";
  };
  lost(op::lookup, [&] { EXPECT_TRUE(c->lookup(keys{"a"})->front()); });
  lost(op::exists, [&] { EXPECT_EQ(*c->exists(keys{"a"}), std::vector<bool>{true}); });
  lost(op::lookup, [&] { EXPECT_EQ(*c->pin(keys{"a"}), std::vector<bool>{true}); });
  EXPECT_EQ(pool().pins(), 1u) << "the pin of the lost answer ended with its connection";
  lost(op::lookup, [&] {
    auto v = c->retrieve("a");
    ASSERT_TRUE(v) << to_string(v.error());
    EXPECT_EQ(text_of(v->bytes()), "abc");
  });
  EXPECT_TRUE(soon([this] { return pool().pins() == 1; }));
  EXPECT_EQ(*c->unpin(keys{"a"}), std::vector<bool>{true});
  auto pages = c->alloc_batch(7, 1);  // all of the first grant: the next one asks
  lost(op::grant, [&] { EXPECT_TRUE(c->alloc(1)); });
  // Served twice, its second answer is the one that is told.
  lost(op::remove, [&] { EXPECT_EQ((*c->remove(keys{"a"}))[0], GetParam() == treat::lose ? ec::missing : ec::ok); });
}

TEST_P(UnderWay, ACallOfASessionThatIsOverGoesOnInTheNext) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto session = c->info().session;
  pool().set(op::lookup, GetParam());
  std::thread caller([&] {
    auto v = c->retrieve("a");
    ASSERT_TRUE(v) << to_string(v.error());
    EXPECT_EQ(text_of(v->bytes()), "abc");
  });
  EXPECT_TRUE(soon([this] { return pool().count(op::lookup) == 1; }));
  pool().set(op::lookup, treat::answer);
  pool().forget_sessions = true;
  marud.kill_sessions();
  caller.join();
  EXPECT_NE(c->info().session, session);
}

INSTANTIATE_TEST_SUITE_P(ClientLoss, UnderWay, ::testing::Values(treat::lose, treat::ignore));

TEST_F(ClientLoss, AReconnectDeclaresWhatIsHeldAndGoesOn) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  ASSERT_TRUE(c->pin(keys{"a"}));
  auto v = c->retrieve("a");
  auto page = c->alloc(2);
  auto session = c->info().session;
  marud.kill_sessions();
  EXPECT_TRUE(soon([this] { return pool().count(op::hello) == 2; }));
  ASSERT_TRUE(c->exists(keys{"a"}));
  EXPECT_EQ(c->info().session, session);
  auto hello = pool().last_hello();
  EXPECT_EQ(hello.resume_session, session);
  EXPECT_EQ(hello.pinned.size(), 1 * 16u);
  EXPECT_EQ(hello.viewed.size(), 1 * 32u);
  EXPECT_EQ(hello.grants.size(), 7 * 16u);
  EXPECT_EQ(pool().pins(), 2u);
  write(*page, "de");
  EXPECT_TRUE(c->commit("b", *page)) << "a grant of before";
  v = error{};
  EXPECT_EQ(*c->unpin(keys{"a"}), std::vector<bool>{true});
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
  EXPECT_EQ(pool().count(op::grant), 1);
}

TEST_F(ClientLoss, AServerThatRestartsIsFoundAgain) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto v = c->retrieve("a");
  auto page = c->alloc(3);
  for (int round = 0; round < 2; ++round) {
    marud.stop();
    EXPECT_TRUE(soon([&] { return !c->info().connected; }));
    EXPECT_EQ(text_of(v->bytes()), "abc") << "the bytes are still in place";
    std::thread starter([this] { marud.start(); });
    auto there = c->exists(keys{"a"});
    EXPECT_TRUE(there) << "a call waits for the connection: " << to_string(there.error());
    starter.join();
    EXPECT_EQ(pool().pins(), 1u);
  }
  EXPECT_TRUE(c->commit("b", *page));
}

TEST_F(ClientLoss, WithoutAConnectionCallsWaitUntilTheirDeadlineOnly) {
  auto o = options();
  o.timeout = 300ms;
  auto c = must_open(o);
  marud.stop();
  EXPECT_TRUE(soon([&] { return !c->info().connected; }));
  auto began = steady::now();
  auto lookup = c->lookup_async(keys{"a"});
  EXPECT_FALSE(lookup.ready());
  EXPECT_EQ(lookup.get().code(), ec::unavailable);
  EXPECT_GE(steady::now() - began, 300ms);
  EXPECT_LT(steady::now() - began, 3s);
}

TEST_F(ClientLoss, AnUnpinWithoutAConnectionEndsThePinAllTheSame) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  ASSERT_TRUE(c->pin(keys{"a", "a"}));
  marud.stop();
  EXPECT_TRUE(soon([&] { return !c->info().connected; }));
  EXPECT_EQ(*c->unpin(keys{"a"}), std::vector<bool>{true});
  marud.start();
  ASSERT_TRUE(c->exists(keys{"a"}));
  EXPECT_EQ(pool().pins(), 1u);
}

TEST_F(ClientLoss, ARenewWithoutAnAnswerIsALoss) {
  pool().lease_ms = 400;
  auto c = must_open();
  pool().set(op::renew, treat::ignore);
  EXPECT_TRUE(soon([this] { return pool().count(op::hello) >= 2; }));
  pool().set(op::renew, treat::answer);
  EXPECT_TRUE(c->exists(keys{"a"}));
}

// -- a session that is not taken up again

TEST_F(ClientLoss, AForgottenSessionIsReplacedAndItsPagesAreGone) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto v = c->retrieve("a");
  auto page = c->alloc(3);
  auto old_lock = pool().folder() + "/" + std::to_string(c->info().session) + ".lock";
  auto session = c->info().session;
  pool().forget_sessions = true;
  marud.kill_sessions();
  EXPECT_TRUE(soon([&] { return c->info().session != session && c->info().connected; }));
  pool().forget_sessions = false;
  EXPECT_EQ(text_of(v->bytes()), "abc") << "the mapping stays";
  EXPECT_EQ(c->commit("b", *page).code(), ec::gone);
  EXPECT_EQ(pool().count(op::commit), 1);
  EXPECT_EQ(file_lock::acquire(old_lock).code(), ec::in_use) << "this process may still touch pages of that session";
  auto unpins = pool().count(op::unpin);
  auto next = c->retrieve("a");
  v = error{};
  page = error{};
  EXPECT_TRUE(file_lock::acquire(old_lock));
  ASSERT_TRUE(c->exists(keys{"a"}));
  EXPECT_EQ(pool().count(op::unpin), unpins) << "the pin of the old session is no business of the new one";
  EXPECT_EQ(text_of(next->bytes()), "abc");
  EXPECT_EQ(c->info().grants_in_reserve, 0u);
  EXPECT_TRUE(c->alloc(1));
}

TEST_F(ClientLoss, DoubtsEndWithTheirSession) {
  auto c = must_open(hasty(options()));
  auto page = c->alloc(1);
  pool().set(op::commit, treat::ignore);
  EXPECT_EQ(c->commit("a", *page).code(), ec::timeout);
  EXPECT_EQ(c->info().pages_in_doubt, 1u);
  pool().forget_sessions = true;
  marud.kill_sessions();
  EXPECT_TRUE(soon([&] { return c->info().pages_in_doubt == 0; }));
}

// -- the lease

TEST_F(ClientLoss, NothingIsHandedOutAfterTheLease) {
  pool().lease_ms = 300;
  auto c = must_open(hasty(options()));
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto found = c->lookup(keys{"a"}, {.pin = true});
  ASSERT_TRUE(found);
  ASSERT_TRUE(soon([&] { return c->info().grants_in_reserve > 0; }));
  pool().set(op::renew, treat::ignore);
  pool().set(op::hello, treat::ignore);
  EXPECT_TRUE(soon([&] { return c->alloc(1).code() == ec::unavailable; }));
  EXPECT_GT(c->info().grants_in_reserve, 0u);
  EXPECT_EQ(c->bytes(*(*found)[0]).code(), ec::unavailable);
  pool().set(op::renew, treat::answer);
  pool().set(op::hello, treat::answer);
  EXPECT_TRUE(soon([&] { return bool(c->alloc(1)); })) << "renewed";
  EXPECT_TRUE(c->retrieve("a"));
}

TEST_F(ClientLoss, TheLeaseIsKeptWhileCallersWait) {
  pool().lease_ms = 300;
  auto o = options();
  o.timeout = 1s;
  auto c = must_open(o);
  pool().set(op::lookup, treat::ignore);
  EXPECT_EQ(c->lookup(keys{"a"}).code(), ec::timeout);
  EXPECT_EQ(pool().count(op::hello), 1) << "the connection was good all the time";
  EXPECT_TRUE(c->alloc(1));
}

TEST_F(ClientLoss, ClosingWithoutAServerEndsInTime) {
  auto c = must_open();
  marud.stop();
  auto began = steady::now();
  c->close();
  c.reset();
  EXPECT_LT(steady::now() - began, 3s);
}

TEST_F(ClientLoss, GivingUpInTheMiddleOfAConnectEndsTheRuntime) {
  // Deadlines that fall before, into and after the connect; each round makes and ends a runtime.
  auto o = options();
  for (int round = 0; round < 300; ++round) {
    o.timeout = std::chrono::milliseconds{round % 3};
    (void)client::open(o);
  }
}

}  // namespace
}  // namespace maru::test
