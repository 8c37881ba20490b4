// Goal: `maructl check` reports each way in which page table, descriptors, RocksDB and index can disagree, and nothing
// else. Method: a small pool that agrees, then one thing damaged at a time.
#include "actors/audit.hpp"

#include <gtest/gtest.h>

#include <set>

#include "tests/actors/pool_environment.hpp"

namespace maru::actors {
namespace {

// Passes everything on, but says that one record does not decode, or that scans fail.
class damaged_store final : public storage::metadata_store {
public:
  explicit damaged_store(std::shared_ptr<storage::metadata_store> of) : of_(std::move(of)) {}
  status write(storage::write_batch batch, bool sync) override { return of_->write(std::move(batch), sync); }
  result<std::optional<storage::entry_record>> entry(const key_hash& h) const override { return of_->entry(h); }
  status scan_entries(const key_hash& from,
                      const std::function<bool(const key_hash&, const storage::entry_record&)>& visit,
                      const std::function<void(const key_hash&)>& damaged) const override {
    if (bad == key_hash{})
      return {ec::io, "failed to scan entries: the disk is gone"};
    damaged(bad);
    return of_->scan_entries(from, visit, damaged);
  }
  result<std::vector<storage::session_record>> sessions() const override { return of_->sessions(); }
  result<std::optional<storage::pool_record>> pool() const override { return of_->pool(); }
  status drop_entries() override { return of_->drop_entries(); }
  status flush() override { return of_->flush(); }
  storage::store_stats stats() const override { return of_->stats(); }

  key_hash bad;

private:
  std::shared_ptr<storage::metadata_store> of_;
};

class audit_of_a_pool : public ::testing::Test {
protected:
  audit_of_a_pool() {
    pool.commit("a", page(0));
    pool.commit("b", page(1));
    pool.put_session(session_id{1});
    pool.write(page(2), page_state::granted, 3, session_id{1});
    pool.restart();
    state = pool.must_recover();
  }
  page_ref page(std::uint32_t n) const { return {region, page_index{n}}; }

  audit make() {
    return {pool.env,
            [this](region_id id, std::uint32_t from, std::uint32_t count) {
              std::vector<page_state> out;
              for (auto i = from; i < from + count; ++i)
                if (auto s = state.table->state_of({id, page_index{i}}))
                  out.push_back(before_answer ? before_answer({id, page_index{i}}, *s) : *s);
              return out;
            },
            [this](const key_hash& h) { return state.shards[0]->find(h); }, state.table->rows()};
  }
  std::vector<audit::disagreement> problems() {
    auto a = make();
    std::vector<audit::disagreement> out;
    std::string cursor;
    slices = 0;
    do {
      auto slice = a.next(cursor);
      EXPECT_GE(slice.done, done);
      EXPECT_LE(slice.done, slice.total);
      done = slice.done;
      total = slice.total;
      out.insert(out.end(), slice.problems.begin(), slice.problems.end());
      EXPECT_NE(slice.cursor, cursor) << "no progress";
      cursor = slice.cursor;
    } while (!cursor.empty() && ++slices < 100);
    return out;
  }
  void expect_one(const std::string& what, const std::string& words) {
    auto found = problems();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].what, what);
    EXPECT_NE(found[0].problem.find(words), std::string::npos) << found[0].problem;
  }
  // The index with entry "a" somewhere else.
  void move_in_index(location where) {
    victim v;
    ASSERT_EQ(state.shards[0]->mark(pool.hash("a"), v), ec::ok);
    state.shards[0]->drop(v.hash);
    if (where.page.region != region_id::none) {
      ASSERT_EQ(state.shards[0]->insert(v.hash, where, 65536), ec::ok);
    }
  }
  void delete_record(std::string_view key) {
    storage::write_batch batch;
    batch.delete_entry(pool.hash(key));
    ASSERT_TRUE(pool.store->write(std::move(batch), false));
  }

  test::pool_environment pool;
  region_id region = pool.add_region();
  recovered_state state;
  std::function<page_state(page_ref, page_state)> before_answer;
  std::uint64_t done = 0, total = 0;
  int slices = 0;
};

TEST_F(audit_of_a_pool, CleanPoolIsClean) {
  EXPECT_TRUE(problems().empty());
  EXPECT_EQ(done, 32u + 2u);
  EXPECT_EQ(total, done);
}

TEST_F(audit_of_a_pool, Invariant3_PageTableAgainstDescriptorIsReported) {
  pool.env->pool->descriptors().set_state(pool.slot(page(2)), page_state::quarantined);
  expect_one(to_string(page(2)), "page table says granted, descriptor says quarantined");
}

TEST_F(audit_of_a_pool, DamagedDescriptorIsReported) {
  pool.env->pool->descriptors().line(pool.slot(page(2)))[30] ^= std::byte{1};
  expect_one(to_string(page(2)), "checksum");
}

TEST_F(audit_of_a_pool, CommittedPageWithoutEntryIsReported) {
  move_in_index({});
  expect_one(to_string(page(0)), "index has no entry");
}

