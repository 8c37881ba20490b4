// What every actor of one marud is given: the pool, the store, the metrics, the options. Shared, and thread-safe as the
// parts say.
#pragma once

#include <algorithm>
#include <atomic>
#include <caf/all.hpp>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "actors/accepted_tokens.hpp"
#include "actors/region_directory.hpp"
#include "actors/session_tables.hpp"
#include "base/log.hpp"
#include "base/options.hpp"
#include "cxl/pool.hpp"
#include "metrics/metrics.hpp"
#include "net/protocol.hpp"
#include "storage/metadata_store.hpp"

namespace maru::actors {

// Milliseconds since 1970.
inline std::uint64_t system_unix_ms() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
}

struct environment {
  marud_options options;
  std::size_t shards = 1;
  std::shared_ptr<accepted_tokens> tokens = std::make_shared<accepted_tokens>();  // of the door
  std::string lock_dir;                                                           // of the sessions' locks
  bool durability_host = false;
  net::payload_checksums checksums = net::payload_checksums::off;
  std::shared_ptr<cxl::pool> pool;
  std::shared_ptr<region_directory> regions;
  std::shared_ptr<session_tables> tables = std::make_shared<session_tables>();
  uuid index_nonce;  // of the indexes in the pool, made by each start
  // What workers have to know to use those, see shared_index: another one with each start and each change of devices.
  std::shared_ptr<std::atomic<std::uint64_t>> index_word = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::shared_ptr<storage::metadata_store> store;
  std::shared_ptr<metrics::registry> metrics;
  // The time that records carry; tests have their own. Waiting is done by the actor clock.
  std::function<std::uint64_t()> unix_ms = system_unix_ms;
  // Sessions whose worker is connected. Each counts itself.
  std::shared_ptr<std::atomic<std::int64_t>> connected = std::make_shared<std::atomic<std::int64_t>>(0);
  // net::admit and net::peer_at; empty where there is no transport.
  std::function<void(const caf::node_id&)> admit;
  std::function<std::string(const caf::node_id&)> peer_at;
  std::optional<gid_t> pool_group;  // of the pool's and the sessions' files
  // Set once, when marud begins to stop: sessions refuse new requests, those in flight finish.
  std::shared_ptr<std::atomic<bool>> stopping = std::make_shared<std::atomic<bool>>(false);

  // Not before a worker's own lease is over: until then it hands out what it has pinned.
  std::uint32_t resume_grace_ms() const { return std::max(options.resume_grace_ms, options.lease_ms); }
  // What /metrics shows. RocksDB is asked when somebody looks, not before.
  std::string metrics_text() const {
    auto s = store->stats();
    metrics->store({s.wal_bytes, s.memtable_bytes, s.block_cache_bytes, s.live_bytes, s.pending_compaction_bytes,
                    s.level0_files, s.estimated_keys, s.slowdowns, s.stops, s.background_errors, s.write_stalled});
    return metrics->text();
  }
  // Slot of a page's descriptor; empty for a page that does not exist.
  std::optional<std::uint64_t> slot_of(page_ref page) const { return regions->slot_of(page, pool->slot_bytes()); }
};
using environment_ptr = std::shared_ptr<const environment>;

// An event of the log that is about a session. Lives no longer than the record.
inline log::event about(const char* name, const storage::session_record& session) {
  return {name, value_of(session.id), session.instance};
}

// The shard that owns a hash. The high word, since the index takes its buckets from the low one.
inline std::size_t shard_of(const key_hash& hash, std::size_t shards) { return hash.high % shards; }

// What nobody expects is dropped and counted. A handler that throws (they do not, but memory may run out) ends marud:
// CAF would end that actor alone, in the middle of a change, and what is left would answer nobody. A start recovers
// every acknowledged entry.
template <class Self>
void harden(Self* self, const environment_ptr& env, const char* name) {
  self->set_exception_handler([name](std::exception_ptr& e) -> caf::error {
    try {
      std::rethrow_exception(e);
    } catch (const std::exception& x) {
      log::error("actor_failed", "{} failed, marud ends: {}", name, x.what());
    } catch (...) {
      log::error("actor_failed", "{} failed, marud ends", name);
    }
    std::abort();
  });
  self->set_default_handler([env, name](caf::scheduled_actor*, const caf::message_view&) -> caf::result<caf::message> {
    env->metrics->rejected(name, "unexpected");
    return caf::make_error(caf::sec::unexpected_message);
  });
}

}  // namespace maru::actors
