// Every metric by name: the one table that the registry registers from and docs/metrics.md is made of.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace maru::metrics {

// In the order of the table.
enum class id : std::uint8_t {
  lookup,
  commit,
  puts_in_flight,
  put_seconds,
  remove,
  evicted,
  entries,
  entry_bytes,
  pins,
  pins_held_dead,
  longest_hold,
  local_keys,
  pin,
  pin_ended,
  pages,
  pool_bytes,
  quarantined_pages,
  largest_free_run,
  fragmentation,
  regions,
  devices,
  device_bytes,
  reserve_pages,
  reserved_pages,
  aborted_pages,
  grants_waiting,
  grant_wait,
  out_of_memory,
  sessions,
  sessions_connected,
  session_opened,
  session_resumed,
  session_ended,
  lease_renewed,
  lease_expired,
  request_seconds,
  request,
  batch_items,
  rejected,
  certificate_not_after,
  mailbox_length,
  handler_seconds,
  recovery_seconds,
  recovered_entries,
  recovered_sessions,
  recovery_dropped,
  restart_grace,
  corruption,
  payload_check,
  memory_failures,
  rocksdb_wal_bytes,
  rocksdb_memtable_bytes,
  rocksdb_block_cache_bytes,
  rocksdb_live_bytes,
  rocksdb_pending_compaction_bytes,
  rocksdb_level0_files,
  rocksdb_estimated_keys,
  rocksdb_write_stalled,
  rocksdb_stalls,
  rocksdb_background_errors,
  rocksdb_write_seconds,
  rocksdb_write_items,
  build_info,
  server_epoch,
  process_start_time,
  process_resident_memory,
  process_open_fds,
  process_max_fds,
  last_ = process_max_fds,
};
inline constexpr std::size_t id_count = static_cast<std::size_t>(id::last_) + 1;

enum class kind : std::uint8_t { counter, gauge, histogram };
std::string_view to_string(kind k);

// A label and all its values, in the order of the enumeration that the registry's verbs take. No values: words of the
// caller, of which the registry takes a bounded number.
struct label {
  std::string_view name;
  std::span<const std::string_view> values;
};

struct definition {
  id which;
  kind type;
  std::string_view theme;  // the section of docs/metrics.md
  std::string_view name;
  std::string_view unit;
  std::string_view help;  // a sentence
  std::vector<label> labels;
  std::span<const double> buckets;  // of a histogram

  // Series that exist from the start: one for each combination of label values; 0 where values are words of the caller.
  std::size_t series() const;
};

// In the order of `id`.
const std::vector<definition>& table();

// docs/metrics.md as it must be.
std::string markdown();

}  // namespace maru::metrics
