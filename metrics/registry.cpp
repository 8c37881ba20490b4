#include <prometheus/text_serializer.h>

#include <deque>

#include "metrics/metrics.hpp"
#include "metrics/process_stats.hpp"
#include "metrics/series.hpp"

namespace maru::metrics {

namespace {

std::size_t index_of(auto enumerator) { return static_cast<std::size_t>(enumerator); }

double number(auto n) { return static_cast<double>(n); }

}  // namespace

struct registry::impl {
  impl(std::string_view version_now, std::string_view revision_now) : version(version_now), revision(revision_now) {
    for (const auto& d : table())
      all.emplace_back(d);
  }

  series& at(id which) { return all[index_of(which)]; }
  void count(id which, std::size_t index, std::uint64_t n) { at(which).count(index, n); }
  void set(id which, double value, std::size_t index = 0) { at(which).set(index, value); }

  std::string version, revision;
  std::deque<series> all;
  word_counter rejections{table()[index_of(id::rejected)]};
  word_gauge device_bytes{table()[index_of(id::device_bytes)]};
};

registry::registry(std::string_view version, std::string_view git_revision)
    : impl_(std::make_unique<impl>(version, git_revision)) {}

registry::~registry() = default;

// -- cache

void registry::lookups(std::uint64_t hits, std::uint64_t misses) {
  if (hits > 0)
    impl_->count(id::lookup, 0, hits);
  if (misses > 0)
    impl_->count(id::lookup, 1, misses);
}

void registry::puts_in_flight_add(std::int64_t n) { impl_->at(id::puts_in_flight).change(0, number(n)); }

void registry::put_seconds(ec outcome, double seconds) {
  // Of the many ways to fail none deserves a histogram of its own: maru_commit_total counts them apart.
  impl_->at(id::put_seconds).observe(outcome == ec::ok ? 0 : outcome == ec::exists ? 1 : 2, seconds);
}

void registry::commits(ec outcome, std::uint64_t n) { impl_->count(id::commit, index_of(outcome), n); }

void registry::removed(std::string_view codes) {
  std::array<std::uint64_t, 4> sums{};
  for (auto c : codes) {
    auto code = static_cast<ec>(c);
    ++sums[code == ec::ok ? 0 : code == ec::missing ? 1 : code == ec::pinned ? 2 : 3];
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    impl_->count(id::remove, i, sums[i]);
}

void registry::evicted(evicted_for reason, std::uint64_t n) { impl_->count(id::evicted, index_of(reason), n); }

void registry::entries_add(std::int64_t n, std::int64_t bytes) {
  impl_->at(id::entries).change(0, number(n));
  impl_->at(id::entry_bytes).change(0, number(bytes));
}

// -- pins

void registry::pins_taken(std::uint64_t n) { impl_->count(id::pin, 0, n); }
void registry::pins_ended(pin_ended_by reason, std::uint64_t n) { impl_->count(id::pin_ended, index_of(reason), n); }
void registry::pins(std::uint64_t now) { impl_->set(id::pins, number(now)); }
void registry::pins_held_dead(std::uint64_t now) { impl_->set(id::pins_held_dead, number(now)); }
void registry::longest_hold(double seconds) { impl_->set(id::longest_hold, seconds); }

void registry::local_keys(std::uint64_t answered, std::uint64_t asked) {
  impl_->count(id::local_keys, 0, answered);
  impl_->count(id::local_keys, 1, asked);
}

// -- memory

namespace {

// In the order of the states' names.
std::array<std::uint64_t, 7> values_of(const page_counts& now) {
  return {now.free, now.granted, now.committed, now.evicting, now.quarantined, now.retired, now.unassigned};
}

void set_all(series& states, const page_counts& now) {
  std::size_t i = 0;
  for (auto n : values_of(now))
    states.set(i++, number(n));
}

}  // namespace

void registry::pages(const page_counts& now) {
  set_all(impl_->at(id::pages), now);
  impl_->set(id::quarantined_pages, number(now.quarantined));
}

void registry::pool_bytes(const page_counts& bytes) { set_all(impl_->at(id::pool_bytes), bytes); }

void registry::largest_free_run(std::uint64_t bytes) {
  impl_->set(id::largest_free_run, number(bytes));
  const auto& states = impl_->at(id::pool_bytes);
  auto free = states.value(0) + states.value(6);
  impl_->set(id::fragmentation, free > 0 ? std::max(0.0, 1 - number(bytes) / free) : 0);
}

void registry::regions(std::uint64_t now) { impl_->set(id::regions, number(now)); }

void registry::devices(std::span<const device_bytes> now) {
  std::map<std::vector<std::string>, double> bytes;
  std::uint64_t draining = 0;
  const auto& states = table()[index_of(id::device_bytes)].labels[1].values;
  for (const auto& d : now) {
    draining += d.draining ? 1 : 0;
    auto values = values_of(d.bytes);
    for (std::size_t i = 0; i < values.size(); ++i)
      bytes[{d.path, std::string{states[i]}}] = number(values[i]);
  }
  impl_->device_bytes.set(std::move(bytes));
  impl_->set(id::devices, number(now.size() - draining), 0);
  impl_->set(id::devices, number(draining), 1);
}

void registry::devices_left_out(std::uint64_t now) { impl_->set(id::devices, number(now), 2); }
void registry::reserve_pages(std::uint64_t now) { impl_->set(id::reserve_pages, number(now)); }
void registry::reserved(std::uint64_t pages) { impl_->count(id::reserved_pages, 0, pages); }
void registry::aborted(aborted_by reason, std::uint64_t n) { impl_->count(id::aborted_pages, index_of(reason), n); }
void registry::grants_waiting(std::uint64_t now) { impl_->set(id::grants_waiting, number(now)); }
void registry::grant_wait(double seconds) { impl_->at(id::grant_wait).observe(0, seconds); }
void registry::out_of_memory(starved_by reason) { impl_->count(id::out_of_memory, index_of(reason), 1); }

// -- sessions

void registry::sessions(std::uint64_t now) { impl_->set(id::sessions, number(now)); }
void registry::sessions_connected_add(std::int64_t n) { impl_->at(id::sessions_connected).change(0, number(n)); }
void registry::session_opened() { impl_->count(id::session_opened, 0, 1); }
void registry::session_resumed() { impl_->count(id::session_resumed, 0, 1); }
void registry::session_ended(ended_by reason) { impl_->count(id::session_ended, index_of(reason), 1); }
void registry::lease_renewed() { impl_->count(id::lease_renewed, 0, 1); }
void registry::lease_expired() { impl_->count(id::lease_expired, 0, 1); }

// -- requests and actors

answer answer_of(ec code) {
  switch (code) {
    case ec::ok:
    case ec::missing:
    case ec::exists: return answer::ok;
    case ec::busy:
    case ec::stopping:
    case ec::timeout:
    case ec::unavailable: return answer::busy;
    case ec::out_of_memory:
    case ec::no_space: return answer::no_room;
    case ec::io:
    case ec::corrupt:
    case ec::memory_failed:
    case ec::storage_failed: return answer::failed;
    default: return answer::refused;
  }
}

answer answer_of(std::string_view codes) {
  auto answered = [](char c) { return answer_of(static_cast<ec>(c)) == answer::ok; };
  auto n = static_cast<std::size_t>(std::count_if(codes.begin(), codes.end(), answered));
  return n == codes.size() ? answer::ok : n > 0 ? answer::partial : answer_of(static_cast<ec>(codes[0]));
}

void registry::request(op o, answer a, std::uint64_t items, double seconds) {
  impl_->at(id::request_seconds).observe(index_of(o), seconds);
  impl_->count(id::request, index_of(o) * answer_count + index_of(a), 1);
  if (index_of(o) < batch_op_count)
    impl_->at(id::batch_items).observe(index_of(o), number(items));
}

void registry::refused(op o, ec code) {
  impl_->count(id::request, index_of(o) * answer_count + index_of(answer_of(code)), 1);
}

void registry::rejected(std::string_view door, std::string_view reason) {
  impl_->rejections.count({std::string{door}, std::string{reason}});
}

void registry::certificate_not_after(std::int64_t unix_seconds) {
  impl_->set(id::certificate_not_after, number(unix_seconds));
}
void registry::mailbox_length_add(actor a, std::int64_t n) {
  impl_->at(id::mailbox_length).change(index_of(a), number(n));
}

void registry::handled(actor a, std::chrono::nanoseconds took) {
  impl_->at(id::handler_seconds).observe(index_of(a), std::chrono::duration<double>(took).count());
}

// -- recovery and damage

void registry::recovery(double seconds, std::uint64_t entries, std::uint64_t sessions) {
  impl_->set(id::recovery_seconds, seconds);
  impl_->set(id::recovered_entries, number(entries));
  impl_->set(id::recovered_sessions, number(sessions));
}

void registry::recovery_dropped(dropped_for reason, std::uint64_t n) {
  impl_->count(id::recovery_dropped, index_of(reason), n);
}

void registry::restart_grace(bool on) { impl_->set(id::restart_grace, on ? 1 : 0); }
void registry::corrupted(corruption kind, std::uint64_t n) { impl_->count(id::corruption, index_of(kind), n); }
void registry::memory_failed(std::uint64_t pages) { impl_->count(id::memory_failures, 0, pages); }
void registry::payload_checked(checked result) { impl_->count(id::payload_check, index_of(result), 1); }

// -- RocksDB

void registry::store(const rocksdb& now) {
  impl_->set(id::rocksdb_wal_bytes, number(now.wal_bytes));
  impl_->set(id::rocksdb_memtable_bytes, number(now.memtable_bytes));
  impl_->set(id::rocksdb_block_cache_bytes, number(now.block_cache_bytes));
  impl_->set(id::rocksdb_live_bytes, number(now.live_bytes));
  impl_->set(id::rocksdb_pending_compaction_bytes, number(now.pending_compaction_bytes));
  impl_->set(id::rocksdb_level0_files, number(now.level0_files));
  impl_->set(id::rocksdb_estimated_keys, number(now.estimated_keys));
  impl_->set(id::rocksdb_write_stalled, now.write_stalled ? 1 : 0);
  impl_->at(id::rocksdb_stalls).count_to(0, now.slowdowns);
  impl_->at(id::rocksdb_stalls).count_to(1, now.stops);
  impl_->at(id::rocksdb_background_errors).count_to(0, now.background_errors);
}

void registry::store_write(bool ok, std::uint64_t items, double seconds) {
  impl_->at(id::rocksdb_write_seconds).observe(ok ? 0 : 1, seconds);
  impl_->at(id::rocksdb_write_items).observe(0, number(items));
}

// -- the process

void registry::server_epoch(std::uint64_t epoch) { impl_->set(id::server_epoch, number(epoch)); }

std::uint64_t registry::lookup_hits() const { return impl_->at(id::lookup).counted(0); }
std::uint64_t registry::lookup_misses() const { return impl_->at(id::lookup).counted(1); }

std::uint64_t registry::evicted_total() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i <= index_of(evicted_for::damage); ++i)
    sum += impl_->at(id::evicted).counted(i);
  return sum;
}

std::string registry::text() const {
  auto process = read_process_stats();
  impl_->set(id::process_start_time, process.start_seconds);
  impl_->set(id::process_resident_memory, number(process.resident_bytes));
  impl_->set(id::process_open_fds, number(process.open_fds));
  impl_->set(id::process_max_fds, number(process.max_fds));
  std::vector<prometheus::MetricFamily> families;
  for (const auto& d : table()) {
    if (d.which == id::rejected) {
      families.push_back(impl_->rejections.collect());
    } else if (d.which == id::device_bytes) {
      families.push_back(impl_->device_bytes.collect());
    } else if (d.which == id::build_info) {
      families.push_back(empty_family(d));
      auto& one = families.back().metric.emplace_back();
      one.label = {{"revision", impl_->revision}, {"version", impl_->version}};
      one.gauge.value = 1;
    } else {
      families.push_back(impl_->at(d.which).collect());
    }
  }
  return prometheus::TextSerializer{}.Serialize(families);
}

}  // namespace maru::metrics
