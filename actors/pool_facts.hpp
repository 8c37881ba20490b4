// What a pool's devices are to RocksDB and to workers that read by themselves.
#pragma once

#include "cxl/pool.hpp"
#include "storage/metadata_store.hpp"

namespace maru::actors {

inline storage::pool_record pool_record_of(const cxl::pool& pool) {
  storage::pool_record record{pool.super().pool, pool.super().incarnation, pool.data_device().path()};
  for (const auto& d : pool.known_devices())
    record.devices.push_back({d.index, d.device, d.incarnation, to_string(d.spec), d.draining});
  return record;
}

// What the indexes are open with: another one with each start, and with each change of devices in it.
constexpr std::uint64_t index_word_of(std::uint64_t epoch, std::uint64_t changes) {
  return epoch << 24 | (changes & 0xffffff);
}

}  // namespace maru::actors
