// Goal: with `software` visibility a reader on another host sees complete bytes or a miss, whatever the caches do; and
// the test would notice if any publish or acquire were missing, incomplete, too early or too late.
// Method: a real marud in this process, and two real clients whose memory is tests/support/incoherent_memory.hpp: each
// on a host of its own with an adversary in its caches. A pool of 32 pages, so that pages go from host to host all the
// time. One thread takes the steps of both in an order that the seed gives; one test lets them run at once. A seed
// repeats the steps and the adversary; which page a key gets also hangs on marud's threads. MARU_SEED=n plays that seed
// alone, MARU_ROUNDS=n plays n from there.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>

#include "actors/service.hpp"
#include "tests/crash/shim_worker.hpp"
#include "tests/support/random_run.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::test {
namespace {

constexpr std::uint64_t first_seed = 1, rounds_default = 25, rounds_for_a_mistake = 60;
constexpr int steps_a_round = 600;

// Two hosts on one pool.
class Shim : public ::testing::Test {
protected:
  void SetUp() override {
    marud_options o;
    o.pool = folder_ / "pool";
    o.state_dir = folder_ / "state";
    o.pool_size = 128 * bounds::KiB;
    o.page_min = 4 * bounds::KiB;
    o.visibility = "software";
    o.prefault = "off";
    o.listen = server_;
    o.http = "127.0.0.1:0";
    auto started = actors::service::start(o);
    ASSERT_TRUE(started) << to_string(started.error());
    marud_ = *std::move(started);
    memory_ = std::make_shared<incoherent_memory>(o.pool);
  }

  shim_worker host(std::uint64_t seed, std::uint64_t number, mistake wrong) {
    return {server_, memory_, 2 * seed + number, std::to_string(seed) + "/", wrong};
  }

  // Both hosts in one thread, a step at a time.
  tally play(std::uint64_t seed, mistake wrong) {
    auto a = host(seed, 0, wrong), b = host(seed, 1, wrong);
    std::mt19937_64 order{seed};
    for (int i = 0; i < steps_a_round; ++i)
      (order() % 2 == 0 ? a : b).step();
    auto seen = a.seen();
    return seen += b.seen();
  }

  temp_folder folder_;
  const std::string server_ = "unix:" + (folder_ / "door");
  std::unique_ptr<actors::service> marud_;
  std::shared_ptr<incoherent_memory> memory_;
};

void expect_busy(const tally& seen) {
  std::printf("%lu pieces read of the other host's chunks, %lu commits, %lu pages abandoned, %lu keys removed\n",
              seen.foreign, seen.commits, seen.abandoned, seen.removed);
  EXPECT_GT(seen.foreign, 100u);
  EXPECT_GT(seen.commits, 50u);
  EXPECT_GT(seen.abandoned, 20u);
  EXPECT_GT(seen.removed, 20u);
}

TEST_F(Shim, OtherHostsSeeCompleteBytesOrAMiss) {
  auto seed = number_from_environment("MARU_SEED", first_seed);
  auto rounds = test_rounds(std::getenv("MARU_SEED") != nullptr ? 1 : rounds_default);
  tally all;
  for (auto end = seed + rounds; seed < end; ++seed) {
    std::printf("MARU_SEED=%lu\n", seed);
    auto seen = play(seed, mistake::none);
    ASSERT_EQ(seen.wrong, 0u) << "seed " << seed << ", first: key " << seen.first_wrong;
    all += seen;
  }
  if (rounds >= 10)
    expect_busy(all);
}

TEST_F(Shim, HostsThatRunAtOnceSeeCompleteBytesOrAMiss) {
  auto seed = test_seed();
  auto a = host(seed, 0, mistake::none), b = host(seed, 1, mistake::none);
  {
    auto run = [](shim_worker& w) {
      for (int i = 0; i < 5 * steps_a_round; ++i)
        w.step();
    };
    std::jthread other{run, std::ref(b)};
    run(a);
  }
  auto seen = a.seen();
  seen += b.seen();
  EXPECT_EQ(seen.wrong, 0u) << "seed " << seed << ", first: key " << seen.first_wrong;
  expect_busy(seen);
}

class ShimMistake : public Shim, public ::testing::WithParamInterface<mistake> {};

TEST_P(ShimMistake, IsSeenAsWrongBytes) {
  auto seed = number_from_environment("MARU_SEED", first_seed);
  for (std::uint64_t tries = 1; tries <= rounds_for_a_mistake; ++tries, ++seed) {
    auto seen = play(seed, GetParam());
    if (seen.wrong == 0)
      continue;
    std::printf("MARU_SEED=%lu shows it, at try %lu: %lu wrong pieces, first: key %s\n", seed, tries, seen.wrong,
                seen.first_wrong.c_str());
    return;
  }
  FAIL() << "the shim has not noticed it in " << rounds_for_a_mistake << " tries";
}

std::string name_of(const ::testing::TestParamInfo<mistake>& info) {
  switch (info.param) {
    case mistake::none: break;
    case mistake::no_publish_at_commit: return "NoPublishAtCommit";
    case mistake::no_publish_of_abandoned_pages: return "NoPublishOfAbandonedPages";
    case mistake::no_acquire_in_retrieve: return "NoAcquireInRetrieve";
    case mistake::no_acquire_in_bytes: return "NoAcquireInBytes";
    case mistake::last_line_not_published: return "LastLineNotPublished";
    case mistake::published_before_the_last_store: return "PublishedBeforeTheLastStore";
    case mistake::acquired_after_the_read: return "AcquiredAfterTheRead";
    case mistake::no_publish_of_what_is_cut_off: return "NoPublishOfWhatIsCutOff";
    case mistake::copy_not_finished: return "CopyNotFinished";
    case mistake::last_line_of_copy_cached: return "LastLineOfCopyCached";
    case mistake::copy_finished_after_the_commit: return "CopyFinishedAfterTheCommit";
  }
  return "None";
}

INSTANTIATE_TEST_SUITE_P(Every, ShimMistake,
                         ::testing::Values(mistake::no_publish_at_commit, mistake::no_publish_of_abandoned_pages,
                                           mistake::no_acquire_in_retrieve, mistake::no_acquire_in_bytes,
                                           mistake::last_line_not_published, mistake::published_before_the_last_store,
                                           mistake::acquired_after_the_read, mistake::no_publish_of_what_is_cut_off,
                                           mistake::copy_not_finished, mistake::last_line_of_copy_cached,
                                           mistake::copy_finished_after_the_commit),
                         name_of);

}  // namespace
}  // namespace maru::test
