// Goal: every metric has the name, labels and values that DESIGN promises, Prometheus itself accepts the text, and the
// documents say the same. Method: call each verb, then read text() as a scraper would; promtool checks the whole, from
// scripts/prometheus' folder or where it is installed.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "metrics/metrics.hpp"
#include "metrics/table.hpp"

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
  m.removed(std::string{static_cast<char>(ec::ok), static_cast<char>(ec::pinned), static_cast<char>(ec::ok)});
  m.entries_add(5, 500);
  m.entries_add(-2, -200);
  m.pins_taken(4);
  m.pins_ended(pin_ended_by::unpin, 3);
  m.pins_ended(pin_ended_by::session_end, 1);
  m.pins(3);
  m.pins_held_dead(1);
  m.pages({.free = 1, .granted = 2, .committed = 3, .evicting = 4, .quarantined = 5, .retired = 7, .unassigned = 6});
  m.pool_bytes(
    {.free = 10, .granted = 20, .committed = 30, .evicting = 40, .quarantined = 50, .retired = 70, .unassigned = 60});
  m.largest_free_run(35);
  m.regions(8);
  m.reserve_pages(7);
  m.reserved(11);
  m.aborted(aborted_by::given_back, 2);
  m.grants_waiting(6);
  m.out_of_memory(starved_by::no_space);
  m.grant_wait(0.5);
  m.evicted(evicted_for::reserve, 2);
  m.evicted(evicted_for::operator_, 3);
  m.sessions(9);
  m.sessions_connected_add(8);
  m.sessions_connected_add(-1);
  m.session_opened();
  m.session_resumed();
  m.lease_renewed();
  m.lease_expired();
  m.session_ended(ended_by::lease);
  m.request(op::give_back, answer::partial, 3, 0.002);
  m.request(op::renew, answer::ok, 1, 0.002);
  m.refused(op::lookup, ec::too_large);
  m.mailbox_length_add(actor::pool_manager, 12);
  m.mailbox_length_add(actor::pool_manager, -2);
  m.handled(actor::session, std::chrono::microseconds{3});
  m.recovery(1.5, 1000, 3);
  m.restart_grace(true);
  m.payload_checked(checked::damaged);
  m.memory_failed(2);
  m.devices(std::vector<device_bytes>{{"/dev/dax0.0", false, {.free = 5, .unassigned = 7}}, {"/pool", true, {}}});
  m.devices_left_out(3);
  m.store_write(false, 64, 0.25);
  m.recovery_dropped(dropped_for::hash, 2);
  m.corrupted(corruption::region_row);
  m.rejected("actor", "not_basp");
  m.server_epoch(42);
  m.store({.wal_bytes = 1,
           .memtable_bytes = 2,
           .block_cache_bytes = 3,
           .live_bytes = 4,
           .pending_compaction_bytes = 5,
           .level0_files = 7,
           .estimated_keys = 6,
           .slowdowns = 8,
           .stops = 9,
           .background_errors = 10,
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
         "maru_pages{state=\"retired\"} 7",
         "maru_pages{state=\"unassigned\"} 6",
         "maru_quarantined_pages 5",
         "maru_pool_bytes{state=\"committed\"} 30",
         "maru_pool_bytes{state=\"unassigned\"} 60",
         "maru_largest_free_run_bytes 35",
         "maru_fragmentation_ratio 0.5",
         "maru_regions 8",
         "maru_reserve_pages 7",
         "maru_reserved_pages_total 11",
         "maru_aborted_pages_total{reason=\"given_back\"} 2",
         "maru_grants_waiting 6",
         "maru_out_of_memory_total{reason=\"no_space\"} 1",
         "maru_remove_total{result=\"removed\"} 2",
         "maru_remove_total{result=\"pinned\"} 1",
         "maru_entries 3",
         "maru_entry_bytes 300",
         "maru_pin_ended_total{reason=\"unpin\"} 3",
         "maru_pin_ended_total{reason=\"session_end\"} 1",
         "maru_sessions_connected 7",
         "maru_session_opened_total 1",
         "maru_session_resumed_total 1",
         "maru_lease_renewed_total 1",
         "maru_lease_expired_total 1",
         "maru_grant_wait_seconds_count 1",
         "maru_evicted_total{reason=\"reserve\"} 2",
         "maru_evicted_total{reason=\"operator\"} 3",
         "maru_evicted_total{reason=\"request\"} 0",
         "maru_sessions 9",
         "maru_session_ended_total{reason=\"lease\"} 1",
         "maru_request_seconds_count{op=\"give_back\"} 1",
         "maru_request_seconds_count{op=\"close\"} 0",
         "maru_request_seconds_sum{op=\"give_back\"} 0.002",
         "maru_request_seconds_bucket{op=\"give_back\",le=\"0.001\"} 0",
         "maru_request_seconds_bucket{op=\"give_back\",le=\"0.0025\"} 1",
         "maru_request_seconds_bucket{op=\"give_back\",le=\"+Inf\"} 1",
         "maru_request_total{op=\"give_back\",result=\"partial\"} 1",
         "maru_request_total{op=\"lookup\",result=\"refused\"} 1",
         "maru_request_total{op=\"close\",result=\"failed\"} 0",
         "maru_batch_items_sum{op=\"give_back\"} 3",
         "maru_batch_items_bucket{op=\"give_back\",le=\"2\"} 0",
         "maru_batch_items_bucket{op=\"give_back\",le=\"4\"} 1",
         "maru_mailbox_length{actor=\"pool_manager\"} 10",
         "maru_handler_seconds_count{actor=\"session\"} 1",
         "maru_handler_seconds_sum{actor=\"session\"} 3e-06",
         "maru_recovery_seconds 1.5",
         "maru_recovered_entries 1000",
         "maru_recovered_sessions 3",
         "maru_restart_grace 1",
         "maru_payload_check_total{result=\"damaged\"} 1",
         "maru_memory_failures_total 2",
         "maru_devices{state=\"serving\"} 1",
         "maru_devices{state=\"draining\"} 1",
         "maru_devices{state=\"left_out\"} 3",
         "maru_device_bytes{device=\"/dev/dax0.0\",state=\"free\"} 5",
         "maru_device_bytes{device=\"/dev/dax0.0\",state=\"unassigned\"} 7",
         "maru_device_bytes{device=\"/pool\",state=\"committed\"} 0",
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
         "maru_rocksdb_level0_files 7",
         "maru_rocksdb_stalls_total{kind=\"slowdown\"} 8",
         "maru_rocksdb_stalls_total{kind=\"stop\"} 9",
         "maru_rocksdb_background_errors_total 10",
         "maru_rocksdb_write_seconds_sum{result=\"failed\"} 0.25",
         "maru_rocksdb_write_items_sum 64",
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

TEST_F(RegistryTest, ADeviceThatIsRemovedHasNoSeriesLeft) {
  metrics.devices(std::vector<device_bytes>{{"/a", false, {}}, {"/b", false, {}}});
  metrics.devices(std::vector<device_bytes>{{"/a", false, {}}});
  EXPECT_NE(metrics.text().find("device=\"/a\""), std::string::npos);
  EXPECT_EQ(metrics.text().find("device=\"/b\""), std::string::npos);
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
        metrics.request(op::lookup, answer::ok, 4096, 0.0001);
        metrics.mailbox_length_add(actor::session, 1);
        metrics.mailbox_length_add(actor::session, -1);
        metrics.rejected("actor", "size");
      }
    });
  threads.clear();
  EXPECT_EQ(metrics.lookup_hits(), 4u * per_thread);
  EXPECT_EQ(metrics.lookup_misses(), 8u * per_thread);
  expect("maru_puts_in_flight 0");
  expect("maru_mailbox_length{actor=\"session\"} 0");
  expect("maru_batch_items_sum{op=\"lookup\"} 327680000");
  expect("maru_request_seconds_count{op=\"lookup\"} " + std::to_string(4 * per_thread));
  expect("maru_rejected_total{door=\"actor\",reason=\"size\"} " + std::to_string(4 * per_thread));
}

