// What marud knows when it starts: the index, the page table and the sessions, made from RocksDB and the pool's
// descriptors. An entry is kept when both agree; everything else becomes free, granted again, or quarantined.
#pragma once

#include <chrono>
#include <memory>
#include <unordered_set>
#include <vector>

#include "actors/environment.hpp"
#include "actors/index.hpp"
#include "actors/page_table.hpp"
#include "actors/shown_regions.hpp"
#include "storage/metadata_store.hpp"

namespace maru::actors {

// A session of before the restart and the pages that were granted to it.
struct recovered_session {
  storage::session_record record;
  std::vector<page_grant> granted;
};

struct recovered_state {
  std::shared_ptr<page_table> table;
  shown_regions shown;
  std::vector<std::shared_ptr<index>> shards;  // with pages detached that views of before may hold
  std::vector<recovered_session> sessions;
  // One a shard: entries whose key bytes are not known, see --rebuild.
  std::vector<std::unordered_set<key_hash>> keyless;
  std::vector<page_ref> held;  // quarantined: damaged descriptors, while sessions of before may still write
  std::uint64_t entries = 0;
  std::uint64_t dropped = 0;
  double seconds = 0;
};

// RocksDB knows nothing of a pool that holds so many pages in use: its state is lost, and only the operator may give the rest up.
//   unknown_contents: where neither --rebuild nor --on-damage=start-empty says how to go on.
status refuse_unknown(const marud_options& o, std::uint64_t used);

// With --rebuild a pool that RocksDB knows nothing of gets its records from the descriptors: all but the keys' bytes.
// Reads and repairs; fills `env.regions`. Drops all entries with one clear line when the pool's contents are lost.
// Killed half-way it starts over from a state that is as good.
//   unknown_contents: the pool holds pages and RocksDB knows nothing of it (its state is lost), unless
//   --rebuild or --on-damage=start-empty. storage_failed, corrupt: RocksDB cannot be read.
// `begun`: when the start began; what the log and the metrics call the time of the recovery counts from there.
result<recovered_state> recover(const environment& env, bool store_knows_pool,
                                std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now());

}  // namespace maru::actors
