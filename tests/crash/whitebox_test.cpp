// Goal: nothing that was acknowledged is lost at the moments where it could be (invariants 2, 4 and 7). Method: marud is
// told to kill itself between two steps of a put, a removal, a resume or a recovery (base/kill_point.hpp), one time in N,
// under the workers and with the checks of the blackbox test. Each point must be seen to kill.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>

#include "base/kill_point.hpp"
#include "tests/crash/crash_machine.hpp"
#include "tests/support/random_run.hpp"

namespace maru::test {
namespace {

struct place {
  kill_at point;
  std::uint64_t passes;  // N is at most this: it is reached about as often within a second, or within a start
  bool at_start = false;
};

constexpr place places[] = {
  {kill_at::region_chosen, 20},          {kill_at::region_recorded, 20},       {kill_at::after_grant, 50},
  {kill_at::after_descriptors, 400},     {kill_at::after_record, 400},         {kill_at::before_insert, 400},
  {kill_at::inside_bucket, 2000},        {kill_at::before_reply, 400},         {kill_at::after_announce, 200},
  {kill_at::after_mark_evicting, 200},   {kill_at::after_record_deleted, 200}, {kill_at::after_free, 200},
  {kill_at::resume_grants, 2},           {kill_at::resume_reply, 2},           {kill_at::between_superblocks, 1, true},
  {kill_at::recovery_entry, 4000, true}, {kill_at::recovery_page, 4000, true}, {kill_at::before_repairs, 1, true},
  {kill_at::after_repairs, 1, true},
};
constexpr std::size_t of_workers = 2;  // pin_named, pin_checked
constexpr std::size_t of_devices = 2;  // device_adopted, device_forgotten: tests/system/devices_test.cpp
static_assert(std::size(places) + of_workers + of_devices == static_cast<std::size_t>(kill_at::last_) + 1,
              "a point is missing");

class whitebox {
public:
  explicit whitebox(const crash_pool& pool) : seed_(test_seed()), random_(seed_), machine_(seed_, pool) {}

  void run() {
    SCOPED_TRACE("MARU_SEED=" + std::to_string(seed_));
    ASSERT_TRUE(machine_.worked(10'000)) << "the workers put too little";
    machine_.kill();
    auto rounds = test_rounds(1);
    for (std::uint64_t round = 0; round < rounds; ++round) {
      std::vector<place> order{std::begin(places), std::end(places)};
      std::shuffle(order.begin(), order.end(), random_);
      for (const auto& p : order) {
        SCOPED_TRACE(std::string{to_string(p.point)} + " in round " + std::to_string(round));
        ASSERT_NO_FATAL_FAILURE(kill_and_check(p));
      }
    }
    ASSERT_TRUE(machine_.start()) << machine_.log();
    EXPECT_EQ(machine_.check(), "");
    EXPECT_EQ(machine_.finish(), "");
    std::cout << machine_.report(rounds) << "\nkilled";
    for (const auto& [name, times] : killed_)
      std::cout << " " << name << "=" << times;
    std::cout << std::endl;
  }

private:
  // REQUIRES: marud is dead; leaves it dead.
  void kill_and_check(const place& p) {
    if (p.at_start) {  // with something to repair
      ASSERT_NO_FATAL_FAILURE(die_at({kill_at::after_mark_evicting, 200}));
    }
    ASSERT_NO_FATAL_FAILURE(die_at(p));
    if (random_() % 3 == 0)
      return;  // the next start finds what this death left
    ASSERT_EQ(machine_.start_and_check_before_workers(), "") << machine_.log();
    machine_.kill();
  }

  // Starts marud with the point armed until it has died there. A draw that leaves it alive is taken again with better odds.
  void die_at(const place& p) {
    for (auto n = 1 + random_() % p.passes;; n = std::max<std::uint64_t>(1, n / 4)) {
      auto name = std::string{to_string(p.point)};
      bool ready = machine_.start(name + ":" + std::to_string(n) + ":" + std::to_string(random_()));
      if (machine_.died(ready && !p.at_start ? 3s : 100ms)) {
        ++killed_[name];
        return;
      }
      ASSERT_TRUE(ready) << machine_.log();
      ASSERT_GT(n, 1u) << "never reached; " << machine_.complaints();
      machine_.kill();
    }
  }

  std::uint64_t seed_;
  std::mt19937_64 random_;
  crash_machine machine_;
  std::map<std::string, int> killed_;
};

TEST(Whitebox, WhatWasAcknowledgedIsThereAfterADeathAtEachPoint) { whitebox{keeps_all}.run(); }

TEST(Whitebox, APoolThatEvictsShowsRightBytesAfterADeathAtEachPoint) { whitebox{keeps_some}.run(); }

}  // namespace
}  // namespace maru::test