// CPU time: other programs do not count.
TEST_F(RegistryTest, CountingCostsLittleAlsoWhileSomebodyReads) {
  auto cpu_ns = [this] {
    constexpr int requests = 200000;
    auto now = [] {
      timespec t{};
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
    };
    auto since = now();
    for (int i = 0; i < requests; ++i) {
      metrics.lookups(1, 0);
      metrics.request(op::lookup, answer::ok, 1, 0.0001);
      metrics.handled(actor::session, std::chrono::microseconds{3});
    }
    return (now() - since) / requests;
  };
  auto alone = cpu_ns();
  std::jthread reader{[this](std::stop_token stop) {
    while (!stop.stop_requested())
      metrics.text();
  }};
  auto read = cpu_ns();
  std::cout << "what is counted for a lookup takes " << alone << " ns, " << read << " ns while it is read\n";
  EXPECT_LT(alone, 5000);
  EXPECT_LT(read, 3 * alone + 1000);
}

TEST_F(RegistryTest, ValuesOfALabelThatCallersChooseAreBounded) {
  for (int i = 0; i < 1000; ++i)
    metrics.rejected("actor", "reason" + std::to_string(i));
  std::istringstream text{metrics.text()};
  int rejected = 0;
  for (std::string line; std::getline(text, line);)
    rejected += line.starts_with("maru_rejected_total{");
  EXPECT_EQ(rejected, 65);
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
  EXPECT_EQ(helped.size(), table().size());
}

