#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/iterator.h>
#include <rocksdb/write_batch.h>

#include <filesystem>
#include <utility>

#include "storage/metadata_store.hpp"
#include "storage/records.hpp"
#include "storage/rocksdb_tuning.hpp"

namespace maru::storage {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t change_bytes_usual = 192;  // of a put in a write batch, for its first allocation
constexpr std::size_t scan_readahead = 2u << 20;
const std::string pool_key = "pool";

rocksdb::Slice slice(const auto& key) { return {key.data(), key.size()}; }

error failed(const std::string& what, const rocksdb::Status& cause) {
  auto code = ec::storage_failed;
  if (cause.IsCorruption())
    code = ec::corrupt;
  else if (cause.IsNoSpace())
    code = ec::no_space;
  return {code, "failed to " + what + ": " + cause.ToString()};
}

// What it is: metadata_store over one RocksDB database.
// Operation: a thin translation; every option is in rocksdb_tuning.cpp.
// Concurrency: any thread; RocksDB groups writes that come at the same time.
// Limits: a point read of a key that was written a moment ago is slow (see the memtable in rocksdb_tuning.cpp); only
// operators' commands do that.
class rocksdb_store final : public metadata_store {
public:
  rocksdb_store(std::string path, std::unique_ptr<rocksdb::DB> db, std::vector<rocksdb::ColumnFamilyHandle*> families)
      : path_(std::move(path)), db_(std::move(db)), families_(std::move(families)) {}

  ~rocksdb_store() override {
    for (auto* family : families_)
      db_->DestroyColumnFamilyHandle(family);
    // What is not flushed is in the write-ahead log, and the log in the kernel: an error here loses nothing.
    db_->Close();
  }

  status write(write_batch batch, bool sync) override {
    rocksdb::WriteBatch out{batch.entries.size() * change_bytes_usual};
    std::string bytes;
    for (auto& change : batch.entries)
      if (auto s = add(out, entries_family, slice(entry_key(change.hash)), change.record, bytes); !s)
        return s;
    for (auto& change : batch.sessions)
      if (auto s = add(out, sessions_family, slice(session_key(change.id)), change.record, bytes); !s)
        return s;
    if (batch.pool)
      if (auto s = out.Put(families_[pool_family], pool_key, encode(*batch.pool)); !s.ok())
        return failed("write pool record", s);
    rocksdb::WriteOptions options;
    options.sync = sync;
    if (auto s = db_->Write(options, &out); !s.ok())
      return failed("write metadata", s);
    return {};
  }

  result<std::optional<entry_record>> entry(const key_hash& hash) const override {
    auto key = entry_key(hash);
    return get(entries_family, slice(key), "read entry " + to_string(hash), decode_entry);
  }

  status scan_entries(const key_hash& from, const std::function<bool(const key_hash&, const entry_record&)>& visit,
                      const std::function<void(const key_hash&)>& damaged) const override {
    auto rows = iterate(entries_family);
    auto first = entry_key(from);
    for (rows->Seek(slice(first)); rows->Valid(); rows->Next()) {
      auto hash = parse_entry_key(rows->key().ToStringView());
      if (!hash)
        return {ec::corrupt, "failed to scan entries: a key of " + std::to_string(rows->key().size()) + " bytes"};
      if (auto record = decode_entry(rows->value().ToStringView()); !record) {
        if (damaged)
          damaged(*hash);
      } else if (!visit(*hash, *record)) {
        break;
      }
    }
    return status_of(*rows, "scan entries");
  }

  result<std::vector<session_record>> sessions() const override {
    std::vector<session_record> out;
    auto rows = iterate(sessions_family);
    for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
      auto record = decode_session(rows->value().ToStringView());
      if (!record)
        return record.error();
      out.push_back(*std::move(record));
    }
    if (auto s = status_of(*rows, "read sessions"); !s)
      return s.error();
    return out;
  }

  result<std::optional<pool_record>> pool() const override {
    return get(pool_family, pool_key, "read pool record", decode_pool);
  }

  status drop_entries() override {
    // One batch of range deletions, so that a kill leaves all or nothing. Above every key: one byte longer, all ones.
    rocksdb::WriteBatch out;
    for (auto [family, key_size] : {std::pair{entries_family, 16}, std::pair{sessions_family, 8}})
      if (auto s = out.DeleteRange(families_[family], rocksdb::Slice{}, std::string(key_size + 1, '\xff')); !s.ok())
        return failed("drop entries", s);
    rocksdb::WriteOptions options;
    options.sync = true;
    if (auto s = db_->Write(options, &out); !s.ok())
      return failed("drop entries", s);
    return {};
  }

