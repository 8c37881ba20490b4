// How Maru sets RocksDB up. Private to this folder: nobody else sees a RocksDB type.
#pragma once

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>

#include <memory>
#include <vector>

#include "storage/metadata_store.hpp"

namespace maru::storage {

// Order of the column families in every list of descriptors and handles. RocksDB demands the default one, which
// stays empty.
enum family : std::size_t { default_family, entries_family, sessions_family, pool_family, family_count };

rocksdb::DBOptions database_options(const rocksdb_options& options);

// One cache for all families, so that its size bounds the whole store.
std::shared_ptr<rocksdb::Cache> make_block_cache(const rocksdb_options& options);

std::vector<rocksdb::ColumnFamilyDescriptor> column_families(const rocksdb_options& options,
                                                             const std::shared_ptr<rocksdb::Cache>& cache);

}  // namespace maru::storage
