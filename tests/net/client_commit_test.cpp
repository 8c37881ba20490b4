// Goal: threads that commit at once share messages, and none of them suffers by it, whatever becomes of a message.
// Method: as client_loss_test.cpp. Which commits share a message is chance, so there are many; the queue alone, where it is
// not, is tested by commit_queue_test.cpp.
#include <algorithm>
#include <atomic>

#include "tests/net/client_fixture.hpp"

namespace maru::test {
namespace {

class ClientCommit : public client_fixture {
protected:
  static constexpr int threads = 16;

  // `each` commits of every thread, under keys of its own: how they ended, in the order of the threads.
  std::vector<std::vector<ec>> commit_at_once(client& c, int each) {
    std::vector<std::vector<ec>> codes(threads);
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t)
      workers.emplace_back([&, t] {
        for (int i = 0; i < each; ++i)
          codes[t].push_back(c.store(key(t, i), bytes_of(key(t, i))).code());
      });
    for (auto& w : workers)
      w.join();
    return codes;
  }
  static std::string key(int thread, int i) { return std::to_string(thread) + "/" + std::to_string(i); }
  static long count(const std::vector<std::vector<ec>>& codes, ec code) {
    long n = 0;
    for (auto& of_thread : codes)
      n += std::count(of_thread.begin(), of_thread.end(), code);
    return n;
  }
  // All keys are there, each with its own bytes.
  void expect_all(client& c, int each) {
    for (int t = 0; t < threads; ++t)
      for (int i = 0; i < each; ++i) {
        auto v = c.retrieve(key(t, i));
        ASSERT_TRUE(v) << key(t, i) << ": " << to_string(v.error());
        ASSERT_EQ(text_of(v->bytes()), key(t, i));
      }
  }
};

TEST_F(ClientCommit, ManyThreadsNeedFewerMessagesThanCommits) {
  auto c = must_open();
  EXPECT_EQ(count(commit_at_once(*c, 30), ec::ok), threads * 30);
  EXPECT_LT(pool().count(op::commit), threads * 30);
  expect_all(*c, 30);
}

TEST_F(ClientCommit, OneThreadNeedsAMessageACommit) {
  auto c = must_open();
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(c->store(key(0, i), bytes_of("x")));
  EXPECT_EQ(pool().count(op::commit), 20);
}

TEST_F(ClientCommit, MessagesWithoutAnAnswerHoldNobodyUp) {
  auto c = must_open();
  pool().set(op::commit, treat::hold);
  std::vector<std::thread> held;
  std::atomic<int> stored{0};
  for (int t = 0; t < 4; ++t)  // more than go out without waiting for others
    held.emplace_back([&, t] { stored += c->store(key(t, 0), bytes_of("x")) ? 1 : 0; });
  EXPECT_TRUE(soon([this] { return pool().entries() == 4; }));
  pool().set(op::commit, treat::answer);
  EXPECT_TRUE(c->store("quick", bytes_of("x")));
  EXPECT_EQ(stored, 0);
  marud.release();
  for (auto& h : held)
    h.join();
  EXPECT_EQ(stored, 4);
}

TEST_F(ClientCommit, CodesAreOfTheirOwnCallersItems) {
  auto c = must_open();
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(c->store(key(1, i), bytes_of(key(1, i))));
  auto codes = commit_at_once(*c, 20);
  for (int t = 0; t < threads; ++t)
    EXPECT_EQ(codes[t], std::vector<ec>(20, t == 1 ? ec::exists : ec::ok)) << t;
  expect_all(*c, 20);
}

// The connection is lost while commits of all threads are under way, after they were served or before.
class CommitLost : public ClientCommit, public ::testing::WithParamInterface<treat> {};

TEST_P(CommitLost, AllGoOnOverTheNextConnection) {
  auto c = must_open();
  pool().set(op::commit, GetParam());
  std::thread breaker([this] {
    EXPECT_TRUE(soon([this] { return pool().count(op::commit) >= 3; }));
    pool().set(op::commit, treat::answer);
    marud.kill_sessions();
  });
  EXPECT_EQ(count(commit_at_once(*c, 5), ec::ok), threads * 5);
  breaker.join();
  EXPECT_EQ(c->info().pages_in_doubt, 0u);
  expect_all(*c, 5);
}

INSTANTIATE_TEST_SUITE_P(ClientCommit, CommitLost, ::testing::Values(treat::lose, treat::ignore));

TEST_F(ClientCommit, ARefusedMessageIsSentAgainForAll) {
  auto c = must_open();
  pool().set(op::commit, treat::busy);
  std::thread later([this] {
    EXPECT_TRUE(soon([this] { return pool().count(op::commit) >= 8; }));
    pool().set(op::commit, treat::answer);
  });
  EXPECT_EQ(count(commit_at_once(*c, 2), ec::ok), threads * 2);
  later.join();
  expect_all(*c, 2);
}

TEST_F(ClientCommit, DeadlinesLeaveEveryonesOwnPageInDoubt) {
  auto o = options();
  o.timeout = 600ms;
  auto c = must_open(o);
  auto pages = c->alloc_batch(threads, 1);
  ASSERT_TRUE(pages);
  pool().set(op::commit, treat::hold);
  std::atomic<int> timeouts{0};
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t)
    workers.emplace_back([&, t] { timeouts += c->commit(key(t, 0), (*pages)[t]).code() == ec::timeout; });
  for (auto& w : workers)
    w.join();
  EXPECT_EQ(timeouts, threads);
  EXPECT_EQ(c->info().pages_in_doubt, std::size_t{threads});
  EXPECT_EQ(pool().entries(), std::size_t{threads}) << "all were sent";
  marud.release();
  EXPECT_TRUE(soon([&] { return c->info().pages_in_doubt == 0; }));
}

