// The one place that names Maru's metrics. Actors call verbs; nobody else knows Prometheus.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace maru::metrics {

// Operations of the front door, the label `op`.
enum class op : std::uint8_t {
  hello,
  grant,
  give_back,
  commit,
  lookup,
  exists,
  pin,
  unpin,
  remove,
  renew,
  regions,
  show_region,
  usage,
  report,
  close
};
inline constexpr std::size_t op_count = 15;
std::string_view to_string(op o);

// Why pages were evicted, keys dropped on recovery, sessions ended: label values are given as these enums.
enum class evicted_for : std::uint8_t { reserve, request, region, operator_, damage };
enum class ended_by : std::uint8_t { close, death, lease, operator_, shutdown };
enum class dropped_for : std::uint8_t { no_region, state, generation, hash, descriptor, record, contents_lost };
enum class corruption : std::uint8_t { descriptor, superblock, region_row, record, payload };

// Gauges that one owner sets as a whole.
struct page_counts {
  std::uint64_t free = 0, granted = 0, committed = 0, evicting = 0, quarantined = 0, unassigned = 0;
};

// Threading: every member from any thread; counters are one atomic addition, histograms a few.
class registry {
public:
  registry(std::string_view version, std::string_view git_revision);
  ~registry();
  registry(const registry&) = delete;

  void lookups(std::uint64_t hits, std::uint64_t misses);          // maru_lookup_total{result}
  void puts_in_flight_add(std::int64_t n);                         // maru_puts_in_flight
  void put_seconds(ec outcome, double seconds);                    // maru_put_seconds{result}
  void commits(ec outcome, std::uint64_t n);                       // maru_commit_total{result}
  void pins_taken(std::uint64_t n);                                // maru_pin_total
  void pins(std::uint64_t now);                                    // maru_pins
  void pins_held_dead(std::uint64_t now);                          // maru_pins_held_dead
  void pages(const page_counts& now);                              // maru_pages{state}, maru_quarantined_pages
  void pool_bytes(const page_counts& bytes);                       // maru_pool_bytes{state}
  void largest_free_run(std::uint64_t bytes);                      // maru_largest_free_run_bytes
  void grant_wait(double seconds);                                 // maru_grant_wait_seconds
  void evicted(evicted_for reason, std::uint64_t n);               // maru_evicted_total{reason}
  void sessions(std::uint64_t now);                                // maru_sessions
  void session_ended(ended_by reason);                             // maru_session_ended_total{reason}
  void request(op o, double seconds);                              // maru_request_seconds{op}
  void mailbox_length(std::string_view actor, std::uint64_t now);  // maru_mailbox_length{actor}
  void recovery(double seconds, std::uint64_t entries);            // maru_recovery_seconds, maru_recovered_entries
  void recovery_dropped(dropped_for reason, std::uint64_t n);      // maru_recovery_dropped_total{reason}
  void corrupted(corruption kind, std::uint64_t n = 1);            // maru_corruption_total{kind}
  void rejected(std::string_view door, std::string_view reason);   // maru_rejected_total{door,reason}
  void server_epoch(std::uint64_t epoch);                          // maru_server_epoch
  struct rocksdb {
    std::uint64_t wal_bytes, memtable_bytes, block_cache_bytes, live_bytes, pending_compaction_bytes, estimated_keys;
    bool write_stalled;
  };
  void store(const rocksdb& now);  // maru_rocksdb_*

  // Sums of what was counted, for /status and the tests.
  std::uint64_t lookup_hits() const;
  std::uint64_t lookup_misses() const;
  std::uint64_t evicted_total() const;

  // Prometheus text exposition format 0.0.4.
  std::string text() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace maru::metrics
