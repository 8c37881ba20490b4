// Goal: nothing that marud acknowledged is lost, nothing that was removed comes back, and no reader ever sees wrong bytes,
// whenever marud dies (invariants 2, 4 and 7). Method: four processes put, read, pin and remove 20,000 keys and note each
// answer before they go on (board.hpp); marud is killed at a random moment and started again on the same pool, state and
// port, over and over. Workers hold every answer against the notes; after some of the rounds everything is read back.
// MARU_SEED gives what the workers do and when marud dies, not how the machine schedules them.
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <thread>

#include "tests/crash/crash_machine.hpp"
#include "tests/support/random_run.hpp"

namespace maru::test {
namespace {

// 0.2 to 3 s, short ones more often: workers are still coming back from the kill before.
std::chrono::milliseconds random_life(std::mt19937_64& random) {
  auto part = static_cast<double>(random() % 10'000) / 10'000;
  return std::chrono::milliseconds{static_cast<int>(200 * std::pow(15, part))};
}

void kill_again_and_again(const crash_pool& pool) {
  auto seed = test_seed();
  SCOPED_TRACE("MARU_SEED=" + std::to_string(seed));
  std::mt19937_64 random{seed};
  crash_machine m{seed, pool};
  auto rounds = test_rounds(10);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(random_life(random));
    m.kill();
    auto how = round + 1 == rounds ? 0 : random() % 4;
    if (how == 1) {
      ASSERT_EQ(m.start_and_check_before_workers(), "") << "in round " << round << "\n" << m.log();
    } else {
      ASSERT_TRUE(m.start()) << m.log();
    }
    if (how == 0) {
      ASSERT_EQ(m.check(), "") << "in round " << round << "\n" << m.log();
    }
  }
  EXPECT_EQ(m.finish(), "");
  std::cout << m.report(rounds) << std::endl;
}

TEST(Blackbox, WhatWasAcknowledgedIsThereAfterAnyKill) { kill_again_and_again(keeps_all); }

TEST(Blackbox, APoolThatEvictsShowsRightBytesAfterAnyKill) { kill_again_and_again(keeps_some); }

}  // namespace
}  // namespace maru::test
