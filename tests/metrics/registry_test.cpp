// Goal: every metric has the name, labels and values that DESIGN promises, and Prometheus itself accepts the text.
// Method: call each verb, then read text() as a scraper would; promtool checks the whole where it is installed.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "metrics/metrics.hpp"

using namespace maru;
using namespace maru::metrics;

namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

class RegistryTest : public testing::Test {
protected:
  registry metrics{"1.2.3", "abcdef"};

  void expect(const std::string& line) {
    auto text = metrics.text();
    EXPECT_TRUE(has_line(text, line)) << line << "\nis not in\n" << text;
  }
};

void call_every_verb(registry& m) {
  m.lookups(3, 2);
  m.puts_in_flight_add(5);
  m.put_seconds(ec::ok, 0.001);
  m.put_seconds(ec::exists, 0.001);
  m.put_seconds(ec::gone, 0.001);
  m.commits(ec::ok, 7);
  m.pins_taken(4);
  m.pins(3);
  m.pins_held_dead(1);
  m.pages({.free = 1, .granted = 2, .committed = 3, .evicting = 4, .quarantined = 5, .unassigned = 6});
  m.pool_bytes({.free = 10, .granted = 20, .committed = 30, .evicting = 40, .quarantined = 50, .unassigned = 60});
  m.largest_free_run(4096);
  m.grant_wait(0.5);
  m.evicted(evicted_for::reserve, 2);
  m.evicted(evicted_for::operator_, 3);
  m.sessions(9);
  m.session_ended(ended_by::lease);
  m.request(op::give_back, 0.002);
  m.mailbox_length("pool_manager", 12);
  m.recovery(1.5, 1000);
  m.recovery_dropped(dropped_for::hash, 2);
  m.corrupted(corruption::region_row);
  m.rejected("actor", "not_basp");
  m.server_epoch(42);
  m.store({.wal_bytes = 1,
           .memtable_bytes = 2,
           .block_cache_bytes = 3,
           .live_bytes = 4,
           .pending_compaction_bytes = 5,
           .estimated_keys = 6,
           .write_stalled = true});
}

}  // namespace

TEST_F(RegistryTest, EveryVerbSetsItsSeries) {
  call_every_verb(metrics);
  for (auto line : {
         "maru_lookup_total{result=\"hit\"} 3",
         "maru_lookup_total{result=\"miss\"} 2",
         "maru_puts_in_flight 5",
         "maru_put_seconds_count{result=\"ok\"} 1",
         "maru_put_seconds_count{result=\"exists\"} 1",
         "maru_put_seconds_count{result=\"failed\"} 1",
         "maru_commit_total{result=\"ok\"} 7",
         "maru_commit_total{result=\"gone\"} 0",
         "maru_pin_total 4",
         "maru_pins 3",
         "maru_pins_held_dead 1",
         "maru_pages{state=\"free\"} 1",
         "maru_pages{state=\"granted\"} 2",
         "maru_pages{state=\"committed\"} 3",
         "maru_pages{state=\"evicting\"} 4",
         "maru_pages{state=\"quarantined\"} 5",
         "maru_pages{state=\"unassigned\"} 6",
         "maru_quarantined_pages 5",
         "maru_pool_bytes{state=\"committed\"} 30",
         "maru_pool_bytes{state=\"unassigned\"} 60",
         "maru_largest_free_run_bytes 4096",
         "maru_grant_wait_seconds_count 1",
         "maru_evicted_total{reason=\"reserve\"} 2",
         "maru_evicted_total{reason=\"operator\"} 3",
         "maru_evicted_total{reason=\"request\"} 0",
         "maru_sessions 9",
         "maru_session_ended_total{reason=\"lease\"} 1",
         "maru_request_seconds_count{op=\"give_back\"} 1",
         "maru_request_seconds_count{op=\"close\"} 0",
         "maru_mailbox_length{actor=\"pool_manager\"} 12",
         "maru_recovery_seconds 1.5",
         "maru_recovered_entries 1000",
         "maru_recovery_dropped_total{reason=\"hash\"} 2",
         "maru_corruption_total{kind=\"region_row\"} 1",
         "maru_rejected_total{door=\"actor\",reason=\"not_basp\"} 1",
         "maru_server_epoch 42",
         "maru_rocksdb_wal_bytes 1",
         "maru_rocksdb_memtable_bytes 2",
         "maru_rocksdb_block_cache_bytes 3",
         "maru_rocksdb_live_bytes 4",
         "maru_rocksdb_pending_compaction_bytes 5",
         "maru_rocksdb_estimated_keys 6",
         "maru_rocksdb_write_stalled 1",
         "maru_build_info{revision=\"abcdef\",version=\"1.2.3\"} 1",
       })
    expect(line);
}

