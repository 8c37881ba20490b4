// What is counted, as verbs: actors call them, nobody else knows Prometheus. The names are in table.cpp.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace maru::metrics {

// Operations of the front door, the label `op`. Those before `hello` name several keys or pages in one request.
enum class op : std::uint8_t {
  grant,
  give_back,
  commit,
  lookup,
  exists,
  pin,
  unpin,
  remove,
  regions,
  report,
  hello,
  renew,
  show_region,
  usage,
  attach,
  close
};
inline constexpr std::size_t op_count = 16;
inline constexpr std::size_t batch_op_count = static_cast<std::size_t>(op::hello);
std::string_view to_string(op o);

// What became of a request as a whole.
enum class answer : std::uint8_t { ok, partial, busy, no_room, refused, failed };
inline constexpr std::size_t answer_count = 6;
answer answer_of(ec code);
// Of a batch, from the codes of its items (one byte each). A key that is missing, or there already, has its answer.
answer answer_of(std::string_view codes);

enum class actor : std::uint8_t {
  door,
  session,
  pool_manager,
  region_preparer,
  index_shard,
  store_worker,
  pin_ledger,
  admin
};
inline constexpr std::size_t actor_count = 8;

// Why pages were evicted, keys dropped on recovery, sessions ended: label values are given as these enums.
enum class evicted_for : std::uint8_t { reserve, request, region, operator_, damage };
enum class ended_by : std::uint8_t { close, death, lease, operator_, shutdown };
enum class dropped_for : std::uint8_t { no_region, state, generation, hash, descriptor, record, contents_lost };
enum class corruption : std::uint8_t { descriptor, superblock, region_row, record, payload, bucket };
enum class checked : std::uint8_t { intact, damaged, gone, unreadable };
enum class aborted_by : std::uint8_t { given_back, session_end };
enum class pin_ended_by : std::uint8_t { unpin, session_end };
enum class starved_by : std::uint8_t { pool_full, no_space, grace };

// Gauges that one owner sets as a whole.
struct page_counts {
  std::uint64_t free = 0, granted = 0, committed = 0, evicting = 0, quarantined = 0, retired = 0, unassigned = 0;
};

struct device_bytes {
  std::string path;
  bool draining = false;
  page_counts bytes;
};

// Threading: every member from any thread, none takes a lock but `rejected`, `devices` and `text`; counters are one atomic addition,
// histograms two.
class registry {
public:
  registry(std::string_view version, std::string_view git_revision);
  ~registry();
  registry(const registry&) = delete;

  void lookups(std::uint64_t hits, std::uint64_t misses);
  void puts_in_flight_add(std::int64_t n);
  void put_seconds(ec outcome, double seconds);
  void commits(ec outcome, std::uint64_t n);
  void removed(std::string_view codes);  // a byte a key
  void evicted(evicted_for reason, std::uint64_t n);
  void entries_add(std::int64_t n, std::int64_t bytes);

  void pins_taken(std::uint64_t n);
  void pins_ended(pin_ended_by reason, std::uint64_t n);
  void pins(std::uint64_t now);
  void pins_held_dead(std::uint64_t now);
  void longest_hold(double seconds);
  // Of the keys that workers looked up in the pool themselves: how many that answered, how many had to be asked for.
  void local_keys(std::uint64_t answered, std::uint64_t asked);

  void pages(const page_counts& now);
  void pool_bytes(const page_counts& bytes);
  void largest_free_run(std::uint64_t bytes);  // after pool_bytes: the fragmentation is made of both
  void regions(std::uint64_t now);
  void devices(std::span<const device_bytes> now);
  void devices_left_out(std::uint64_t now);
  void reserve_pages(std::uint64_t now);
  void reserved(std::uint64_t pages);
  void aborted(aborted_by reason, std::uint64_t pages);
  void grants_waiting(std::uint64_t now);
  void grant_wait(double seconds);
  void out_of_memory(starved_by reason);

  void sessions(std::uint64_t now);
  void sessions_connected_add(std::int64_t n);
  void session_opened();
  void session_resumed();
  void session_ended(ended_by reason);
  void lease_renewed();
  void lease_expired();

  // `items`: the keys or pages that the request named; counted for operations on batches only.
  void request(op o, answer a, std::uint64_t items, double seconds);
  void refused(op o, ec code);  // before anything was done for it
  void rejected(std::string_view door, std::string_view reason);
  void certificate_not_after(std::int64_t unix_seconds);
  void mailbox_length_add(actor a, std::int64_t n);
  void handled(actor a, std::chrono::nanoseconds took);

  void recovery(double seconds, std::uint64_t entries, std::uint64_t sessions);
  void recovery_dropped(dropped_for reason, std::uint64_t n);
  void restart_grace(bool on);
  void corrupted(corruption kind, std::uint64_t n = 1);
  void payload_checked(checked result);
  void memory_failed(std::uint64_t pages);

  struct rocksdb {
    std::uint64_t wal_bytes, memtable_bytes, block_cache_bytes, live_bytes, pending_compaction_bytes, level0_files,
      estimated_keys, slowdowns, stops, background_errors;
    bool write_stalled;
  };
  void store(const rocksdb& now);
  void store_write(bool ok, std::uint64_t items, double seconds);
  void server_epoch(std::uint64_t epoch);

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