TEST_F(ClientCommit, CommitsOfASessionThatIsOverAreNotMadeInTheNext) {
  auto c = must_open();
  pool().set(op::commit, treat::ignore);
  std::thread breaker([this] {
    EXPECT_TRUE(soon([this] { return pool().count(op::commit) >= 3; }));
    pool().forget_sessions = true;
    marud.kill_sessions();
  });
  auto codes = commit_at_once(*c, 1);
  breaker.join();
  EXPECT_EQ(count(codes, ec::ok), 0);
  EXPECT_EQ(count(codes, ec::unavailable) + count(codes, ec::gone) + count(codes, ec::timeout), threads);
  EXPECT_EQ(pool().entries(), 0u);
}

TEST_F(ClientCommit, ADroppedFutureIsSentThoughOthersWait) {
  auto c = must_open();
  auto pages = c->alloc_batch(4, 1);
  ASSERT_TRUE(pages);
  pool().set(op::commit, treat::hold);
  for (int i = 0; i < 4; ++i) {
    auto name = key(0, i);
    std::string_view one{name};
    (void)c->commit_async({&one, 1}, {&(*pages)[static_cast<std::size_t>(i)], 1});
  }
  EXPECT_TRUE(soon([this] { return pool().entries() == 4; }));
  EXPECT_EQ(c->info().pages_in_doubt, 4u);
  marud.release();
  EXPECT_TRUE(soon([&] { return c->info().pages_in_doubt == 0; }));
}

TEST_F(ClientCommit, CloseLetsCommitsUnderWayEnd) {
  auto c = must_open();
  pool().set(op::commit, treat::hold);
  std::vector<std::thread> workers;
  std::atomic<int> stored{0};
  for (int t = 0; t < threads; ++t)
    workers.emplace_back([&, t] { stored += c->store(key(t, 0), bytes_of("x")) ? 1 : 0; });
  EXPECT_TRUE(soon([this] { return pool().entries() == threads; }));
  c->close();
  marud.release();
  for (auto& w : workers)
    w.join();
  EXPECT_EQ(stored, threads);
}

}  // namespace
}  // namespace maru::test
