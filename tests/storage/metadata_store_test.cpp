// Goal: every metadata_store keeps the contract of storage/metadata_store.hpp, and all give the same answers.
// Method: one typed suite that runs on memory and on RocksDB, and random operations on both, compared after each.
#include "storage/metadata_store.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "base/bounds.hpp"
#include "tests/storage/samples.hpp"
#include "tests/support/temp_folder.hpp"

using namespace maru;
using namespace maru::storage;
using namespace maru::storage::test;

namespace {

struct memory_backend {
  std::unique_ptr<metadata_store> store = make_memory_store();
};

struct rocksdb_backend {
  maru::test::temp_folder folder;
  std::unique_ptr<metadata_store> store;

  rocksdb_backend() { open(); }
  void open() {
    auto opened = open_rocksdb({.path = folder / "db", .write_buffer_bytes = 1 << 20, .block_cache_bytes = 1 << 20});
    if (!opened)
      throw std::runtime_error{opened.error().message};
    store = *std::move(opened);
  }
  void reopen() {
    store.reset();
    open();
  }
};

template <class Backend>
class MetadataStoreTest : public testing::Test {
protected:
  Backend backend;
  metadata_store& store = *backend.store;

  void write(write_batch batch, bool sync = false) {
    auto s = store.write(std::move(batch), sync);
    ASSERT_TRUE(s) << s.error().message;
  }
  void put(std::uint64_t hash, std::uint64_t record) {
    write_batch batch;
    batch.put_entry(hash_of(hash), entry_of(record));
    write(std::move(batch));
  }
  std::optional<entry_record> entry(std::uint64_t hash) {
    auto found = store.entry(hash_of(hash));
    EXPECT_TRUE(found) << found.error().message;
    return found ? *found : std::nullopt;
  }
};

using backends = testing::Types<memory_backend, rocksdb_backend>;
struct backend_names {
  template <class Backend>
  static std::string GetName(int) {
    return std::is_same_v<Backend, memory_backend> ? "memory" : "rocksdb";
  }
};
TYPED_TEST_SUITE(MetadataStoreTest, backends, backend_names);

}  // namespace

TYPED_TEST(MetadataStoreTest, IsEmptyAtFirst) {
  EXPECT_EQ(this->entry(1), std::nullopt);
  EXPECT_TRUE(read_all(this->store).empty());
  EXPECT_TRUE(this->store.sessions()->empty());
  EXPECT_EQ(*this->store.pool(), std::nullopt);
}

TYPED_TEST(MetadataStoreTest, EntryIsFoundAsItWasWritten) {
  this->put(1, 1);
  EXPECT_EQ(this->entry(1), entry_of(1));
  EXPECT_EQ(this->entry(2), std::nullopt);
}

TYPED_TEST(MetadataStoreTest, DeletedEntryIsGone) {
  this->put(1, 1);
  this->put(2, 2);
  write_batch batch;
  batch.delete_entry(hash_of(1));
  batch.delete_entry(hash_of(99));  // deleting what is not there is not an error
  this->write(std::move(batch));
  EXPECT_EQ(this->entry(1), std::nullopt);
  EXPECT_EQ(this->entry(2), entry_of(2));
}

TYPED_TEST(MetadataStoreTest, LaterChangeOfAKeyWinsWithinABatch) {
  write_batch batch;
  batch.put_entry(hash_of(1), entry_of(1));
  batch.delete_entry(hash_of(1));
  batch.put_entry(hash_of(1), entry_of(2));
  batch.put_entry(hash_of(3), entry_of(3));
  batch.delete_entry(hash_of(3));
  this->write(std::move(batch), true);
  EXPECT_EQ(this->entry(1), entry_of(2));
  EXPECT_EQ(this->entry(3), std::nullopt);
}

TYPED_TEST(MetadataStoreTest, BatchWithARefusedRecordChangesNothing) {
  this->put(1, 1);
  write_batch batch;
  batch.put_entry(hash_of(2), entry_of(2));
  batch.delete_entry(hash_of(1));
  batch.put_session(session_of(5));
  batch.put_entry(hash_of(3), {.key = std::string(bounds::key_bytes_max + 1, 'k')});
  EXPECT_EQ(this->store.write(std::move(batch), false).code(), ec::too_large);
  EXPECT_EQ(this->entry(1), entry_of(1));
  EXPECT_EQ(this->entry(2), std::nullopt);
  EXPECT_TRUE(this->store.sessions()->empty());
}

TYPED_TEST(MetadataStoreTest, EmptyBatchIsWritten) { this->write({}, true); }

