// Goal: the loop that measures drives a system as it says: fills its share, keeps put rounds apart, counts failures as
// errors and not as work. Method: the loop runs on a thread of this process against a map in memory; the test plays
// the parent's part on the shared memory.
#include "app/bench/cell_worker.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>

namespace maru::bench {
namespace {

using namespace std::chrono_literals;

TEST(KeyBatch, KeysHaveSixtyBytesAndDiffer) {
  key_batch batch(3);
  batch.set(0, 1);
  batch.set(1, 2);
  batch.set(2, std::uint64_t{1} << 60);
  std::set<std::string> seen;
  for (auto key : batch.keys()) {
    EXPECT_EQ(key.size(), key_bytes);
    seen.insert(std::string{key});
  }
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(batch.first(2).size(), 2u);
}

TEST(CellJob, SurvivesTheCommandLine) {
  cell_job job{.system = "redis",
               .op = "put",
               .server = "127.0.0.1:1",
               .batch = 128,
               .index = 3,
               .keys = 7,
               .round_keys = 9,
               .value_bytes = 32,
               .rate = 5};
  auto back = read_cell_job(to_text(job));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->system, "redis");
  EXPECT_EQ(back->op, "put");
  EXPECT_EQ(back->server, "127.0.0.1:1");
  EXPECT_EQ(back->batch, 128u);
  EXPECT_EQ(back->index, 3u);
  EXPECT_EQ(back->keys, 7u);
  EXPECT_EQ(back->round_keys, 9u);
  EXPECT_EQ(back->value_bytes, 32u);
  EXPECT_EQ(back->rate, 5u);
  EXPECT_FALSE(read_cell_job("{}"));
  EXPECT_FALSE(read_cell_job("no json"));
}

// A system with a room of its own and a switch that makes it fail.
class map_target final : public kv_target {
public:
  result<std::size_t> lookup(std::span<const std::string_view> keys) override {
    if (broken)
      return error{ec::unavailable, "broken"};
    std::size_t n = 0;
    for (auto key : keys)
      n += there.contains(std::string{key});
    return n;
  }
  result<std::size_t> exists(std::span<const std::string_view> keys) override { return lookup(keys); }
  result<std::size_t> pin_unpin(std::span<const std::string_view> keys) override { return lookup(keys); }
  result<std::size_t> put(std::span<const std::string_view> keys) override {
    std::size_t n = 0;
    for (auto key : keys)
      n += there.emplace(key).second;
    return n;
  }
  result<std::size_t> remove(std::span<const std::string_view> keys) override {
    std::size_t n = 0;
    for (auto key : keys)
      n += there.erase(std::string{key});
    return n;
  }

  std::set<std::string> there;
  std::atomic<bool> broken{false};
};

// A client's loop on a thread, driven as a parent does.
class CellLoop : public ::testing::Test {
protected:
  void start(cell_job job) {
    job_ = job;
    control_.step = 1;
    loop_ = std::thread([this] { serve_cell(job_, target_, control_, shared_); });
    wait();
  }
  void step(command what, std::chrono::milliseconds limit) {
    control_.halt = 0;
    control_.what = static_cast<std::uint32_t>(what);
    ++control_.step;
    auto halt_at = std::chrono::steady_clock::now() + limit;
    while (shared_.step_done != control_.step) {
      if (std::chrono::steady_clock::now() > halt_at)
        control_.halt = 1;
      std::this_thread::sleep_for(100us);
    }
  }
  void wait() {
    while (shared_.step_done != control_.step)
      std::this_thread::sleep_for(100us);
  }
  void TearDown() override {
    step(command::stop, 10s);
    loop_.join();
  }

  cell_job job_;
  map_target target_;
  cell_control control_{};
  cell_client shared_{};
  std::thread loop_;
};

TEST_F(CellLoop, FillPutsThisClientsShareOnly) {
  start({.op = "put", .batch = 8, .index = 1, .keys = 1000, .round_keys = 300});
  step(command::fill, 10s);
  EXPECT_EQ(target_.there.size(), 300u);
  EXPECT_EQ(shared_.keys, 300u);
}

TEST_F(CellLoop, LastShareEndsWithTheKeys) {
  start({.op = "put", .batch = 8, .index = 3, .keys = 1000, .round_keys = 300});
  step(command::fill, 10s);
  EXPECT_EQ(target_.there.size(), 100u);
}

TEST_F(CellLoop, PutRoundsAreRemovedBeforeTheNext) {
  start({.op = "put", .batch = 8, .keys = 10, .round_keys = 83});
  for (int i = 1; i <= 3; ++i) {
    step(command::measure, 10s);
    EXPECT_EQ(target_.there.size(), 80u);
    EXPECT_EQ(shared_.keys, 80u * static_cast<unsigned>(i));
    step(command::remove, 10s);
    EXPECT_EQ(target_.there.size(), 0u);
  }
  EXPECT_EQ(shared_.latency.count(), 30u);
  EXPECT_EQ(shared_.errors, 0u);
}

TEST_F(CellLoop, PutsKeepToTheirRate) {
  start({.op = "put", .batch = 4, .keys = 10, .rate = 1000});
  auto begin = std::chrono::steady_clock::now();
  step(command::measure, 100ms);
  auto most = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() * 1000 + 4;
  EXPECT_GT(shared_.keys, 0u);
  EXPECT_LE(static_cast<double>(shared_.keys), most);
}

TEST_F(CellLoop, ReadsFindWhatWasFilledAndWarmUpIsNotCounted) {
  start({.op = "lookup", .batch = 4, .keys = 64, .round_keys = 64});
  step(command::fill, 10s);
  auto filled = shared_.keys.load();
  step(command::warm, 20ms);
  EXPECT_EQ(shared_.keys, filled);
  step(command::measure, 20ms);
  EXPECT_GT(shared_.keys, filled);
  EXPECT_EQ(shared_.keys, filled + shared_.per_second[0]);
  EXPECT_EQ(shared_.errors, 0u);
}

TEST_F(CellLoop, FailedBatchesAreErrorsAndNotWork) {
  start({.op = "lookup", .batch = 4, .keys = 64, .round_keys = 64});
  step(command::measure, 20ms);  // nothing is there
  EXPECT_EQ(shared_.keys, 0u);
  EXPECT_GT(shared_.errors, 0u);
  auto missed = shared_.errors.load();
  target_.broken = true;
  step(command::measure, 20ms);
  EXPECT_EQ(shared_.keys, 0u);
  EXPECT_GT(shared_.errors, missed);
  EXPECT_EQ(std::string{shared_.problem}, "lookup: 0 of 4 keys");
}

}  // namespace
}  // namespace maru::bench
