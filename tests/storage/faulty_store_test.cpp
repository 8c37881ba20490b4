// Goal: the fault-injecting store of the test support does what other tests count on. Method: each fault once.
#include "tests/support/faulty_store.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "tests/storage/samples.hpp"

using namespace maru;
using namespace maru::storage;
using namespace maru::storage::test;
using maru::test::faulty_store;

namespace {

write_batch put(std::uint64_t n) {
  write_batch batch;
  batch.put_entry(hash_of(n), entry_of(n));
  return batch;
}

bool has(const metadata_store& store, std::uint64_t n) { return store.entry(hash_of(n))->has_value(); }

}  // namespace

TEST(FaultyStore, FailsOnlyTheWriteItWasToldTo) {
  faulty_store store;
  store.fail_write(2, {ec::no_space, "full"});
  EXPECT_TRUE(store.write(put(1), false));
  EXPECT_EQ(store.write(put(2), false).code(), ec::no_space);
  EXPECT_TRUE(store.write(put(3), false));
  EXPECT_TRUE(has(store, 1));
  EXPECT_FALSE(has(store, 2));
  EXPECT_TRUE(has(store, 3));
  EXPECT_EQ(store.writes(), 3u);
}

TEST(FaultyStore, AFailedWriteCanHaveTakenEffect) {
  faulty_store store;
  store.fail_write(1, {ec::storage_failed, "the answer is lost"}, faulty_store::stored::yes);
  EXPECT_EQ(store.write(put(1), true).code(), ec::storage_failed);
  EXPECT_TRUE(has(store, 1));
}

TEST(FaultyStore, HeldWritesWaitForTheirRelease) {
  faulty_store store;
  store.hold_writes(2);
  EXPECT_TRUE(store.write(put(1), false));
  std::jthread writer{[&] { EXPECT_TRUE(store.write(put(2), false)); }};
  EXPECT_TRUE(store.wait_for_held(1));
  EXPECT_FALSE(has(store, 2));
  store.release_writes();
  writer.join();
  EXPECT_TRUE(has(store, 2));
}

TEST(FaultyStore, ForgetsWhatWasNotSynced) {
  faulty_store store;
  EXPECT_TRUE(store.write(put(1), false));
  EXPECT_TRUE(store.write(put(2), true));  // the log is synced as a whole: 1 is safe too
  EXPECT_TRUE(store.write(put(3), false));
  write_batch batch;
  batch.delete_entry(hash_of(1));
  batch.put_session(session_of(9));
  EXPECT_TRUE(store.write(std::move(batch), false));
  store.forget_unsynced();
  EXPECT_TRUE(has(store, 1));
  EXPECT_TRUE(has(store, 2));
  EXPECT_FALSE(has(store, 3));
  EXPECT_TRUE(store.sessions()->empty());
}

TEST(FaultyStore, FlushAndDropAreDurable) {
  faulty_store store;
  write_batch batch = put(1);
  batch.set_pool({uuid_of(1), uuid_of(2), "/p"});
  EXPECT_TRUE(store.write(std::move(batch), false));
  EXPECT_TRUE(store.flush());
  store.forget_unsynced();
  EXPECT_TRUE(has(store, 1));
  EXPECT_TRUE(store.drop_entries());
  store.forget_unsynced();
  EXPECT_FALSE(has(store, 1));
  EXPECT_EQ(*store.pool(), (pool_record{uuid_of(1), uuid_of(2), "/p"}));
}

TEST(FaultyStore, DropCountsAsAWrite) {
  faulty_store store;
  EXPECT_TRUE(store.write(put(1), false));
  store.fail_write(1, {ec::storage_failed, "no"});
  EXPECT_EQ(store.drop_entries().code(), ec::storage_failed);
  EXPECT_TRUE(has(store, 1));
}
