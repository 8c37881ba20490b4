// Goal: what killed workers held is free within a second, what they committed stays, and nothing leaks however many die
// (invariants 3 and 5). Method: 8 load workers; one of them is killed every 250 ms while it holds pins, views and
// half-written pages and has a commit under way, and another one takes its place. After each kill the session list, the
// entry it pinned and the descriptors in the pool must know nothing of it any more; every 20th kill takes all 8 at once,
// and then every page and pin of the pool must be accounted for.
//
// MARU_KILLS=500 for a long run. MARU_SEED repeats what is killed when, and what the workers do; not how the host
// schedules them.
#include <gtest/gtest.h>
#include <signal.h>

#include <iostream>
#include <thread>

#include "tests/crash/loads.hpp"
#include "tests/support/environment_variable.hpp"

namespace maru::test {
namespace {

using steady = std::chrono::steady_clock;

constexpr std::size_t workers_max = 8;
constexpr auto kill_interval = 250ms;
// The promise is 1 s. The tests run beside others on few cores, where a process may wait that long for its turn.
constexpr auto freed_within = 1000ms, slack_when_loaded = 2000ms;
constexpr std::uint64_t MiB = 1 << 20;

class storm {
public:
  storm(marud& m, std::uint64_t kills) : marud_(m), kills_(kills), watch_(m) {}

  void run() {
    for (std::size_t kill = 0; kill < kills_; ++kill) {
      auto next = steady::now() + kill_interval;
      bring_up();
      if (kill % 20 == 19)
        kill_all();
      else
        kill_one();
      if (::testing::Test::HasFailure())
        return;
      std::this_thread::sleep_until(next);
    }
    kill_all();
    std::cout << "killed " << dead_.size() << " workers; freed: " << freed_.text() << "\n";
    std::cout << "heap " << first_.heap_bytes / 1024 << " -> " << last_.heap_bytes / 1024 << " KiB, descriptors "
              << first_.descriptors << " -> " << last_.descriptors << "\n";
    EXPECT_LE(freed_.at(1), static_cast<double>((freed_within + slack_when_loaded).count()));
    EXPECT_LE(freed_.at(0.9), static_cast<double>(freed_within.count()));
  }

  void expect_no_growth(std::uint64_t heap_bytes) const {
    EXPECT_LE(last_.descriptors, first_.descriptors) << "every session's connection and lock is closed";
    EXPECT_EQ(lock_files_of(marud_), 0u);
    EXPECT_LE(last_.heap_bytes, first_.heap_bytes + heap_bytes);
  }

  // Everything acknowledged and neither removed nor evicted reads its bytes.
  void expect_acknowledged_are_there(std::uint64_t evicted_max) {
    auto c = marud_.open();
    ASSERT_TRUE(c);
    std::uint64_t read = 0, missing = 0;
    for (const auto& w : dead_) {
      auto report = w->report();
      EXPECT_EQ(report.wrong, std::vector<std::string>{}) << w->name();
      for (const auto& [what, n] : report.failed)
        ADD_FAILURE() << w->name() << " failed: " << what << ", " << n << " times";
      for (const auto& key : report.kept) {
        auto answer = read_back(*c, key);
        ++read;
        missing += answer == "missing";
        EXPECT_TRUE(answer == "ok" || answer == "missing") << key << ": " << answer;
      }
    }
    std::cout << "acknowledged " << read << ", of these evicted " << missing << "\n";
    EXPECT_GT(read, missing);
    EXPECT_LE(missing, evicted_max);
  }

private:
  void bring_up() {
    while (workers_.size() < workers_max) {
      environment_variable reads{"MARU_LOCAL_READS", named_ % 2 == 0 ? "1" : "0"};  // every second one asks
      workers_.push_back(std::make_unique<load_worker>(marud_, "w" + std::to_string(named_++), random_.engine()(),
                                                       folder_.path().string()));
    }
  }

  void kill_one() {
    auto at = workers_.begin() + static_cast<std::ptrdiff_t>(random_.below(workers_.size()));
    kill({at, at + 1});
    workers_.erase(at);
  }