  status flush() override {
    if (auto s = db_->Flush(rocksdb::FlushOptions{}, families_); !s.ok())
      return failed("flush metadata", s);
    return {};
  }

  store_stats stats() const override {
    using properties = rocksdb::DB::Properties;
    store_stats out;
    out.wal_bytes = log_bytes();
    out.memtable_bytes = sum(properties::kSizeAllMemTables);
    out.live_bytes = sum(properties::kLiveSstFilesSize);
    std::uint64_t value = 0;
    if (db_->GetIntProperty(families_[entries_family], properties::kEstimateNumKeys, &value))
      out.estimated_keys = value;
    if (db_->GetIntProperty(properties::kBlockCacheUsage, &value))  // of all families: they share one
      out.block_cache_bytes = value;
    if (db_->GetIntProperty(properties::kIsWriteStopped, &value))
      out.write_stalled = value != 0;
    if (db_->GetIntProperty(properties::kActualDelayedWriteRate, &value))
      out.write_stalled |= value != 0;
    if (db_->GetIntProperty(properties::kBackgroundErrors, &value))
      out.background_errors = value;
    for (auto* family : families_)
      add_family_stats(family, out);
    return out;
  }

private:
  // Level 0 and stalls are counted by family.
  void add_family_stats(rocksdb::ColumnFamilyHandle* family, store_stats& out) const {
    std::map<std::string, std::string> facts;
    db_->GetMapProperty(family, rocksdb::DB::Properties::kCFStats, &facts);
    std::map<std::string, std::string> stalls;  // since RocksDB 8
    db_->GetMapProperty(family, "rocksdb.cf-write-stall-stats", &stalls);
    facts.merge(stalls);
    auto count = [&](const char* name) { return std::strtoull(facts[name].c_str(), nullptr, 10); };
    std::string files;
    std::uint64_t at_level0 = 0;
    if (db_->GetProperty(family, rocksdb::DB::Properties::kNumFilesAtLevelPrefix + "0", &files))
      at_level0 = std::stoull(files);
    out.level0_files += at_level0;
    // RocksDB estimates the debt of levels only. With universal compaction it is what lies at level 0 once there are
    // as many files as start one.
    if (at_level0 >= static_cast<std::uint64_t>(db_->GetOptions(family).level0_file_num_compaction_trigger))
      out.pending_compaction_bytes += count("compaction.L0.SizeBytes");
    out.slowdowns += std::max(count("io_stalls.total_slowdown"), count("total-delays"));
    out.stops += std::max(count("io_stalls.total_stop"), count("total-stops"));
  }

  template <class Record>
  status add(rocksdb::WriteBatch& out, family where, const rocksdb::Slice& key, const std::optional<Record>& record,
             std::string& bytes) {
    if (record)
      if (auto s = encode(*record, bytes); !s)
        return s;
    auto s = record ? out.Put(families_[where], key, bytes) : out.Delete(families_[where], key);
    if (!s.ok())
      return failed("write metadata", s);
    return {};
  }

  template <class Record>
  result<std::optional<Record>> get(family where, const rocksdb::Slice& key, const std::string& what,
                                    result<Record> (*decode)(std::string_view)) const {
    std::string bytes;
    auto s = db_->Get(rocksdb::ReadOptions{}, families_[where], key, &bytes);
    if (s.IsNotFound())
      return std::optional<Record>{};
    if (!s.ok())
      return failed(what, s);
    auto record = decode(bytes);
    if (!record)
      return record.error();
    return std::optional{*std::move(record)};
  }

  std::unique_ptr<rocksdb::Iterator> iterate(family where) const {
    rocksdb::ReadOptions options;
    options.fill_cache = false;  // a scan of everything would only push indexes and filters out
    options.readahead_size = scan_readahead;
    return std::unique_ptr<rocksdb::Iterator>{db_->NewIterator(options, families_[where])};
  }

  static status status_of(const rocksdb::Iterator& rows, const std::string& what) {
    if (auto s = rows.status(); !s.ok())
      return failed(what, s);
    return {};
  }

  std::uint64_t sum(const std::string& property) const {
    std::uint64_t value = 0;
    return db_->GetAggregatedIntProperty(property, &value) ? value : 0;
  }

  // RocksDB has no property for this, and listing its files through it would take its lock.
  std::uint64_t log_bytes() const {
    std::uint64_t bytes = 0;
    std::error_code code;
    for (fs::directory_iterator file{path_, code}, end; !code && file != end; file.increment(code)) {
      std::error_code gone;  // deleted in between
      auto size = file->path().extension() == ".log" ? file->file_size(gone) : 0;
      bytes += gone ? 0 : size;
    }
    return bytes;
  }

