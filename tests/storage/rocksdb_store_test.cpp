// Goal: RocksDB keeps records across openings, and damage to its files is told, never hidden and never made worse.
// Method: write, close, then tear, flip or remove what lies in the folder, and open it again.
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "tests/storage/samples.hpp"
#include "tests/support/temp_folder.hpp"

using namespace maru;
using namespace maru::storage;
using namespace maru::storage::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

class RocksdbStoreTest : public testing::Test {
protected:
  maru::test::temp_folder folder;
  const std::string path = folder / "db";

  result<std::unique_ptr<metadata_store>> try_open() {
    return open_rocksdb({.path = path, .write_buffer_bytes = 1 << 20, .block_cache_bytes = 1 << 20});
  }
  std::unique_ptr<metadata_store> open() {
    auto store = try_open();
    if (!store)
      throw std::runtime_error{store.error().message};
    return *std::move(store);
  }
  void expect_damaged(const std::string& word) {
    auto store = try_open();
    ASSERT_FALSE(store);
    EXPECT_EQ(store.code(), ec::corrupt) << store.error().message;
    EXPECT_NE(store.error().message.find(word), std::string::npos) << store.error().message;
    EXPECT_NE(store.error().message.find("--on-damage=start-empty"), std::string::npos) << store.error().message;
  }

  static void put(metadata_store& store, std::uint64_t first, std::uint64_t end) {
    write_batch batch;
    for (auto n = first; n < end; ++n)
      batch.put_entry(hash_of(n), entry_of(n));
    auto s = store.write(std::move(batch), false);
    ASSERT_TRUE(s) << s.error().message;
  }
  static contents entries(std::uint64_t end) {
    contents out;
    for (std::uint64_t n = 0; n < end; ++n)
      out[std::string{view(entry_key(hash_of(n)))}] = entry_of(n);
    return out;
  }
  // A store whose entries 0 to 99 are in a table.
  void make_table() {
    auto store = open();
    put(*store, 0, 100);
    ASSERT_TRUE(store->flush());
  }

  // The one file of this kind that holds most.
  fs::path largest(const std::string& extension) {
    fs::path found;
    for (auto& file : fs::directory_iterator{path})
      if (file.path().extension() == extension && (found.empty() || file.file_size() > fs::file_size(found)))
        found = file.path();
    EXPECT_FALSE(found.empty()) << extension;
    return found;
  }
  fs::path manifest() {
    for (auto& file : fs::directory_iterator{path})
      if (file.path().filename().string().starts_with("MANIFEST"))
        return file.path();
    ADD_FAILURE() << "no manifest";
    return {};
  }

  static std::string read(const fs::path& file) {
    std::ifstream in{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  static void replace(const fs::path& file, const std::string& bytes) {
    std::ofstream{file, std::ios::binary | std::ios::trunc} << bytes;
  }
  static void flip(const fs::path& file, std::size_t at) {
    auto bytes = read(file);
    ASSERT_LT(at, bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
    replace(file, bytes);
  }

  // Writes to the files without maru: what a bug or another version may have left.
  void put_raw(const std::string& family, const std::string& key, const std::string& value) {
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (auto name : {"default", "entries", "sessions", "pool"})
      families.push_back({name, {}});
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, path, families, &handles, &db).ok());
    for (auto* handle : handles) {
      if (handle->GetName() == family) {
        EXPECT_TRUE(db->Put({}, handle, key, value).ok());
      }
      db->DestroyColumnFamilyHandle(handle);
    }
    delete db;
  }
};

}  // namespace

TEST_F(RocksdbStoreTest, RecordsAreThereAfterReopening) {
  pool_record pool{uuid_of(1), uuid_of(2), "/p"};
  {
    auto store = open();
    put(*store, 0, 1000);
    write_batch batch;
    batch.put_session(session_of(1));
    batch.set_pool(pool);
    ASSERT_TRUE(store->write(std::move(batch), true));
  }
  for (int i = 0; i < 3; ++i) {
    auto store = open();
    EXPECT_EQ(read_all(*store), entries(1000));
    EXPECT_EQ(*store->sessions(), std::vector{session_of(1)});
    EXPECT_EQ(*store->pool(), pool);
    ASSERT_TRUE(store->flush());
  }
}