TEST(Table, IsInTheOrderOfItsIds) {
  ASSERT_EQ(table().size(), id_count);
  for (std::size_t i = 0; i < id_count; ++i)
    EXPECT_EQ(static_cast<std::size_t>(table()[i].which), i) << table()[i].name;
}

TEST(Table, NamesFollowPrometheus) {
  std::set<std::string_view> names;
  for (const auto& d : table()) {
    EXPECT_TRUE(names.insert(d.name).second) << d.name;
    EXPECT_EQ(d.name.ends_with("_total"), d.type == kind::counter) << d.name;
    EXPECT_EQ(d.buckets.empty(), d.type != kind::histogram) << d.name;
    EXPECT_TRUE(std::is_sorted(d.buckets.begin(), d.buckets.end())) << d.name;
    bool named = d.unit == "bytes" || d.unit == "seconds" || d.unit == "ratio";
    EXPECT_TRUE(!named || d.name.ends_with("_" + std::string{d.unit})) << d.name;
  }
}

TEST(Table, IsWhatTheDocumentSays) {
  std::ifstream in{MARU_SOURCE_DIR "/docs/metrics.md"};
  std::stringstream document;
  document << in.rdbuf();
  EXPECT_TRUE(document.str() == markdown()) << "run: build/release/bin/metrics_table > docs/metrics.md";
}

TEST(Answers, OfABatchAreOkPartialOrWhatTheFirstItemSays) {
  auto codes = [](std::initializer_list<ec> list) {
    std::string out;
    for (auto code : list)
      out.push_back(static_cast<char>(code));
    return out;
  };
  EXPECT_EQ(answer_of(std::string_view{}), answer::ok);
  EXPECT_EQ(answer_of(codes({ec::ok, ec::missing, ec::exists})), answer::ok);
  EXPECT_EQ(answer_of(codes({ec::pinned, ec::ok})), answer::partial);
  EXPECT_EQ(answer_of(codes({ec::storage_failed, ec::busy})), answer::failed);
  EXPECT_EQ(answer_of(codes({ec::busy})), answer::busy);
  EXPECT_EQ(answer_of(ec::no_space), answer::no_room);
  EXPECT_EQ(answer_of(ec::session_over), answer::refused);
}

TEST(OpNames, AreStable) {
  EXPECT_EQ(to_string(op::hello), "hello");
  EXPECT_EQ(to_string(op::give_back), "give_back");
  EXPECT_EQ(to_string(op::close), "close");
}

TEST_F(RegistryTest, PromtoolFindsNothingToSay) {
  std::string promtool = MARU_SOURCE_DIR "/build/prometheus/usr/bin/promtool";
  if (!std::filesystem::exists(promtool))
    promtool = "promtool";
  if (std::system(("command -v " + promtool + " > /dev/null 2>&1").c_str()) != 0)
    GTEST_SKIP() << "there is no promtool: scripts/prometheus fetches it";
  call_every_verb(metrics);
  std::string file = testing::TempDir() + "maru_metrics_XXXXXX";
  int fd = ::mkstemp(file.data());
  ASSERT_GE(fd, 0);
  ::close(fd);
  std::ofstream{file} << metrics.text();
  auto* pipe = ::popen((promtool + " check metrics < " + file + " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string said;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, pipe))
    said += buffer;
  EXPECT_EQ(::pclose(pipe), 0) << said;
  EXPECT_EQ(said, "");
  std::filesystem::remove(file);
}
