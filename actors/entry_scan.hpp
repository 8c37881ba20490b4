// Reads the entries that RocksDB has and finds out which of them the pool confirms: most of the time of a start.
// Operation: the key space is cut into equal ranges, which threads of their own read. Records come in the order of their
// hashes and need descriptors in no order at all: a block of them is gathered, and all its lines are asked for before the
// first is looked at.
#pragma once

#include <utility>
#include <vector>

#include "actors/environment.hpp"

namespace maru::actors {

// An entry whose page's descriptor says the same.
struct stored_entry {
  key_hash hash;
  location where;
  std::uint64_t page_bytes = 0;
  std::uint64_t committed_ms = 0;
  bool keyless = false;  // its record has no key bytes, see --rebuild
};

struct scanned_entries {
  std::vector<stored_entry> confirmed;
  std::vector<std::pair<key_hash, metrics::dropped_for>> refused;  // and why
};

// One part for each of `ranges` ranges; one after the other they are in the order of their hashes. Changes nothing.
//   corrupt, storage_failed: RocksDB cannot be read.
// REQUIRES: ranges > 0; `env.regions` is filled, and nobody writes to store or pool.
result<std::vector<scanned_entries>> scan_entries(const environment& env, std::size_t ranges);

}  // namespace maru::actors