TEST_F(RocksdbStoreTest, DropIsThereAfterReopening) {
  make_table();
  ASSERT_TRUE(open()->drop_entries());
  EXPECT_TRUE(read_all(*open()).empty());
}

TEST_F(RocksdbStoreTest, EmptyFolderOpensQuickly) {
  // The best of a few, since the host may be busy with something else.
  std::chrono::duration<double, std::milli> best = 1h;
  for (int i = 0; i < 10 && best >= 100ms; ++i) {
    maru::test::temp_folder fresh;
    auto start = std::chrono::steady_clock::now();
    auto store = open_rocksdb({.path = fresh / "state/db"});
    best = std::min<decltype(best)>(best, std::chrono::steady_clock::now() - start);
    ASSERT_TRUE(store) << store.error().message;
  }
  EXPECT_LT(best, 150ms);
}

TEST_F(RocksdbStoreTest, FolderIsForItsOwnerOnly) {
  // Session records hold resume secrets.
  auto store = open();
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(RocksdbStoreTest, SecondOpeningInOneProcessIsRefused) {
  auto first = open();
  auto second = try_open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.code(), ec::in_use) << second.error().message;
  put(*first, 0, 1);
  first.reset();
  EXPECT_EQ(read_all(*open()), entries(1));
}

TEST_F(RocksdbStoreTest, PathThatIsAFileIsAnIoError) {
  replace(path, "not a folder");
  auto store = try_open();
  ASSERT_FALSE(store);
  EXPECT_EQ(store.code(), ec::io) << store.error().message;
  EXPECT_EQ(read(path), "not a folder");
}

TEST_F(RocksdbStoreTest, CreationThatWasCutShortStartsAgain) {
  make_table();
  auto name = manifest().filename();
  auto bytes = read(path + "/" + name.string());
  fs::remove_all(path);
  fs::create_directory(path);
  replace(path + "/MANIFEST-000001", bytes.substr(0, 20));
  replace(path + "/000001.dbtmp", "");
  EXPECT_TRUE(read_all(*open()).empty());
}

TEST_F(RocksdbStoreTest, TornTailOfTheLogLosesOnlyTheBatchesItCuts) {
  auto seed = test_seed();
  SCOPED_TRACE("MARU_SEED=" + std::to_string(seed));
  std::mt19937_64 random{seed};
  std::vector<std::size_t> sizes;  // of the log after each batch of ten
  fs::path log;
  {
    auto store = open();
    for (std::uint64_t n = 0; n < 60; ++n) {
      put(*store, n * 10, n * 10 + 10);
      log = largest(".log");
      sizes.push_back(fs::file_size(log));
    }
  }
  const auto whole = folder / "whole";
  fs::copy(path, whole, fs::copy_options::recursive);
  for (int i = 0; i < 40; ++i) {
    // Every fourth cut is exactly between two batches.
    auto size = i % 4 == 0 ? sizes[random() % sizes.size()] : random() % (sizes.back() + 1);
    fs::remove_all(path);
    fs::copy(whole, path, fs::copy_options::recursive);
    fs::resize_file(log, size);
    auto kept = static_cast<std::uint64_t>(std::upper_bound(sizes.begin(), sizes.end(), size) - sizes.begin());
    EXPECT_EQ(read_all(*open()), entries(kept * 10)) << "cut to " << size << " of " << sizes.back();
    EXPECT_EQ(read_all(*open()), entries(kept * 10)) << "the second time";
  }
}