TEST_F(audit_of_a_pool, EntryOnAnotherPageIsReported) {
  auto where = state.shards[0]->find(pool.hash("a"))->where;
  where.page = page(7);
  move_in_index(where);
  expect_one(to_string(page(0)), "elsewhere");
}

TEST_F(audit_of_a_pool, EntryOfAnotherGenerationIsReported) {
  auto where = state.shards[0]->find(pool.hash("a"))->where;
  ++where.gen;
  move_in_index(where);
  expect_one(to_string(page(0)), "elsewhere");
}

TEST_F(audit_of_a_pool, EntryThatIsNotDurableIsReported) {
  delete_record("b");
  expect_one(to_string(page(1)), "RocksDB has no record");
}

TEST_F(audit_of_a_pool, IndexAgainstRocksDBIsReported) {
  auto record = pool.record_of("a", page(0));
  ++record.where.length;
  pool.put_record(record);
  expect_one(to_string(page(0)), "index and RocksDB disagree");
}

TEST_F(audit_of_a_pool, RecordWhoseKeyHasAnotherHashIsReported) {
  pool.put_record(test::hash_of(5), pool.record_of("a", page(0)));
  expect_one(to_string(test::hash_of(5)), "does not have its hash");
}

TEST_F(audit_of_a_pool, RecordOfAPageThatDoesNotExistIsReported) {
  pool.put_record(pool.record_of("c", test::page_at(50, 0)));
  expect_one(to_string(pool.hash("c")), "does not exist");
}

TEST_F(audit_of_a_pool, RecordOfAPageThatHoldsSomethingElseIsReported) {
  pool.put_record(pool.record_of("c", page(9)));
  expect_one(to_string(pool.hash("c")), "descriptor says otherwise");
}

TEST_F(audit_of_a_pool, RecordThatDoesNotDecodeIsReported) {
  auto store = std::make_shared<damaged_store>(pool.store);
  store->bad = test::hash_of(6);
  pool.env->store = store;
  expect_one(to_string(test::hash_of(6)), "damaged");
}

TEST_F(audit_of_a_pool, StoreThatCannotBeReadIsReported) {
  pool.env->store = std::make_shared<damaged_store>(pool.store);
  expect_one("RocksDB", "the disk is gone");
}

TEST_F(audit_of_a_pool, WhatSettlesWithinAMomentIsNotReported) {
  int looks = 0;
  before_answer = [&](page_ref p, page_state s) { return p == page(0) && ++looks < 3 ? page_state::granted : s; };
  EXPECT_TRUE(problems().empty());
  EXPECT_EQ(looks, 3);
}

TEST_F(audit_of_a_pool, RegionThatWentMeanwhileIsPassedOver) {
  auto a = make();
  pool.write(page(2), page_state::free, 4);
  state.table->move(page(2), page_state::granted, page_state::free);
  for (std::uint32_t i : {0, 1}) {
    state.table->move(page(i), page_state::committed, page_state::evicting);
    state.table->move(page(i), page_state::evicting, page_state::free);
  }
  ASSERT_TRUE(state.table->remove_region(region));
  auto slice = a.next("");
  EXPECT_TRUE(slice.problems.empty());
}

TEST_F(audit_of_a_pool, UnknownCursorsStartFromTheBeginning) {
  auto a = make();
  for (auto cursor : {"r", "rx", "x", "p", "pp", "r12", "p99999999999999999999999", ":", "r:zz"}) {
    SCOPED_TRACE(cursor);
    auto slice = a.next(cursor);
    EXPECT_TRUE(slice.problems.empty());
    EXPECT_LE(slice.done, 34u);
  }
  EXPECT_EQ(a.next("r").cursor, "p32");
}

TEST(Audit, LargePoolIsLookedAtInSlicesAndNothingIsMissed) {
  test::pool_environment pool{8 * bounds::MiB, 4 * bounds::KiB};
  auto region = pool.add_region(0, 4 * bounds::KiB);  // 512 pages: two slices
  pool.add_region(1, 64 * bounds::KiB);
  for (std::uint32_t i = 0; i < 400; ++i)
    pool.commit("key" + std::to_string(i), {region, page_index{i}});
  pool.restart();
  auto state = pool.must_recover();
  std::set<std::pair<std::uint32_t, std::uint32_t>> looked_at;
  audit a{pool.env,
          [&](region_id id, std::uint32_t from, std::uint32_t count) {
            EXPECT_LE(count, bounds::slice_pages);
            std::vector<page_state> out;
            for (auto i = from; i < from + count; ++i) {
              looked_at.emplace(value_of(id), i);
              out.push_back(*state.table->state_of({id, page_index{i}}));
            }
            return out;
          },
          [&](const key_hash& h) { return state.shards[0]->find(h); }, state.table->rows()};
  std::string cursor;
  audit::slice slice;
  int slices = 0;
  do {
    slice = a.next(cursor);
    EXPECT_TRUE(slice.problems.empty());
    cursor = slice.cursor;
  } while (!cursor.empty() && ++slices < 50);
  EXPECT_EQ(looked_at.size(), 512u + 32u);
  EXPECT_EQ(slice.done, 544u + 400u);
  EXPECT_EQ(slice.total, slice.done);
}

}  // namespace
}  // namespace maru::actors
