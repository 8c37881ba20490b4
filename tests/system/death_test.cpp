// Goal: what a worker held ends with it, and nothing that it may still touch is reused before (invariants 5 and 6).
// Method: worker processes are killed and stopped while they hold pins and half-written pages.
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/system/process.hpp"

namespace maru::test {
namespace {

TEST(Death, Invariant5_WhatAKilledWorkerHeldEndsWithinOneSecond) {
  marud m;
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a b c d"), "ok");
  ASSERT_EQ(w.ask("pin a b c"), "3");
  ASSERT_EQ(w.ask("hold 100"), "100");
  ASSERT_TRUE(eventually([&] { return m.ask("status")["pins"] == 3 && pages(m, "granted") >= 100; }));
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return m.ask("status")["pins"] == 0 && pages(m, "granted") == 0; }, 1s))
    << m.ask("status").dump();
  EXPECT_TRUE(eventually([&] { return m.ask("status")["sessions"] == 0; }, 1s));
  auto c = m.open();
  ASSERT_TRUE(c);
  EXPECT_EQ(read_back(*c, "a"), "ok") << "committed entries stay";
  EXPECT_EQ(m.audit(), "");
}

TEST(Death, Invariant6_PagesAndPinsOfAStoppedWorkerAreHeldUntilItIsProvenDead) {
  marud m{{"--lease-ms=1000"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a"), "ok");
  ASSERT_EQ(w.ask("pin a"), "1");
  ASSERT_EQ(w.ask("hold 10"), "10");
  w.body().signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return pages(m, "quarantined") >= 10; }, 15s)) << m.ask("sessions").dump();
  EXPECT_EQ(pages(m, "granted"), 0u);
  EXPECT_EQ(m.ask("status")["pins_held_dead"], 1);
  auto c = m.open();
  ASSERT_TRUE(c);
  std::vector<std::string_view> a = {"a"};
  EXPECT_EQ((*c->remove(a))[0], ec::pinned);
  EXPECT_EQ(m.audit(), "");
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return pages(m, "quarantined") == 0 && m.ask("status")["pins"] == 0; }, 2s));
  EXPECT_EQ((*c->remove(a))[0], ec::ok);
  EXPECT_EQ(m.audit(), "");
}

TEST(Death, AStoppedWorkersViewKeepsItsBytesWhileOthersFillThePool) {
  marud m{{"--lease-ms=1000", "--pool-size=4MiB"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a"), "ok");
  ASSERT_EQ(w.ask("view a"), "ok");
  w.body().signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return m.ask("status")["pins_held_dead"] == 1; }, 15s));
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < 3000; ++i)
    ASSERT_TRUE(put(*c, "filler" + std::to_string(i))) << i;
  w.body().signal(SIGCONT);
  EXPECT_EQ(w.ask("look"), "ok");
}

TEST(Death, Invariant4_AWorkerStoppedAcrossARestartKeepsWhatItsViewsCover) {
  marud m{{"--lease-ms=1000", "--resume-grace-ms=500", "--pool-size=4MiB"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a b"), "ok");
  ASSERT_EQ(w.ask("view a"), "ok");
  ASSERT_EQ(w.ask("pin b"), "1");
  w.body().signal(SIGSTOP);
  m.kill_hard();
  ASSERT_TRUE(m.start());
  ASSERT_TRUE(eventually([&] { return m.ask("status")["pins_held_dead"] == 2; }, 15s)) << m.ask("sessions").dump();
  ASSERT_TRUE(evict_all(m));
  w.body().signal(SIGCONT);
  EXPECT_EQ(w.ask("look"), "ok");
  EXPECT_EQ(w.ask("get b"), "ok");
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return m.ask("status")["pins"] == 0 && pages(m, "quarantined") == 0; }, 2s));
  EXPECT_EQ(m.audit(), "");
}

TEST(Death, Invariant4_AViewOfASessionThatIsOverOutlivesARestart) {
  marud m{{"--lease-ms=1000", "--resume-grace-ms=500", "--pool-size=4MiB"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a"), "ok");
  ASSERT_EQ(w.ask("view a"), "ok");
  w.body().signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return m.ask("status")["pins_held_dead"] == 1; }, 15s));
  w.body().signal(SIGCONT);
  ASSERT_EQ(w.ask("put b"), "ok") << "in a new session";
  m.kill_hard();
  ASSERT_TRUE(m.start());
  ASSERT_TRUE(eventually([&] { return m.ask("status")["pins_held_dead"] == 1; }, 15s));
  ASSERT_TRUE(evict_all(m));
  EXPECT_EQ(w.ask("look"), "ok");
  ASSERT_EQ(w.ask("view none"), "missing");
  EXPECT_EQ(w.ask("drop"), "ok");
  EXPECT_TRUE(eventually([&] { return m.ask("status")["pins"] == 0; }, 2s))
    << "with its last view the session's lock goes";
}

TEST(Death, AWorkerThatComesBackAfterItsLeaseOpensANewSession) {
  marud m{{"--lease-ms=1000"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a"), "ok");
  w.body().signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return m.ask("sessions")["sessions"][0]["state"] == "lapsed"; }, 15s));
  w.body().signal(SIGCONT);
  EXPECT_EQ(w.ask("get a"), "ok");
  EXPECT_EQ(w.ask("put b"), "ok");
  EXPECT_TRUE(eventually([&] { return pages(m, "quarantined") == 0 && m.ask("status")["sessions"] == 1; }))
    << m.ask("sessions").dump();
}

TEST(Death, CloseGivesEverythingBackAtOnce) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a"));
  std::vector<std::string_view> a = {"a"};
  ASSERT_TRUE(c->pin(a));
  c->close();
  EXPECT_TRUE(eventually(
    [&] {
      auto s = m.ask("status");
      return s["pins"] == 0 && s["sessions"] == 0 && s["pages"]["granted"] == 0;
    },
    1s));
  EXPECT_EQ(c->pin(a).code(), ec::session_over);
}

TEST(Death, AWorkerWithManyPinsDiesWithoutSlowingOthers) {
  marud m{{"--pool-size=64MiB"}};
  worker w{m.address()};
  for (int i = 0; i < 20; ++i) {
    std::string put_line = "put", pin_line = "pin";
    for (int k = 0; k < 100; ++k) {
      put_line += " m" + std::to_string(i * 100 + k);
      pin_line += " m" + std::to_string(i * 100 + k);
    }
    ASSERT_EQ(w.ask(put_line), "ok");
    for (int n = 0; n < 5; ++n)
      ASSERT_EQ(w.ask(pin_line), "100");
  }
  auto c = m.open();
  ASSERT_TRUE(c);
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return read_back(*c, "m7") == "ok" && m.ask("status")["pins"] == 0; }, 2s))
    << m.ask("status").dump();
}

}  // namespace
}  // namespace maru::test