TEST_F(RocksdbStoreTest, DamageInTheMiddleOfTheLogIsToldAndNothingIsChanged) {
  auto seed = test_seed();
  SCOPED_TRACE("MARU_SEED=" + std::to_string(seed));
  std::mt19937_64 random{seed};
  {
    auto store = open();
    for (std::uint64_t n = 0; n < 100; ++n)
      put(*store, n * 10, n * 10 + 10);
  }
  auto log = largest(".log");
  auto size = fs::file_size(log);
  for (int i = 0; i < 20; ++i) {
    // Not in the last block of 32 KiB: a length that was damaged there looks as a torn tail does.
    auto at = random() % (size - (64 << 10));
    flip(log, at);
    SCOPED_TRACE("byte " + std::to_string(at));
    expect_damaged("Corruption");
    flip(log, at);
  }
  EXPECT_EQ(read_all(*open()), entries(1000));
}

TEST_F(RocksdbStoreTest, MissingCurrentIsToldAndNothingIsChanged) {
  make_table();
  fs::rename(path + "/CURRENT", folder / "CURRENT");
  expect_damaged("CURRENT");
  fs::rename(folder / "CURRENT", path + "/CURRENT");
  EXPECT_EQ(read_all(*open()), entries(100));
}

TEST_F(RocksdbStoreTest, MissingCurrentIsToldWhenAllIsStillInTheLog) {
  put(*open(), 0, 100);
  fs::remove(path + "/CURRENT");
  expect_damaged("CURRENT");
}

TEST_F(RocksdbStoreTest, MissingTableIsToldAndNothingIsChanged) {
  make_table();
  auto table = largest(".sst");
  fs::rename(table, folder / "table");
  expect_damaged(table.stem().string());
  fs::rename(folder / "table", table);
  EXPECT_EQ(read_all(*open()), entries(100));
}

TEST_F(RocksdbStoreTest, MissingManifestIsTold) {
  make_table();
  fs::remove(manifest());
  expect_damaged("MANIFEST");
}

TEST_F(RocksdbStoreTest, TruncatedFilesAreTold) {
  make_table();
  for (auto file : {fs::path{path + "/CURRENT"}, largest(".sst")}) {
    SCOPED_TRACE(file.string());
    auto bytes = read(file);
    replace(file, bytes.substr(0, bytes.size() / 2));
    expect_damaged("failed to open metadata");
    replace(file, bytes);
  }
  EXPECT_EQ(read_all(*open()), entries(100));
}

TEST_F(RocksdbStoreTest, DamagedManifestIsTold) {
  make_table();
  flip(manifest(), fs::file_size(manifest()) / 2);
  expect_damaged("MANIFEST");
}

TEST_F(RocksdbStoreTest, DamagedBlockOfATableIsTold) {
  make_table();
  flip(largest(".sst"), 100);
  expect_damaged("checksum mismatch");
}

TEST_F(RocksdbStoreTest, ManifestWithoutOurFamiliesIsToldAndTheLogIsKept) {
  put(*open(), 0, 100);
  auto log = read(largest(".log"));
  auto bytes = read(manifest());
  replace(manifest(), bytes.substr(0, bytes.size() / 2));
  expect_damaged("failed to open metadata");
  EXPECT_EQ(read(largest(".log")), log);
}

TEST_F(RocksdbStoreTest, DamagedRecordIsSkippedAndReported) {
  put(*open(), 0, 100);
  put_raw("entries", std::string{view(entry_key(hash_of(50)))}, "\x01nonsense");
  put_raw("entries", std::string{view(entry_key(hash_of(60)))}, "");
  auto store = open();
  std::vector<key_hash> damaged;
  contents good;
  auto s = store->scan_entries(
    {},
    [&](const key_hash& hash, const entry_record& record) {
      good[std::string{view(entry_key(hash))}] = record;
      return true;
    },
    [&](const key_hash& hash) { damaged.push_back(hash); });
  EXPECT_TRUE(s) << s.error().message;
  auto expected = entries(100);
  expected.erase(std::string{view(entry_key(hash_of(50)))});
  expected.erase(std::string{view(entry_key(hash_of(60)))});
  EXPECT_EQ(good, expected);
  EXPECT_EQ(damaged.size(), 2u);
  EXPECT_EQ(store->entry(hash_of(50)).code(), ec::corrupt);
  EXPECT_EQ(read_all(*store), expected) << "nobody has to ask for the damaged ones";

  write_batch repair;
  repair.delete_entry(hash_of(50));
  repair.delete_entry(hash_of(60));
  ASSERT_TRUE(store->write(std::move(repair), true));
  EXPECT_EQ(*store->entry(hash_of(50)), std::nullopt);
}