TEST_F(RegistryTest, EverySeriesWithAFixedLabelExistsBeforeItsFirstEvent) {
  // A series that appears only with its first event hides that event from rate().
  for (auto line : {"maru_lookup_total{result=\"hit\"} 0", "maru_evicted_total{reason=\"region\"} 0",
                    "maru_session_ended_total{reason=\"death\"} 0", "maru_recovery_dropped_total{reason=\"state\"} 0",
                    "maru_corruption_total{kind=\"record\"} 0", "maru_commit_total{result=\"bad_option\"} 0"})
    expect(line);
}

TEST_F(RegistryTest, SumsAreWhatWasCounted) {
  metrics.lookups(10, 4);
  metrics.lookups(1, 0);
  metrics.evicted(evicted_for::reserve, 2);
  metrics.evicted(evicted_for::region, 5);
  EXPECT_EQ(metrics.lookup_hits(), 11u);
  EXPECT_EQ(metrics.lookup_misses(), 4u);
  EXPECT_EQ(metrics.evicted_total(), 7u);
}

TEST_F(RegistryTest, CountsOfManyThreadsAddUp) {
  constexpr int per_thread = 20000;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < per_thread; ++i) {
        metrics.lookups(1, 2);
        metrics.puts_in_flight_add(1);
        metrics.puts_in_flight_add(-1);
        metrics.request(op::lookup, 0.0001);
        metrics.rejected("actor", "size");
      }
    });
  threads.clear();
  EXPECT_EQ(metrics.lookup_hits(), 4u * per_thread);
  EXPECT_EQ(metrics.lookup_misses(), 8u * per_thread);
  expect("maru_puts_in_flight 0");
  expect("maru_request_seconds_count{op=\"lookup\"} " + std::to_string(4 * per_thread));
  expect("maru_rejected_total{door=\"actor\",reason=\"size\"} " + std::to_string(4 * per_thread));
}

TEST_F(RegistryTest, ValuesOfALabelThatCallersChooseAreBounded) {
  for (int i = 0; i < 1000; ++i) {
    metrics.rejected("actor", "reason" + std::to_string(i));
    metrics.mailbox_length("actor" + std::to_string(i), 1);
  }
  std::istringstream text{metrics.text()};
  int rejected = 0, mailboxes = 0;
  for (std::string line; std::getline(text, line);) {
    rejected += line.starts_with("maru_rejected_total{");
    mailboxes += line.starts_with("maru_mailbox_length{");
  }
  EXPECT_EQ(rejected, 65);
  EXPECT_EQ(mailboxes, 65);
  expect("maru_rejected_total{door=\"other\",reason=\"other\"} 936");
}

TEST_F(RegistryTest, LabelValuesAreEscaped) {
  metrics.rejected("http", "a\"b\\c\nd");
  expect("maru_rejected_total{door=\"http\",reason=\"a\\\"b\\\\c\\nd\"} 1");
}

TEST_F(RegistryTest, EveryFamilyHasAHelpTextThatIsASentence) {
  call_every_verb(metrics);
  std::istringstream text{metrics.text()};
  std::set<std::string> helped;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("# HELP ")) {
      auto name = line.substr(7, line.find(' ', 7) - 7);
      helped.insert(name);
      EXPECT_GT(line.size(), 7 + name.size() + 20) << line;
      EXPECT_EQ(line.back(), '.') << line;
    }
    if (line.starts_with("# TYPE ")) {
      EXPECT_TRUE(helped.contains(line.substr(7, line.find(' ', 7) - 7))) << line;
    }
  }
  EXPECT_EQ(helped.size(), 31u);
}

TEST(OpNames, AreStable) {
  EXPECT_EQ(to_string(op::hello), "hello");
  EXPECT_EQ(to_string(op::give_back), "give_back");
  EXPECT_EQ(to_string(op::close), "close");
}

TEST_F(RegistryTest, PromtoolFindsNothingToSay) {
  if (std::system("command -v promtool > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "promtool (Debian package prometheus) is not installed";
  call_every_verb(metrics);
  std::string file = testing::TempDir() + "maru_metrics_XXXXXX";
  int fd = ::mkstemp(file.data());
  ASSERT_GE(fd, 0);
  ::close(fd);
  std::ofstream{file} << metrics.text();
  auto* pipe = ::popen(("promtool check metrics < " + file + " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string said;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, pipe))
    said += buffer;
  EXPECT_EQ(::pclose(pipe), 0) << said;
  EXPECT_EQ(said, "");
  std::filesystem::remove(file);
}