TYPED_TEST(MetadataStoreTest, KeysMayHoldAnyBytes) {
  auto record = entry_of(1);
  record.key = std::string{"\0\xff\n\0", 4};
  write_batch batch;
  batch.put_entry({0, 0}, record);
  batch.put_entry({~0ull, ~0ull}, record);
  this->write(std::move(batch));
  EXPECT_EQ(*this->store.entry({0, 0}), record);
  EXPECT_EQ(*this->store.entry({~0ull, ~0ull}), record);
}

TYPED_TEST(MetadataStoreTest, ScanVisitsAllInTheOrderOfTheBytes) {
  contents expected;
  for (std::uint64_t n = 0; n < 1000; ++n) {
    this->put(n, n);
    expected[std::string{view(entry_key(hash_of(n)))}] = entry_of(n);
  }
  EXPECT_EQ(read_all(this->store), expected);
}

TYPED_TEST(MetadataStoreTest, ScanStartsWhereItIsTold) {
  for (std::uint64_t n = 0; n < 100; ++n)
    this->put(n, n);
  auto all = read_all(this->store);
  auto from = std::next(all.begin(), 40);
  auto first_of = [&](const key_hash& start) {
    std::string first;
    EXPECT_TRUE(this->store.scan_entries(start, [&](const key_hash& hash, const entry_record&) {
      first = view(entry_key(hash));
      return false;
    }));
    return first;
  };
  auto start = *parse_entry_key(from->first);
  EXPECT_EQ(first_of(start), from->first) << "the start itself is part of the scan";
  start.high += 1ull << 56;  // the last byte of the stored form
  EXPECT_EQ(first_of(start), std::next(from)->first);
  EXPECT_EQ(first_of({~0ull, ~0ull}), "");
}

TYPED_TEST(MetadataStoreTest, ScansOfPositionsMeetEveryEntryOnceAndInOrder) {
  for (std::uint64_t n = 0; n < 1000; ++n) {
    write_batch batch;  // hashes all over the numbers; some share a position
    batch.put_entry({n / 2 * 0x9e3779b97f4a7c15, n}, entry_of(n));
    EXPECT_TRUE(this->store.write(std::move(batch), false));
  }
  std::vector<key_hash> met;
  constexpr std::uint64_t parts = 4, width = ~0ull / parts + 1;
  for (std::uint64_t part = 0; part < parts; ++part)
    EXPECT_TRUE(
      this->store.scan_entries(hash_at_position(part * width), [&](const key_hash& hash, const entry_record&) {
        if (scan_position(hash) > part * width + (width - 1))
          return false;
        EXPECT_GE(scan_position(hash), part * width);
        met.push_back(hash);
        return true;
      }));
  EXPECT_EQ(met.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(met.begin(), met.end(), [](const key_hash& a, const key_hash& b) {
    return std::pair{scan_position(a), a.high} < std::pair{scan_position(b), b.high};
  }));
  std::sort(met.begin(), met.end());
  EXPECT_EQ(std::unique(met.begin(), met.end()), met.end());
}

TYPED_TEST(MetadataStoreTest, ScanStopsWhenItIsTold) {
  for (std::uint64_t n = 0; n < 100; ++n)
    this->put(n, n);
  int visited = 0;
  EXPECT_TRUE(this->store.scan_entries({}, [&](const key_hash&, const entry_record&) { return ++visited < 10; }));
  EXPECT_EQ(visited, 10);
}

TYPED_TEST(MetadataStoreTest, ScanSeesTheStoreAsItWasAtItsStart) {
  for (std::uint64_t n = 0; n < 100; ++n)
    this->put(n, n);
  int visited = 0;
  EXPECT_TRUE(this->store.scan_entries({}, [&](const key_hash& hash, const entry_record&) {
    ++visited;
    write_batch batch;  // the visitor may use the store
    batch.delete_entry(hash);
    batch.put_entry({~hash.low, hash.high}, entry_of(1));
    EXPECT_TRUE(this->store.write(std::move(batch), false));
    return true;
  }));
  EXPECT_EQ(visited, 100);
  EXPECT_EQ(read_all(this->store).size(), 100u);
}

TYPED_TEST(MetadataStoreTest, SessionsComeInTheOrderOfTheirIds) {
  write_batch batch;
  for (std::uint64_t id : {300ull, 2ull, 1ull << 40, 70000ull})
    batch.put_session(session_of(id));
  this->write(std::move(batch));
  write_batch more;
  more.delete_session(session_id{2});
  auto changed = session_of(300);
  changed.host = "elsewhere";
  more.put_session(changed);
  this->write(std::move(more), true);
  EXPECT_EQ(*this->store.sessions(), (std::vector{changed, session_of(70000), session_of(1ull << 40)}));
}