TEST_F(RocksdbStoreTest, RecordOfANewerVersionIsReportedNotMisread) {
  open();
  std::string newer;
  ASSERT_TRUE(encode(entry_of(1), newer));
  newer[0] = record_version + 1;
  put_raw("entries", std::string{view(entry_key(hash_of(1)))}, newer);
  put_raw("sessions", std::string{view(session_key(session_id{1}))}, "\x02");
  put_raw("pool", "pool", "\x02");
  auto store = open();
  EXPECT_EQ(store->entry(hash_of(1)).code(), ec::corrupt);
  EXPECT_EQ(store->sessions().code(), ec::corrupt);
  EXPECT_EQ(store->pool().code(), ec::corrupt);
}

TEST_F(RocksdbStoreTest, ForeignKeyAmongTheEntriesIsTold) {
  open();
  put_raw("entries", "short", "x");
  EXPECT_EQ(open()->scan_entries({}, [](const key_hash&, const entry_record&) { return true; }).code(), ec::corrupt);
}

TEST_F(RocksdbStoreTest, StatsShowWhereTheBytesAre) {
  auto store = open();
  put(*store, 0, 1000);
  auto before = store->stats();
  EXPECT_GT(before.wal_bytes, 50000u);
  EXPECT_GT(before.memtable_bytes, 50000u);
  EXPECT_EQ(before.estimated_keys, 1000u);
  EXPECT_FALSE(before.write_stalled);
  ASSERT_TRUE(store->flush());
  EXPECT_GT(store->stats().live_bytes, 50000u);
  // RocksDB lets go of the old log and memtable in its own thread, which may go on after the flush was answered.
  auto let_go = [&] {
    auto after = store->stats();
    return after.wal_bytes < before.wal_bytes && after.memtable_bytes < before.memtable_bytes;
  };
  for (auto deadline = std::chrono::steady_clock::now() + 30s; !let_go();) {
    auto after = store->stats();
    ASSERT_LT(std::chrono::steady_clock::now(), deadline)
      << "log " << before.wal_bytes << ", then " << after.wal_bytes << "; memtables " << before.memtable_bytes
      << ", then " << after.memtable_bytes;
    std::this_thread::sleep_for(1ms);
  }
}

TEST_F(RocksdbStoreTest, FolderAndMemoryStayBoundedWhileKeysComeAndGo) {
  // 40 times the write buffer through 2000 live keys.
  auto store = open();
  std::uint64_t memory = 0, log = 0;
  for (std::uint64_t n = 0; n < 250000; n += 500) {
    write_batch batch;
    for (auto i = n; i < n + 500; ++i) {
      batch.put_entry(hash_of(i), entry_of(i));
      if (i >= 2000)
        batch.delete_entry(hash_of(i - 2000));
    }
    ASSERT_TRUE(store->write(std::move(batch), false));
    if (n % 5000 != 0)
      continue;
    auto now = store->stats();
    memory = std::max(memory, now.memtable_bytes + now.block_cache_bytes);
    log = std::max(log, now.wal_bytes);
  }
  EXPECT_LT(memory, 7u << 20);
  EXPECT_LT(log, 16u << 20);
  ASSERT_TRUE(store->flush());
  EXPECT_LT(store->stats().live_bytes, 24u << 20);
  EXPECT_EQ(read_all(*store).size(), 2000u);
}
