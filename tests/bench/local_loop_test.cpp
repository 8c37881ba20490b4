// Goal: the loop of `maru-bench local` asks for the keys it says, counts what calls answer, and times only where told;
// bare maps find exactly what they hold. Method: calls that note their keys, answer wrong, fail or take a known time.
#include "app/bench/local_loop.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "app/bench/cell_worker.hpp"
#include "app/bench/local_floor.hpp"

namespace maru::bench {
namespace {

using namespace std::chrono_literals;
using names = std::span<const std::string_view>;
using answer = std::optional<std::size_t>;

std::string key_of(std::uint64_t number) {
  key_batch one(1);
  one.set(0, number);
  return std::string{one.keys().front()};
}

// The keys that a loop of this job asks for.
std::set<std::string> asked(const loop_job& job) {
  std::mutex mutex;
  std::set<std::string> seen;
  run_loop(
    job,
    [&](names keys) -> answer {
      std::lock_guard lock(mutex);
      seen.insert(keys.begin(), keys.end());
      return keys.size();
    },
    nullptr);
  return seen;
}

TEST(LocalLoop, HotKeysAreAThousandSpreadOverAll) {
  loop_job job{.keys = 1'000'000, .hot = true};
  EXPECT_EQ(loop_choices(job), 1000u);
  EXPECT_EQ(loop_key(job, 0), 0u);
  EXPECT_EQ(loop_key(job, 999), 999'000u);
  job.keys = 10;
  EXPECT_EQ(loop_choices(job), 10u);
  EXPECT_EQ(loop_key(job, 9), 9u);
}

TEST(LocalLoop, ColdAsksForAllKeysAndForNoOther) {
  auto seen = asked({.threads = 2, .batch = 3, .keys = 20, .time = 50ms});
  std::set<std::string> all;
  for (std::uint64_t i = 0; i < 20; ++i)
    all.insert(key_of(i));
  EXPECT_EQ(seen, all);
}

TEST(LocalLoop, AbsentAsksForNoKeyThatIsThere) {
  auto seen = asked({.keys = 20, .absent = true, .time = 50ms});
  EXPECT_EQ(seen.size(), 20u);
  for (std::uint64_t i = 0; i < 20; ++i)
    EXPECT_FALSE(seen.contains(key_of(i)));
}

TEST(LocalLoop, CountsRightAndWrongAnswersOfTheMeasuredTimeOnly) {
  std::atomic<std::uint64_t> made{0};
  auto sum = run_loop(
    {.threads = 2, .batch = 4, .keys = 8, .time = 50ms},
    [&](names) -> answer {
      ++made;
      return 3;
    },
    nullptr);
  EXPECT_GT(sum.calls, 0u);
  EXPECT_LT(sum.calls, made);  // the warm-up's are not among them
  EXPECT_EQ(sum.keys, 3 * sum.calls);
  EXPECT_EQ(sum.wrong, sum.calls);
  EXPECT_EQ(sum.failures, 0u);
  EXPECT_EQ(sum.latency.count(), 0u);
  EXPECT_GT(sum.seconds, 0);
  EXPECT_NEAR(sum.keys_per_s() * sum.seconds, static_cast<double>(sum.keys), 1);
}

TEST(LocalLoop, FailedCallsAreNeitherCallsNorTimed) {
  auto clock = cycle_clock::calibrate();
  auto sum = run_loop(
    {.time = 20ms}, [](names) -> answer { return std::nullopt; }, &clock);
  EXPECT_GT(sum.failures, 0u);
  EXPECT_EQ(sum.calls, 0u);
  EXPECT_EQ(sum.keys, 0u);
  EXPECT_EQ(sum.latency.count(), 0u);
}

TEST(LocalLoop, CallsLongerThanTheTimeAreMeasuredOnce) {
  auto sum = run_loop(
    {.threads = 2, .time = 1ms},
    [](names keys) -> answer {
      std::this_thread::sleep_for(100ms);
      return keys.size();
    },
    nullptr);
  EXPECT_EQ(sum.calls, 2u);
  EXPECT_GE(sum.seconds, 0.09);
}

TEST(LocalLoop, TimesTheCallAndNotTheKeys) {
  auto clock = cycle_clock::calibrate();
  auto sum = run_loop(
    {.threads = 2, .time = 100ms},
    [](names keys) -> answer {
      std::this_thread::sleep_for(2ms);
      return keys.size();
    },
    &clock);
  EXPECT_EQ(sum.latency.count(), sum.calls);
  EXPECT_GT(sum.calls, 0u);
  EXPECT_GE(sum.latency.quantile_ns(0.5), 1.9e6);
  EXPECT_LE(sum.latency.quantile_ns(0) * static_cast<double>(sum.calls),
            2 * sum.seconds * 1e9 * 1.05);  // of two threads
}

TEST(FloorMaps, FindWhatTheyHoldAndNothingElse) {
  floor_maps maps(100);
  key_batch batch(4);
  for (std::size_t i = 0; i < 4; ++i)
    batch.set(i, 97 + i);  // the last is not there
  for (const auto& call : {maps.by_text(), maps.by_hash()}) {
    EXPECT_EQ(call(batch.keys()), 3u);
    EXPECT_EQ(call(batch.first(3)), 3u);
  }
  batch.set(0, absent_keys);
  EXPECT_EQ(maps.by_text()(batch.first(1)), 0u);
  EXPECT_EQ(maps.by_hash()(batch.first(1)), 0u);
}

}  // namespace
}  // namespace maru::bench