TYPED_TEST(MetadataStoreTest, DropLeavesOnlyThePool) {
  write_batch batch;
  for (std::uint64_t n = 0; n < 100; ++n)
    batch.put_entry(hash_of(n), entry_of(n));
  batch.put_entry({0, 0}, entry_of(1));
  batch.put_entry({~0ull, ~0ull}, entry_of(2));
  batch.put_session(session_of(1));
  batch.put_session(session_of(~0ull));
  batch.set_pool({uuid_of(1), uuid_of(2), "/p"});
  this->write(std::move(batch));
  ASSERT_TRUE(this->store.flush());
  this->put(1000, 1000);
  ASSERT_TRUE(this->store.drop_entries());
  EXPECT_TRUE(read_all(this->store).empty());
  EXPECT_TRUE(this->store.sessions()->empty());
  EXPECT_EQ(*this->store.pool(), (pool_record{uuid_of(1), uuid_of(2), "/p"}));
  this->put(3, 3);
  EXPECT_EQ(read_all(this->store).size(), 1u);
}

TYPED_TEST(MetadataStoreTest, FlushKeepsEverything) {
  this->put(1, 1);
  ASSERT_TRUE(this->store.flush());
  ASSERT_TRUE(this->store.flush());
  EXPECT_EQ(this->entry(1), entry_of(1));
}

TYPED_TEST(MetadataStoreTest, ManyThreadsReadAndWriteAtOnce) {
  constexpr std::uint64_t per_thread = 2000;
  std::atomic<int> failures{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 3; ++t)
      threads.emplace_back([&, t] {
        for (std::uint64_t n = t * per_thread; n < (t + 1) * per_thread; n += 100) {
          write_batch batch;
          for (auto i = n; i < n + 100; ++i)
            batch.put_entry(hash_of(i), entry_of(i));
          failures += !this->store.write(std::move(batch), false);
          failures += *this->store.entry(hash_of(n)) != entry_of(n);
        }
      });
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        // A batch is seen whole or not at all.
        std::size_t seen = 0;
        failures += !this->store.scan_entries({}, [&](const key_hash&, const entry_record&) { return ++seen, true; });
        failures += seen % 100 != 0;
        this->store.stats();
      }
    });
  }
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(read_all(this->store).size(), 3 * per_thread);
}

namespace {

write_batch random_batch(std::mt19937_64& random) {
  write_batch batch;
  auto changes = random() % 50;
  for (std::uint64_t i = 0; i < changes; ++i) {
    auto hash = hash_of(random() % 300);
    if (random() % 3 > 0)
      batch.put_entry(hash, entry_of(random()));
    else
      batch.delete_entry(hash);
  }
  if (random() % 4 == 0)
    batch.put_session(session_of(random() % 20));
  if (random() % 4 == 0)
    batch.delete_session(session_id{random() % 20});
  if (random() % 20 == 0)
    batch.set_pool({uuid_of(static_cast<std::uint8_t>(random())), uuid_of(2), {}});
  if (random() % 20 == 0)
    batch.put_entry(hash_of(1), {.key = std::string(bounds::key_bytes_max + 1, 'k')});
  return batch;
}

}  // namespace

TEST(MetadataStores, GiveTheSameAnswersToRandomOperations) {
  auto seed = test_seed();
  SCOPED_TRACE("MARU_SEED=" + std::to_string(seed));
  std::mt19937_64 random{seed};
  memory_backend memory;
  rocksdb_backend rocks;
  for (int step = 0; step < 600 && !testing::Test::HasFailure(); ++step) {
    auto batch = random_batch(random);
    auto sync = random() % 10 == 0;
    EXPECT_EQ(memory.store->write(batch, sync).code(), rocks.store->write(batch, sync).code());
    switch (random() % 40) {
      case 0:
        EXPECT_TRUE(memory.store->drop_entries());
        EXPECT_TRUE(rocks.store->drop_entries());
        break;
      case 1: EXPECT_TRUE(rocks.store->flush()); break;
      case 2: rocks.reopen(); break;
      default: break;
    }
    auto hash = hash_of(random() % 300);
    EXPECT_EQ(*memory.store->entry(hash), *rocks.store->entry(hash));
    if (step % 10 == 0) {
      EXPECT_EQ(read_all(*memory.store), read_all(*rocks.store));
      EXPECT_EQ(*memory.store->sessions(), *rocks.store->sessions());
      EXPECT_EQ(*memory.store->pool(), *rocks.store->pool());
    }
  }
}
