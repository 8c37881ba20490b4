// The load: one thread per shard writes batches of about a hundred records of 100 to 200 bytes under random keys, 300
// to 600 thousand keys a second, with about as many deletes; nearly nothing is read until the next start scans all.
// bench/storage_bench.cpp measures it.
#include "storage/rocksdb_tuning.hpp"

#include <rocksdb/filter_policy.h>
#include <rocksdb/memtablerep.h>
#include <rocksdb/table.h>

#include <algorithm>

namespace maru::storage {

namespace {

// All memtables together take up to three times write_buffer_bytes. Six of half the size rather than three: where the
// flush cannot keep up, writers wait half as long for the next one, and are slowed down before they have to stop.
constexpr std::uint64_t memtables_share = 3;
constexpr int memtables_max = 6;
constexpr std::size_t record_bytes_usual = 160;  // key, value and RocksDB's own bytes of an entry in a memtable
constexpr std::size_t small_write_buffer = 1u << 20;

std::uint64_t memtable_bytes(const rocksdb_options& options) {
  return options.write_buffer_bytes * memtables_share / memtables_max;
}

rocksdb::BlockBasedTableOptions table_options(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  // Indexes and filters count against the cache; outside of it they would grow with the number of entries.
  table.cache_index_and_filter_blocks = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.block_size = 16 << 10;  // point reads are rare; fewer blocks cost flush and scan less
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  return table;
}

rocksdb::ColumnFamilyOptions entries_options(const rocksdb_options& options,
                                             const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table_options(cache)));
  // Hashes and locations do not compress, and keys are few bytes: not worth the processor time.
  family.compression = rocksdb::kNoCompression;
  family.bottommost_compression = rocksdb::kDisableCompressionOption;
  family.write_buffer_size = memtable_bytes(options);
  family.max_write_buffer_number = memtables_max;
  // A vector that is sorted when it is flushed. Inserting random keys into the usual skip list misses the processor's
  // caches at every level: 1.5 to 2 us a key on the writing thread, against 0.2 here, and the total with flush and
  // compaction is half. The price: a point read of a key that is still in the memtable sorts a copy of it (tens of
  // milliseconds). The filter below spares all other keys that, and point reads are for operators only.
  family.memtable_factory = std::make_shared<rocksdb::VectorRepFactory>(memtable_bytes(options) / record_bytes_usual);
  family.memtable_prefix_bloom_size_ratio = 0.02;
  family.memtable_whole_key_filtering = true;
  // Universal compaction rewrites a record fewer times than levels do. What it costs, up to three times the disk space
  // of the live entries for a while, is little: a million entries are 150 MB.
  family.compaction_style = rocksdb::kCompactionStyleUniversal;
  family.level0_file_num_compaction_trigger = 16;
  // Reads hardly matter, so files may pile up while a large compaction runs, rather than stop the writers.
  family.level0_slowdown_writes_trigger = 40;
  family.level0_stop_writes_trigger = 80;
  return family;
}

rocksdb::ColumnFamilyOptions small_options(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table_options(cache)));
  family.compression = rocksdb::kNoCompression;
  family.bottommost_compression = rocksdb::kDisableCompressionOption;
  family.write_buffer_size = small_write_buffer;
  family.max_write_buffer_number = 3;
  return family;
}

}  // namespace

rocksdb::DBOptions database_options(const rocksdb_options& options) {
  rocksdb::DBOptions db;
  db.max_background_jobs = options.background_jobs;

  // Memory: memtables, cache and table readers each have a bound.
  db.db_write_buffer_size = memtables_share * options.write_buffer_bytes;
  db.max_open_files = 256;

  // What a kill leaves behind. Every write reaches the kernel before write() returns (manual_wal_flush is off), so
  // the only thing a kill can tear is the last record, whose write() never returned: the tail may be dropped. Damage
  // anywhere else hits acknowledged records and must be told.
  //  - kPointInTimeRecovery (RocksDB's default) would drop everything after such damage without a word;
  //  - kAbsoluteConsistency would refuse to start after an ordinary kill;
  //  - kTolerateCorruptedTailRecords does what is wanted.
  // Its price is that log files cannot be recycled (RocksDB could not tell old records from damage). A power failure
  // that leaves garbage inside the last record, not just a short file, is reported as damage as well.
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  db.recycle_log_file_num = 0;
  db.manual_wal_flush = false;
  // A log file that was closed, and then lost, is damage too.
  db.track_and_verify_wals_in_manifest = true;
  // A family that is hardly written (sessions) must not keep old log files alive: they are replayed at the next start.
  db.max_total_wal_size = memtables_share * options.write_buffer_bytes;

  // Where writers must be slowed down, start from 400 thousand keys a second, not from a quarter of that.
  db.delayed_write_rate = 64 << 20;

  // One writer a shard: no use for parallel inserts (which the vector memtable could not do), nor for spinning on the
  // few processors that lookups need.
  db.allow_concurrent_memtable_write = false;
  db.enable_write_thread_adaptive_yield = false;

  // RocksDB's own files stay small, and it starts no threads for statistics.
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.keep_log_file_num = 3;
  db.max_log_file_size = 1 << 20;
  db.max_manifest_file_size = 4 << 20;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  return db;
}

std::shared_ptr<rocksdb::Cache> make_block_cache(const rocksdb_options& options) {
  return rocksdb::NewLRUCache(options.block_cache_bytes);
}

std::vector<rocksdb::ColumnFamilyDescriptor> column_families(const rocksdb_options& options,
                                                             const std::shared_ptr<rocksdb::Cache>& cache) {
  std::vector<rocksdb::ColumnFamilyDescriptor> families(family_count);
  families[default_family] = {rocksdb::kDefaultColumnFamilyName, small_options(cache)};
  families[entries_family] = {"entries", entries_options(options, cache)};
  families[sessions_family] = {"sessions", small_options(cache)};
  families[pool_family] = {"pool", small_options(cache)};
  return families;
}

}  // namespace maru::storage
