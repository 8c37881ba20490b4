// Goal: a pool that lost its records is served again from its own descriptors (--rebuild), or from nothing
// (--on-damage=start-empty), and what living workers may still touch is not reused in either case.
// Method: marud is killed, the state directory taken away or damaged, marud started again.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "base/hex.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

namespace fs = std::filesystem;

std::string name(int n) { return "key" + std::to_string(n); }

void put_all(marud& m, int n) {
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < n; ++i)
    ASSERT_TRUE(put(*c, name(i), 1 + 40 * static_cast<std::size_t>(i)));
}

void expect_all(marud& m, int n) {
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < n; ++i)
    EXPECT_EQ(read_back(*c, name(i), 1 + 40 * static_cast<std::size_t>(i)), "ok") << name(i);
}

TEST(Rebuild, BringsEveryEntryBackFromThePool) {
  marud m;
  put_all(m, 100);
  m.kill_hard();
  fs::remove_all(m.state());
  ASSERT_FALSE(m.start());
  EXPECT_NE(m.log().find("--rebuild"), std::string::npos) << "it says what to do: " << m.log();
  ASSERT_TRUE(m.start({"--rebuild"})) << m.log();
  EXPECT_NE(m.log().find("100 records are made anew"), std::string::npos) << m.log();
  expect_all(m, 100);
  EXPECT_EQ(m.audit(), "");
  m.kill_hard();
  ASSERT_TRUE(m.start()) << "from here on the records are whole";
  expect_all(m, 100);
  EXPECT_EQ(m.audit(), "");
}

TEST(Rebuild, KeysAreKnownAgainOnceTheyAreCommittedAgain) {
  marud m;
  put_all(m, 3);
  m.kill_hard();
  fs::remove_all(m.state());
  ASSERT_TRUE(m.start({"--rebuild"}));
  auto named = [&m](const std::string& key) {
    auto listed = m.ask("ls");
    for (const auto& e : listed["entries"])
      if (e["key_hex"] == to_hex(key))
        return true;
    return false;
  };
  EXPECT_FALSE(named("key1"));
  auto c = m.open();
  ASSERT_TRUE(c);
  EXPECT_EQ(put(*c, "key1", 41).code(), ec::exists);
  EXPECT_TRUE(eventually([&] { return named("key1"); }));
  EXPECT_FALSE(named("key2"));
  std::vector<std::string_view> two = {"key1", "key2"};
  EXPECT_EQ(*c->remove(two), (std::vector{ec::ok, ec::ok}));
  EXPECT_TRUE(put(*c, "key2", 81));
  EXPECT_TRUE(named("key2"));
  EXPECT_EQ(m.audit(), "");
}

TEST(Rebuild, TakesThePlaceOfDamagedRecords) {
  marud m;
  put_all(m, 20);
  m.stop();
  fs::remove(m.state() + "/db/CURRENT");
  ASSERT_FALSE(m.start());
  ASSERT_TRUE(m.start({"--rebuild"})) << m.log();
  EXPECT_NE(m.log().find("the damaged files are kept at"), std::string::npos) << m.log();
  expect_all(m, 20);
  EXPECT_EQ(m.audit(), "");
}

TEST(Rebuild, LeavesLivingWorkersWhatTheyHold) {
  marud m{{"--pool-size=4MiB", "--lease-ms=1000", "--resume-grace-ms=500"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a b"), "ok");
  ASSERT_EQ(w.ask("view a"), "ok");
  ASSERT_EQ(w.ask("hold 10"), "10");
  w.body().signal(SIGSTOP);
  m.kill_hard();
  fs::remove_all(m.state());
  ASSERT_TRUE(m.start({"--rebuild"})) << m.log();
  ASSERT_TRUE(eventually([&] { return pages(m, "quarantined") >= 10; })) << m.ask("sessions").dump();
  ASSERT_TRUE(evict_all(m));
  w.body().signal(SIGCONT);
  EXPECT_EQ(w.ask("look"), "ok");
  EXPECT_EQ(w.ask("put c"), "ok") << "in a new session";
  EXPECT_EQ(m.audit(), "");
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually(
    [&] {
      auto s = m.ask("status");
      return s["pages"]["quarantined"] == 0 && s["pages"]["granted"] == 0 && s["pins"] == 0 && s["sessions"] == 0;
    },
    2s))
    << m.ask("status").dump();
  EXPECT_EQ(m.audit(), "");
}

TEST(StartEmpty, HoldsThePagesThatLivingWorkersMayStillRead) {
  marud m{{"--pool-size=4MiB", "--lease-ms=1000", "--resume-grace-ms=500"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a b"), "ok");
  ASSERT_EQ(w.ask("view a"), "ok");
  w.body().signal(SIGSTOP);
  m.kill_hard();
  fs::remove_all(m.state());
  ASSERT_TRUE(m.start({"--on-damage=start-empty"})) << m.log();
  EXPECT_EQ(m.ask("status")["entries"], 0);
  ASSERT_TRUE(evict_all(m));
  w.body().signal(SIGCONT);
  EXPECT_EQ(w.ask("look"), "ok");
  EXPECT_EQ(w.ask("get a"), "missing");
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return pages(m, "quarantined") == 0; }, 2s)) << m.ask("status").dump();
  EXPECT_EQ(m.audit(), "");
}

}  // namespace
}  // namespace maru::test
