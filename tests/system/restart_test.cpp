// Goal: what was acknowledged survives any end of marud (invariant 2), and workers go on by themselves. Method: marud is
// killed and terminated under load and started again on the same pool and state.
#include <gtest/gtest.h>
#include <signal.h>

#include <random>
#include <thread>

#include "tests/support/random_run.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

TEST(Restart, Invariant2_AcknowledgedCommitsSurviveKill9) {
  marud m{{"--pool-size=512MiB"}};  // nothing is evicted
  std::vector<std::string> acknowledged;
  std::mutex mutex;
  std::mt19937_64 random{maru::test::test_seed()};
  for (int round = 0; round < 5; ++round) {
    std::atomic<bool> stop{false};
    std::vector<std::jthread> writers;
    for (int t = 0; t < 2; ++t)
      writers.emplace_back([&, t] {
        auto c = m.open();
        for (int i = 0; c && !stop; ++i) {
          auto key = "r" + std::to_string(round) + "t" + std::to_string(t) + "i" + std::to_string(i);
          if (!put(*c, key))
            break;
          std::lock_guard guard{mutex};
          acknowledged.push_back(key);
        }
      });
    std::this_thread::sleep_for(std::chrono::milliseconds{50 + random() % 150});
    m.kill_hard();
    stop = true;
    ASSERT_TRUE(m.start()) << m.log();
    writers.clear();
    auto c = m.open();
    ASSERT_TRUE(c);
    for (const auto& key : acknowledged)
      ASSERT_EQ(read_back(*c, key), "ok") << key << " in round " << round;
    EXPECT_EQ(m.audit(), "");
    EXPECT_EQ(m.ask("status")["evicted"], 0);
  }
  EXPECT_GT(acknowledged.size(), 50u);
}

TEST(Restart, Invariant2_CommitsSurviveSigterm) {
  marud m;
  {
    auto c = m.open();
    ASSERT_TRUE(c);
    for (int i = 0; i < 100; ++i)
      ASSERT_TRUE(put(*c, "k" + std::to_string(i)));
  }
  EXPECT_EQ(m.stop(), 0);
  ASSERT_TRUE(m.start()) << m.log();
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(read_back(*c, "k" + std::to_string(i)), "ok");
  EXPECT_EQ(m.ask("status")["server_epoch"], 2);
}

TEST(Restart, ARemovedKeyDoesNotComeBack) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "gone") && put(*c, "stays"));
  std::vector<std::string_view> gone = {"gone"};
  ASSERT_EQ((*c->remove(gone))[0], ec::ok);
  m.kill_hard();
  ASSERT_TRUE(m.start());
  EXPECT_EQ(read_back(*c, "gone"), "missing");
  EXPECT_EQ(read_back(*c, "stays"), "ok");
}

TEST(Restart, AWorkerGoesOnByItselfAndItsViewKeepsItsBytes) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a"));
  auto view = c->retrieve("a");
  ASSERT_TRUE(view);
  auto page = c->alloc(4096);
  ASSERT_TRUE(page);
  auto late = content_of("late", 4096);
  std::memcpy(page->bytes().data(), late.data(), late.size());
  m.kill_hard();
  ASSERT_TRUE(m.start());
  EXPECT_TRUE(put(*c, "b")) << "a call waits for marud within its deadline";
  EXPECT_TRUE(c->commit("late", *page)) << "a page granted before the restart is still granted";
  EXPECT_EQ(read_back(*c, "late"), "ok");
  auto wanted = content_of("a", 4096);
  EXPECT_EQ(std::memcmp(view->bytes().data(), wanted.data(), wanted.size()), 0);
  EXPECT_EQ(m.audit(), "");
}

TEST(Restart, Invariant4_PinsAndViewsHoldAcrossARestart) {
  marud m{{"--pool-size=4MiB"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "pinned") && put(*c, "viewed") && put(*c, "removed"));
  std::vector<std::string_view> pinned = {"pinned"}, removed = {"removed"};
  ASSERT_TRUE((*c->pin(pinned))[0]);
  auto view = c->retrieve("viewed"), gone = c->retrieve("removed");
  ASSERT_TRUE(view && gone);
  EXPECT_EQ((*c->remove(removed))[0], ec::ok);
  m.kill_hard();
  ASSERT_TRUE(m.start());
  auto other = m.open();
  ASSERT_TRUE(other);
  for (int i = 0; i < 3000; ++i)  // three times the pool
    ASSERT_TRUE(put(*other, "filler" + std::to_string(i))) << i;
  EXPECT_EQ((*other->remove(pinned))[0], ec::pinned);
  EXPECT_EQ(read_back(*other, "viewed"), "ok");
  EXPECT_EQ(read_back(*other, "removed"), "missing");
  EXPECT_EQ(m.ask("status")["pages"]["evicting"], 1) << "the view of before holds it";
  for (auto* name : {"viewed", "removed"}) {
    auto& v = name == std::string{"viewed"} ? *view : *gone;
    auto wanted = content_of(name, 4096);
    EXPECT_EQ(std::memcmp(v.bytes().data(), wanted.data(), wanted.size()), 0) << name;
  }
  EXPECT_EQ(m.audit(), "");
  gone = error{};
  EXPECT_TRUE(eventually([&] { return m.ask("status")["pages"]["evicting"] == 0; }));
  EXPECT_EQ(m.audit(), "");
}

TEST(Restart, SessionsOfDeadWorkersAreDiscountedAtOnce) {
  marud m{{"--pool-size=4MiB"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a"), "ok");
  ASSERT_EQ(w.ask("hold 20"), "20");
  m.kill_hard();
  w.body().signal(SIGKILL);
  w.body().wait();
  ASSERT_TRUE(m.start());
  EXPECT_TRUE(eventually(
    [&] {
      auto s = m.ask("status");
      return s["sessions"] == 0 && s["pages"]["granted"] == 0;
    },
    2s));
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < 2000; ++i)
    ASSERT_TRUE(put(*c, "filler" + std::to_string(i))) << "eviction has begun: nobody is waited for";
}

TEST(Restart, SigtermUnderLoadEndsWithinFiveSeconds) {
  marud m;
  std::atomic<bool> stop{false};
  std::jthread load{[&] {
    auto c = m.open();
    for (int i = 0; c && !stop; ++i)
      (void)put(*c, "k" + std::to_string(i));
  }};
  std::this_thread::sleep_for(100ms);
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(m.stop(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  stop = true;
  ASSERT_TRUE(m.start());
  load.join();
  EXPECT_EQ(m.audit(), "");
}

TEST(Restart, APoolWhoseContentsAreGoneDropsItsEntriesWithOneLine) {
  marud m;
  {
    auto c = m.open();
    ASSERT_TRUE(c && put(*c, "a"));
  }
  m.stop();
  std::filesystem::remove(m.pool());
  std::filesystem::remove(m.pool() + ".meta");
  ASSERT_TRUE(m.start());
  EXPECT_NE(m.log().find("contents are lost"), std::string::npos) << m.log();
  auto c = m.open();
  ASSERT_TRUE(c);
  EXPECT_EQ(read_back(*c, "a"), "missing");
  EXPECT_TRUE(put(*c, "a"));
}

}  // namespace
}  // namespace maru::test
