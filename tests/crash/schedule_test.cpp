// Goal: whatever workers do at the same time, whichever message comes first or late, whatever write fails, whoever loses
// its connection, falls silent or dies, and wherever in the middle of all that marud is killed and started again: every
// invariant holds after every step, and in the end everything adds up.
// Method: marud's actors on the deterministic scheduler; its next step is chosen at random. An actor's handler can be
// interrupted before and after each message that it sends and each write, and marud can be killed there: it goes on with
// the pool and the records of that moment. The seed fixes all of it, the pool's secret and the wall clock too, so a failing
// seed fails again.
#include <spdlog/spdlog.h>

#include "tests/crash/schedule.hpp"

namespace maru::actors::test {
namespace {

constexpr std::size_t cases = 20, seeds_in_case = 50 / maru::test::sanitizer_factor;

class schedules : public ::testing::TestWithParam<std::size_t> {};

TEST_P(schedules, KeepEveryInvariantAfterEveryStep) {
  spdlog::set_level(spdlog::level::off);  // writes fail by the hundred
  std::uint64_t commits = 0, hits = 0, removed = 0, kills = 0, interrupted = 0, lapsed = 0, doubts = 0;
  auto seeds = maru::test::seeds_of_case(GetParam(), seeds_in_case);
  for (auto seed : seeds) {
    SCOPED_TRACE("MARU_SEED=" + std::to_string(seed));
    schedule s{seed};
    s.run();
    ASSERT_FALSE(HasFailure());
    commits += s.commits;
    hits += s.hits;
    removed += s.removed;
    kills += s.kills;
    interrupted += s.interrupted;
    lapsed += s.lapsed;
    doubts += s.settled_doubts;
  }
  std::cout << commits << " commits, " << hits << " hits, " << removed << " removals, " << kills << " kills, "
            << interrupted << " interruptions, " << lapsed << " sessions over, " << doubts << " doubts settled late\n";
}

TEST(Schedule, OneSeedGivesOneRun) {
  spdlog::set_level(spdlog::level::off);
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    auto played = [seed] {
      schedule s{seed};
      s.run();
      return std::vector{s.next_number(), s.commits, s.hits, s.removed, s.kills, s.interrupted, s.lapsed};
    };
    EXPECT_EQ(played(), played()) << "MARU_SEED=" << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, schedules, ::testing::Range<std::size_t>(0, cases));

}  // namespace
}  // namespace maru::actors::test
