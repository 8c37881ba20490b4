// Durable key metadata: one small interface, implemented by RocksDB and by memory (for tests).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"
#include "base/uuid.hpp"

namespace maru::storage {

// What is kept of a committed key.
struct entry_record {
  std::string key;
  location where;
  std::uint64_t committed_ms = 0;  // Unix time, milliseconds
  std::string owner;               // instance id of the worker that committed it
  friend bool operator==(const entry_record&, const entry_record&) = default;
};

// Written before `hello` is answered; deleted when the session has ended.
struct session_record {
  session_id id = session_id::none;
  uuid resume_secret;
  uuid boot_id;           // of the worker's host
  std::string host;       // host id of the worker
  std::string instance;   // chosen by the worker
  std::string lock_path;  // the file whose lock proves that the worker lives; empty: none on this host
  std::uint64_t page_bytes = 0;
  std::uint64_t opened_ms = 0;
  std::vector<region_share> shown;  // every region that it was shown, in order; some may be gone since
  friend bool operator==(const session_record&, const session_record&) = default;
};

// The pool these records belong to.
// A device of the pool beyond the first.
struct device_record {
  std::uint32_t index = 0;
  uuid device;
  uuid incarnation;
  std::string spec;  // see base/device_spec.hpp
  bool draining = false;
  friend bool operator==(const device_record&, const device_record&) = default;
};

struct pool_record {
  uuid pool;
  uuid incarnation;
  std::string path;  // of its data, where it was served last; a longer one than the bound on paths is not kept
  std::vector<device_record> devices = {};
  friend bool operator==(const pool_record&, const pool_record&) = default;
};

// Changes that become durable together or not at all. Later changes of one key win.
class write_batch {
public:
  struct entry_change {
    key_hash hash;
    std::optional<entry_record> record;  // empty: delete
  };
  struct session_change {
    session_id id;
    std::optional<session_record> record;
  };

  void put_entry(const key_hash& hash, entry_record record) { entries.push_back({hash, std::move(record)}); }
  void delete_entry(const key_hash& hash) { entries.push_back({hash, std::nullopt}); }
  void put_session(session_record record) {
    auto id = record.id;
    sessions.push_back({id, std::move(record)});
  }
  void delete_session(session_id id) { sessions.push_back({id, std::nullopt}); }
  void set_pool(const pool_record& record) { pool = record; }
  bool empty() const { return entries.empty() && sessions.empty() && !pool; }

  std::vector<entry_change> entries;
  std::vector<session_change> sessions;
  std::optional<pool_record> pool;
};

// Numbers for /metrics; those a backend does not have are 0.
struct store_stats {
  std::uint64_t wal_bytes = 0;
  std::uint64_t memtable_bytes = 0;
  std::uint64_t block_cache_bytes = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t pending_compaction_bytes = 0;
  std::uint64_t level0_files = 0;
  std::uint64_t estimated_keys = 0;
  std::uint64_t slowdowns = 0, stops = 0;  // of writes, since the start
  std::uint64_t background_errors = 0;
  bool write_stalled = false;
};

// Scans visit entries by this number, and those with the same one by their high words. It spreads evenly over 64 bits, as
// hashes do: who wants a share of all entries scans a share of the numbers.
inline std::uint64_t scan_position(const key_hash& hash) { return __builtin_bswap64(hash.low); }
// The first hash at a position.
inline key_hash hash_at_position(std::uint64_t position) { return {__builtin_bswap64(position), 0}; }

// Errors: `storage_failed` when the backend refuses, `corrupt` when stored bytes do not decode.
// Threading: all members from any thread.
class metadata_store {
public:
  virtual ~metadata_store() = default;

  // Atomic. With `sync` the batch is on stable storage when this returns, else it survives the death of this process.
  virtual status write(write_batch batch, bool sync) = 0;

  virtual result<std::optional<entry_record>> entry(const key_hash& hash) const = 0;
  // Calls `visit` in the order of scan_position from `from` on, until it returns false. A record that does not decode is
  // passed to `damaged` (which may be empty) and skipped.
  virtual status scan_entries(const key_hash& from,
                              const std::function<bool(const key_hash&, const entry_record&)>& visit,
                              const std::function<void(const key_hash&)>& damaged = {}) const = 0;
  virtual result<std::vector<session_record>> sessions() const = 0;
  virtual result<std::optional<pool_record>> pool() const = 0;
  // Deletes every entry and session: the pool's contents are gone. The pool record stays.
  virtual status drop_entries() = 0;
  // Writes what is buffered, so that the next start replays little. Blocks.
  virtual status flush() = 0;
  virtual store_stats stats() const = 0;
};

struct rocksdb_options {
  std::string path;
  // Memtables take up to three times this. So do the logs that a start after a kill replays: twice the size took a
  // second more there, and writers were no faster (bench/storage_bench.cpp).
  std::uint64_t write_buffer_bytes = 16ull << 20;
  std::uint64_t block_cache_bytes = 16ull << 20;
  int background_jobs = 2;
};

// Opens or creates. `in_use`: another process has the folder open. `corrupt`: damaged; nothing was changed, the message
// names the option that starts empty. `io`/`storage_failed` otherwise.
result<std::unique_ptr<metadata_store>> open_rocksdb(const rocksdb_options& options);

// The twin for tests: same answers, nothing survives it.
std::unique_ptr<metadata_store> make_memory_store();

}  // namespace maru::storage
