// Goal: commits that come at once are joined and answered apart, and none waits for longer than it must.
// Method: the queue over a link that is a list. Its messages are answered by hand; delays are so long that they are never
// over, or so short that they are over at once.
#include "net/commit_queue.hpp"

#include <gtest/gtest.h>

#include <future>
#include <string>

#include "net/records.hpp"

namespace maru::test {
namespace {

using namespace std::chrono_literals;
using net::commit_queue;
using steady = std::chrono::steady_clock;

net::outcome answer(std::vector<ec> codes) { return {ec::ok, net::codes_reply{0, net::encode_codes(codes)}}; }
net::outcome refusal(ec code) { return {ec::ok, net::codes_reply{static_cast<std::uint8_t>(code), {}}}; }

class CommitQueue : public ::testing::Test {
protected:
  struct sent {
    std::string items;
    std::shared_ptr<net::receiver> to;
  };

  std::shared_ptr<net::call> send(const std::string& items, std::size_t n = 1,
                                  commit_queue::pace how = commit_queue::pace::may_wait) {
    return queue->send({items}, n, how);
  }
  void make_queue(steady::duration delay) {
    queue = std::make_shared<commit_queue>(
      [this](net::commit_request request, std::shared_ptr<net::receiver> to) {
        if (up)
          wire.push_back({std::move(request.items), std::move(to)});
        return up;
      },
      jobs, delay, 1);
  }
  static std::string codes_of(net::call& c) { return std::get<net::codes_reply>(c.result().reply).codes; }
  static std::string text(std::vector<ec> codes) { return net::encode_codes(codes); }
  // Two callers in the second message.
  void join() {
    first = send("1");
    a = send("aa", 2);
    b = send("b");
    wire[0].to->finish(answer({ec::ok}));
    ASSERT_TRUE(first->wait_until(steady::now()));
    ASSERT_EQ(wire.size(), 2u);
    ASSERT_EQ(wire[1].items, "aab");
  }

  bool up = true;
  std::vector<sent> wire;
  std::shared_ptr<net::job_queue> jobs = std::make_shared<net::job_queue>();
  std::shared_ptr<commit_queue> queue;
  std::shared_ptr<net::call> first, a, b;
  void SetUp() override { make_queue(1h); }
};

TEST_F(CommitQueue, ALoneCommitGoesOutAtOnce) {
  for (std::size_t i = 1; i < 4; ++i) {
    auto c = send("x");
    ASSERT_EQ(wire.size(), i);
    wire.back().to->finish(answer({ec::exists}));
    ASSERT_TRUE(c->wait_until(steady::now()));
    EXPECT_EQ(codes_of(*c), text({ec::exists}));
  }
}

TEST_F(CommitQueue, EachCallerIsToldTheCodesOfItsOwnItems) {
  join();
  wire[1].to->finish(answer({ec::ok, ec::exists, ec::gone}));
  EXPECT_EQ(codes_of(*a), text({ec::ok, ec::exists}));
  EXPECT_EQ(codes_of(*b), text({ec::gone}));
}

TEST_F(CommitQueue, ARefusalOfTheMessageIsToldToEach) {
  join();
  wire[1].to->finish(refusal(ec::busy));
  for (auto& c : {a, b})
    EXPECT_EQ(std::get<net::codes_reply>(c->result().reply).code, static_cast<std::uint8_t>(ec::busy));
}

TEST_F(CommitQueue, AnAnswerOfTheWrongSizeIsNobodys) {
  join();
  wire[1].to->finish(answer({ec::ok, ec::ok}));
  EXPECT_EQ(codes_of(*a), "");
  EXPECT_EQ(codes_of(*b), "");
}

TEST_F(CommitQueue, ALostMessageLeavesAllOfItInDoubt) {
  join();
  wire[1].to->finish({});
  for (auto& c : {a, b}) {
    EXPECT_EQ(c->result().code, ec::unavailable);
    EXPECT_TRUE(c->result().sent);
  }
}

TEST_F(CommitQueue, WhatWasNeverSentIsInNoDoubt) {
  first = send("1");
  a = send("a");
  b = send("b");
  up = false;
  wire[0].to->finish({});
  ASSERT_TRUE(first->wait_until(steady::now()));
  EXPECT_TRUE(first->result().sent);
  for (auto& c : {a, b}) {
    ASSERT_TRUE(c->done());
    EXPECT_EQ(c->result().code, ec::unavailable);
    EXPECT_FALSE(c->result().sent);
  }
  EXPECT_EQ(send("c"), nullptr);
}

TEST_F(CommitQueue, TheFirstOfAMessageSendsItWhenItIsDue) {
  make_queue(50ms);
  first = send("1");
  a = send("a");
  b = send("b");
  ASSERT_EQ(wire.size(), 1u) << "no 50 ms have passed";
  auto waits = std::async(std::launch::async, [&] { return a->wait_until(steady::now() + 100ms); });
  EXPECT_FALSE(waits.get()) << "nobody answers";
  ASSERT_EQ(wire.size(), 2u);
  EXPECT_EQ(wire[1].items, "ab");
}

TEST_F(CommitQueue, ACommitBehindAMessageThatIsLongUnderWayWaitsForNothing) {
  make_queue(0ms);
  first = send("1");
  a = send("a");
  EXPECT_EQ(wire.size(), 2u);
}

TEST_F(CommitQueue, AFullMessageGoesOutAndTheNextBegins) {
  first = send("1");
  a = send("a", bounds::batch_items_max);
  ASSERT_EQ(wire.size(), 1u);
  b = send("b");
  ASSERT_EQ(wire.size(), 2u);
  EXPECT_EQ(wire[1].items, "a");
  auto c = send(std::string(bounds::message_bytes_max, 'c'));
  ASSERT_EQ(wire.size(), 3u);
  EXPECT_EQ(wire[2].items, "b");
  wire[2].to->finish(answer({ec::ok}));
  EXPECT_EQ(codes_of(*b), text({ec::ok}));
  EXPECT_FALSE(c->done());
}

TEST_F(CommitQueue, WhoMustNotWaitTakesTheOthersAlong) {
  first = send("1");
  a = send("a");
  b = send("b", 1, commit_queue::pace::at_once);
  ASSERT_EQ(wire.size(), 2u);
  EXPECT_EQ(wire[1].items, "ab");
}

TEST_F(CommitQueue, WhatACallerGivesUpIsSentAllTheSameAndAnsweredLate) {
  first = send("1");
  a = send("a");
  b = send("b");
  EXPECT_FALSE(b->wait_until(steady::now()));
  std::string late;
  b->abandon([&](net::outcome& o) { late = std::get<net::codes_reply>(o.reply).codes; });
  ASSERT_EQ(wire.size(), 2u);
  EXPECT_EQ(wire[1].items, "ab");
  wire[1].to->finish(answer({ec::ok, ec::exists}));
  EXPECT_EQ(codes_of(*a), text({ec::ok})) << "the others go on";
  for (auto& job : jobs->take(steady::now()))
    job();
  EXPECT_EQ(late, text({ec::exists}));
}

}  // namespace
}  // namespace maru::test