  const std::string path_;
  const std::unique_ptr<rocksdb::DB> db_;
  const std::vector<rocksdb::ColumnFamilyHandle*> families_;
};

// Is this the folder of a database? CURRENT is made before the first log file and the first table; `unused` is one that
// nothing was written to, as a kill during its making leaves it.
enum class folder { empty, unused, database, headless, unreadable };

folder look_at(const fs::path& path, std::error_code& code) {
  bool named = fs::exists(path / "CURRENT", code), files = false, data = false;
  if (!code)
    for (fs::directory_iterator file{path, code}, end; !code && file != end; file.increment(code)) {
      bool table = file->path().extension() == ".sst", log = file->path().extension() == ".log";
      files |= table || log;
      data |= table || (log && file->file_size(code) > 0);
    }
  if (code)
    return folder::unreadable;
  if (named)
    return data ? folder::database : folder::unused;
  return files ? folder::headless : folder::empty;
}

// What an open takes for new files, at most: what the logs hold becomes tables. Where the disk is full RocksDB may end
// the process (an assertion of its own, in builds that have them) before it says why.
constexpr std::uint64_t open_bytes = 2u << 20;

status check_space(const fs::path& path) {
  std::error_code code;
  std::uint64_t wanted = open_bytes;
  for (fs::directory_iterator file{path, code}, end; !code && file != end; file.increment(code))
    if (file->path().extension() == ".log")
      wanted += file->file_size(code);
  auto space = fs::space(path, code);
  if (code || space.available >= wanted)
    return {};
  return {ec::no_space, "failed to open metadata in " + path.string() + ": its file system has "
                          + std::to_string(space.available) + " bytes left, and a start may take "
                          + std::to_string(wanted)};
}

error damaged(const std::string& path, const std::string& cause) {
  return {ec::corrupt, "failed to open metadata in " + path + ": " + cause
                         + ". Nothing was changed. Start with --rebuild to make it anew from the pool, or with --on-damage=start-empty to "
                           "serve an empty pool"};
}

error cannot_open(const std::string& path, const rocksdb::Status& cause) {
  // RocksDB reports a held lock as one more I/O error: ask for the lock itself. Its environment knows the locks of
  // this process too.
  if (cause.IsIOError()) {
    auto* env = rocksdb::Env::Default();
    rocksdb::FileLock* lock = nullptr;
    if (!env->LockFile(path + "/LOCK", &lock).ok())
      return {ec::in_use,
              "failed to open metadata in " + path + ": another process has it open (" + cause.ToString() + ")"};
    env->UnlockFile(lock);
  }
  // A path that is not found is a file that CURRENT or the manifest names; an invalid argument is a family of ours that
  // the manifest does not name.
  if (cause.IsCorruption() || cause.IsPathNotFound() || cause.IsInvalidArgument())
    return damaged(path, cause.ToString());
  return failed("open metadata in " + path, cause);
}

}  // namespace

result<std::unique_ptr<metadata_store>> open_rocksdb(const rocksdb_options& options) {
  std::error_code code;
  bool made = fs::create_directories(options.path, code);
  if (!code && made)
    fs::permissions(options.path, fs::perms::owner_all, code);  // session records hold resume secrets
  if (code)
    return errno_error("create metadata folder " + options.path, code.value());
  auto found = look_at(options.path, code);
  if (found == folder::unreadable)
    return errno_error("read metadata folder " + options.path, code.value());
  if (auto enough = check_space(options.path); !enough)
    return enough.error();
  // RocksDB would make a new database here and delete what is left of the old one.
  if (found == folder::headless)
    return damaged(options.path, "the file CURRENT is missing");

  auto database = database_options(options);
  database.create_if_missing = found == folder::empty;
  // A database that was cut off before the record of a family would get it anew, and lose what its log holds of it.
  database.create_missing_column_families = found != folder::database;
  auto cache = make_block_cache(options);
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  rocksdb::DB* opened = nullptr;
  auto s = rocksdb::DB::Open(database, options.path, column_families(options, cache), &families, &opened);
  if (!s.ok())
    return cannot_open(options.path, s);
  auto store = std::make_unique<rocksdb_store>(options.path, std::unique_ptr<rocksdb::DB>{opened}, std::move(families));
  // All tables, now: later, when somebody reads the damaged one, it is too late to start without it.
  if (auto checked = opened->VerifyChecksum(); !checked.ok())
    return checked.IsCorruption() ? damaged(options.path, checked.ToString())
                                  : failed("verify metadata in " + options.path, checked);
  return std::unique_ptr<metadata_store>{std::move(store)};
}

}  // namespace maru::storage