  void kill_all() {
    kill({workers_.begin(), workers_.end()});
    workers_.clear();
    std::string wrong;
    EXPECT_TRUE(eventually([&] { return (wrong = watch_.unaccounted()).empty(); }, 3s)) << wrong;
    EXPECT_EQ(lock_files_of(marud_), 0u);
    EXPECT_EQ(marud_.audit(), "");
    last_ = usage_of(marud_.body().pid());
    if (first_.heap_bytes == 0)
      first_ = last_;
  }

  void kill(std::span<std::unique_ptr<load_worker>> victims) {
    std::vector<std::uint64_t> sessions;
    for (auto& w : victims) {
      ASSERT_TRUE(eventually([&] { return w->report().armed; }, 20s)) << w->name();
      auto session = watch_.session_of(w->name());
      ASSERT_TRUE(session) << w->name();
      ASSERT_GT(watch_.pins_on(w->name() + "/anchor"), 0);
      ASSERT_GE(watch_.pages_of(*session), 8u) << w->name() << " has half-written pages";
      sessions.push_back(*session);
    }
    auto begin = steady::now();
    for (auto& w : victims)
      w->body().signal(SIGKILL);
    for (std::size_t i = 0; i < victims.size(); ++i)
      expect_freed(*victims[i], sessions[i], begin);
    for (auto& w : victims)
      dead_.push_back(std::move(w));
  }

  void expect_freed(load_worker& w, std::uint64_t session, steady::time_point begin) {
    auto anchor = w.name() + "/anchor";
    auto free = [&] {
      // Evicted, in a small pool, once nobody pins it.
      return !watch_.session_of(w.name()) && watch_.pins_on(anchor) <= 0 && watch_.pages_of(session) == 0;
    };
    EXPECT_TRUE(eventually(free, freed_within + slack_when_loaded))
      << w.name() << ": pins " << watch_.pins_on(anchor) << ", pages " << watch_.pages_of(session) << ", sessions "
      << watch_.ask("sessions").dump();
    freed_.add(std::chrono::duration<double, std::milli>(steady::now() - begin).count());
    w.body().wait();
  }

  marud& marud_;
  const std::uint64_t kills_;
  random_source random_{0};
  temp_folder folder_;
  observer watch_;
  std::size_t named_ = 0;
  std::vector<std::unique_ptr<load_worker>> workers_, dead_;
  distribution freed_;
  usage first_, last_;  // of an idle marud, after the first and the last time that all were killed
};

// Small buffers for RocksDB: what grows then is a leak, and not what it buffers.
std::vector<std::string> options(std::uint64_t pool_bytes) {
  return {"--pool-size=" + std::to_string(pool_bytes), "--rocksdb-write-buffer=1MiB", "--rocksdb-block-cache=1MiB"};
}

TEST(Storm, KilledWorkersLeaveNothingButWhatTheyCommitted) {
  auto kills = number_from_environment("MARU_KILLS", 40);
  marud m{options(64 * MiB + (kills + kills / 2) * MiB)};  // a worker leaves at most 1 MiB: nothing is evicted
  storm s{m, kills};
  s.run();
  // The index, and a page table of regions in use, grow with the entries: 200 a kill. A leaked session alone is more.
  s.expect_no_growth(8 * MiB + kills * 32 * 1024);
  s.expect_acknowledged_are_there(0);
  EXPECT_EQ(m.ask("status")["evicted"], 0);
}

TEST(Storm, KilledWorkersLeaveNothingWhereThePoolIsFull) {
  auto kills = number_from_environment("MARU_KILLS", 20);
  marud m{options(8 * MiB)};
  storm s{m, kills};
  s.run();
  s.expect_no_growth(8 * MiB);
  auto evicted = m.ask("status")["evicted"].get<std::uint64_t>();
  EXPECT_GT(evicted, 0u);
  s.expect_acknowledged_are_there(evicted);
}

}  // namespace
}  // namespace maru::test
