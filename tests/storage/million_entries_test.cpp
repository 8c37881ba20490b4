// Goal: a start after a kill reads a million entries nearly as fast as one after an orderly stop: what RocksDB has to
// replay is bounded. (That marud serves them in under 3 s is the system test's.) Method: write them in batches of 128 with
// as many deletes between, reopen, and compare the time of the scans. What counts is the processor time of the reading
// thread: the clock on the wall depends on what else the host does. On a busy host that is longer too, its caches being
// shared, so the best of up to five readings counts, each from a copy of the files.
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <limits>
#include <string>

#include "tests/storage/samples.hpp"
#include "tests/support/temp_folder.hpp"

using namespace maru;
using namespace maru::storage;
using namespace maru::storage::test;

namespace {

constexpr std::uint64_t live = 1000000, written = 2000000;
constexpr double times_max = 2.2;  // 1.4 to 1.7 were seen, and 3.7 with write buffers four times as large
constexpr int tries_max = 5;

void fill(metadata_store& store) {
  for (std::uint64_t n = 0; n < written; n += 128) {
    write_batch batch;
    for (auto i = n; i < std::min(n + 128, written); ++i) {
      batch.put_entry({i * 0x9e3779b97f4a7c15, i}, entry_of(i));
      if (i >= live)
        batch.delete_entry({(i - live) * 0x9e3779b97f4a7c15, i - live});
    }
    ASSERT_TRUE(store.write(std::move(batch), false));
  }
}

double thread_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// Opens and scans, which is what a start does; the processor time it took.
void read_all_timed(const std::string& path, const char* when, double& cpu) {
  auto start = std::chrono::steady_clock::now();
  auto cpu_start = thread_seconds();
  auto store = open_rocksdb({.path = path});
  ASSERT_TRUE(store) << store.error().message;
  std::uint64_t seen = 0, wrong = 0;
  auto s = (*store)->scan_entries({}, [&](const key_hash& hash, const entry_record& record) {
    ++seen;
    wrong += record != entry_of(hash.high);
    return true;
  });
  cpu = thread_seconds() - cpu_start;
  std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(seen, live);
  EXPECT_EQ(wrong, 0u);
  std::cout << when << ": " << cpu << " s of processor time, " << wall.count() << " s on the wall\n";
}

// Reads a copy of the files and keeps the best time.
void improve(double& best, const std::string& path, const char* when) {
  auto copy = path + ".copy";
  auto cpu = best;
  std::filesystem::copy(path, copy);
  read_all_timed(copy, when, cpu);
  best = std::min(best, cpu);
  std::filesystem::remove_all(copy);
}

}  // namespace

TEST(MillionEntries, AreReadAfterAKillNearlyAsFastAsAfterAStop) {
  maru::test::temp_folder folder;
  auto killed = folder / "killed", stopped = folder / "stopped";
  {
    auto store = open_rocksdb({.path = killed});
    ASSERT_TRUE(store) << store.error().message;
    fill(**store);
  }
  std::filesystem::copy(killed, stopped);
  {
    auto store = open_rocksdb({.path = stopped});
    ASSERT_TRUE(store && (*store)->flush());
  }
  auto after_kill = std::numeric_limits<double>::infinity(), after_stop = after_kill;
  for (int i = 0; i < tries_max && after_kill >= times_max * after_stop && !HasFailure(); ++i) {
    improve(after_kill, killed, "with full logs");
    improve(after_stop, stopped, "after an orderly stop");
  }
  EXPECT_LT(after_kill, times_max * after_stop);
}
