// Goal: after a crash at any point, what was acknowledged is served again, nothing else is, and no page that somebody may
// still touch is free. Method: a real pool on a temporary file beside a store in memory, brought into each state that a
// crash or damage can leave; then random states, recovered once, and again after a recovery that was killed.
#include "actors/recovery.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <map>

#include "actors/entry_scan.hpp"
#include "tests/actors/pool_environment.hpp"

namespace maru::actors {
namespace {

constexpr session_id worker{1}, stranger{99};
constexpr std::uint64_t page_bytes = 64 * bounds::KiB;

class recovery_of_a_pool : public ::testing::Test {
protected:
  page_ref page(std::uint32_t n) const { return {region, page_index{n}}; }
  recovered_state after_restart() {
    pool.restart();
    return pool.must_recover();
  }
  // Recovers and expects that the one entry was dropped for this reason, and its record deleted.
  recovered_state expect_dropped(const std::string& key, const std::string& reason) {
    auto state = after_restart();
    EXPECT_EQ(state.entries, 0u);
    EXPECT_EQ(state.dropped, 1u);
    EXPECT_FALSE(state.shards[0]->find(pool.hash(key)));
    EXPECT_FALSE(pool.has_record(key));
    auto line = "maru_recovery_dropped_total{reason=\"" + reason + "\"} 1";
    EXPECT_NE(pool.env->metrics->text().find(line), std::string::npos) << "no " << line;
    return state;
  }
  void expect_free(recovered_state& state, page_ref where, generation gen) {
    EXPECT_EQ(*state.table->state_of(where), page_state::free);
    auto d = pool.descriptor(where);
    ASSERT_TRUE(d);
    EXPECT_EQ(d->state, page_state::free);
    EXPECT_EQ(d->gen, gen);
  }

  test::pool_environment pool;
  region_id region = pool.add_region();
};

TEST_F(recovery_of_a_pool, EmptyPoolGivesOneIndexAShardAndNoRegion) {
  test::pool_environment fresh;
  fresh.env->shards = 3;
  auto state = fresh.must_recover();
  EXPECT_EQ(state.shards.size(), 3u);
  EXPECT_TRUE(state.table->rows().empty());
  EXPECT_EQ(state.table->unassigned_bytes(), 8 * bounds::MiB);
  EXPECT_EQ(state.entries + state.dropped, 0u);
}

TEST_F(recovery_of_a_pool, ARetiredPageStaysSoAndIsNotMissed) {
  pool.write(page(2), page_state::retired, 9);
  pool.restart();
  auto state =
    recover(*pool.env, false);  // as where the state directory is lost: used pages would need the operator's word
  ASSERT_TRUE(state) << to_string(state.error());
  EXPECT_EQ(*state->table->state_of(page(2)), page_state::retired);
  EXPECT_EQ(pool.descriptor(page(2))->state, page_state::retired);
  EXPECT_EQ(pool.descriptor(page(2))->gen, 9u);
  EXPECT_EQ(state->table->counts().total() - state->table->counts().free, 1u);
}

TEST_F(recovery_of_a_pool, Invariant2_AcknowledgedEntryIsFoundWhereItWas) {
  auto record = pool.commit("a", page(3));
  auto state = after_restart();
  EXPECT_EQ(state.entries, 1u);
  EXPECT_EQ(state.dropped, 0u);
  auto found = state.shards[0]->find(pool.hash("a"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->where, record.where);
  EXPECT_EQ(*state.table->state_of(page(3)), page_state::committed);
  EXPECT_EQ(state.table->free_pages(page_bytes), 31u);
  EXPECT_EQ(pool.env->regions->find(region)->id, region);
  EXPECT_TRUE(pool.has_record("a"));
}

TEST_F(recovery_of_a_pool, EntriesGoToTheShardOfTheirHash) {
  pool.env->shards = 2;
  for (std::uint32_t i = 0; i < 20; ++i)
    pool.commit("key" + std::to_string(i), page(i));
  auto state = after_restart();
  EXPECT_EQ(state.entries, 20u);
  for (std::uint32_t i = 0; i < 20; ++i) {
    auto hash = pool.hash("key" + std::to_string(i));
    for (std::size_t s = 0; s < 2; ++s)
      EXPECT_EQ(state.shards[s]->contains(hash), s == shard_of(hash, 2));
  }
}

TEST_F(recovery_of_a_pool, ScanFindsTheSameInHoweverManyRanges) {
  for (std::uint32_t i = 0; i < 20; ++i)
    pool.commit("key" + std::to_string(i), page(i));
  pool.put_record(pool.record_of("lost", test::page_at(77, 0)));
  auto scan = [&](std::size_t ranges) {
    std::vector<key_hash> confirmed, refused;
    auto parts = scan_entries(*pool.env, ranges);
    EXPECT_TRUE(parts && parts->size() == ranges);
    for (const auto& part : *parts) {
      for (const auto& e : part.confirmed)
        confirmed.push_back(e.hash);
      for (const auto& [hash, why] : part.refused)
        refused.push_back(hash);
    }
    return std::pair{confirmed, refused};
  };
  auto in_one = scan(1);
  EXPECT_EQ(in_one.first.size(), 20u);
  EXPECT_EQ(in_one.second, std::vector{pool.hash("lost")});
  for (std::size_t ranges : {2, 3, 8})
    EXPECT_EQ(scan(ranges), in_one) << ranges;
}

TEST_F(recovery_of_a_pool, OldestCommitIsTheColdest) {
  pool.commit("new", page(0), 300);
  pool.commit("old", page(1), 100);
  pool.commit("mid", page(2), 200);
  auto state = after_restart();
  std::vector<key_hash> order;
  for (const auto& v : state.shards[0]->mark_coldest(page_bytes, 9))
    order.push_back(v.hash);
  EXPECT_EQ(order, (std::vector{pool.hash("old"), pool.hash("mid"), pool.hash("new")}));
}

// -- records that the pool does not confirm

TEST_F(recovery_of_a_pool, RecordOfAPageThatIsNotCommittedIsDropped) {
  for (auto s : {page_state::free, page_state::granted, page_state::evicting, page_state::quarantined}) {
    SCOPED_TRACE(cxl::to_string(s));
    auto d = pool.committed(pool.commit("a", page(0)));
    d.state = s;
    pool.write(page(0), d);
    auto state = expect_dropped("a", "state");
    // Nobody known has the page: it is free, one generation later unless it was free before.
    expect_free(state, page(0), s == page_state::free ? 5 : 6);
  }
}

TEST_F(recovery_of_a_pool, Invariant7_RecordOfAnotherGenerationIsDropped) {
  auto record = pool.commit("a", page(0));
  record.where.gen = 4;
  pool.put_record(record);
  auto state = expect_dropped("a", "generation");
  expect_free(state, page(0), 6);
}

TEST_F(recovery_of_a_pool, Invariant7_RecordThatDoesNotFitTheDescriptorIsDropped) {
  for (int field = 0; field < 3; ++field) {
    SCOPED_TRACE(field);
    auto d = pool.committed(pool.commit("a", page(0)));
    (field == 0 ? d.hash.low : d.checksum) += field == 2 ? 0 : 1;
    d.length += field == 2 ? 1 : 0;
    pool.write(page(0), d);
    expect_dropped("a", "hash");
  }
}

TEST_F(recovery_of_a_pool, RecordInARegionThatIsNotThereIsDropped) {
  pool.put_record(pool.record_of("a", test::page_at(77, 0)));
  expect_dropped("a", "no_region");
}

TEST_F(recovery_of_a_pool, RecordPastTheEndOfItsRegionIsDropped) {
  pool.put_record(pool.record_of("a", page(32)));
  expect_dropped("a", "no_region");
}

TEST_F(recovery_of_a_pool, Invariant7_FlippedBitInTheDescriptorDropsTheEntryAndThePageStartsAboveAllGenerations) {
  for (std::size_t byte : {3u, 9u, 25u, 33u, 41u, 62u}) {
    SCOPED_TRACE(byte);
    pool.commit("a", page(0));
    auto highest = pool.env->pool->super().highest;
    pool.env->pool->descriptors().line(pool.slot(page(0)))[byte] ^= std::byte{4};
    auto state = expect_dropped("a", "descriptor");
    EXPECT_EQ(*state.table->state_of(page(0)), page_state::free);
    ASSERT_TRUE(pool.descriptor(page(0)));
    EXPECT_GT(pool.descriptor(page(0))->gen, highest);
    EXPECT_NE(pool.env->metrics->text().find("maru_corruption_total{kind=\"descriptor\"} 1"), std::string::npos);
  }
}

TEST_F(recovery_of_a_pool, TwoRecordsOfOnePageKeepTheOneThatTheDescriptorNames) {
  pool.commit("loser", page(0));
  pool.commit("winner", page(0));
  auto state = after_restart();
  EXPECT_EQ(state.entries, 1u);
  EXPECT_TRUE(state.shards[0]->contains(pool.hash("winner")));
  EXPECT_FALSE(pool.has_record("loser"));
  EXPECT_EQ(*state.table->state_of(page(0)), page_state::committed);
}

// -- pages without a record

TEST_F(recovery_of_a_pool, CommittedPageWithoutRecordGoesBackToItsSession) {
  pool.put_session(worker);
  pool.write(page(2), pool.committed(pool.record_of("a", page(2)), worker));
  auto state = after_restart();
  ASSERT_EQ(state.sessions.size(), 1u);
  EXPECT_EQ(state.sessions[0].record.id, worker);
  EXPECT_EQ(state.sessions[0].granted, (std::vector{page_grant{page(2), 5}}));
  EXPECT_EQ(*state.table->state_of(page(2)), page_state::granted);
  auto d = pool.descriptor(page(2));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->state, page_state::granted);
  EXPECT_EQ(d->session, worker);
  EXPECT_EQ(d->hash, key_hash{});
}

TEST_F(recovery_of_a_pool, CommittedPageOfAnUnknownSessionIsFree) {
  pool.put_session(worker);
  pool.write(page(2), pool.committed(pool.record_of("a", page(2)), stranger));
  auto state = after_restart();
  expect_free(state, page(2), 6);
  EXPECT_TRUE(state.sessions.at(0).granted.empty());
}

TEST_F(recovery_of_a_pool, Invariant6_GrantedAndQuarantinedPagesWaitForTheirSession) {
  pool.put_session(worker);
  pool.write(page(1), page_state::granted, 7, worker);
  pool.write(page(4), page_state::quarantined, 8, worker);
  pool.write(page(5), page_state::granted, 9, stranger);
  auto state = after_restart();
  EXPECT_EQ(state.sessions.at(0).granted, (std::vector{page_grant{page(1), 7}, page_grant{page(4), 8}}));
  EXPECT_EQ(state.table->counts().granted, 2u);
  expect_free(state, page(5), 10);
}

TEST_F(recovery_of_a_pool, Invariant7_EvictingPageIsFreeOneGenerationLater) {
  pool.write(page(1), page_state::evicting, 7, worker);
  auto state = after_restart();
  expect_free(state, page(1), 8);
}

TEST_F(recovery_of_a_pool, Invariant6_EvictingPageIsDetachedWhileSessionsOfBeforeMayShowIt) {
  pool.put_session(worker);
  pool.write(page(1), page_state::evicting, 7, worker);
  for (int i = 0; i < 2; ++i) {  // still after one more crash, before the session was settled
    auto state = after_restart();
    EXPECT_EQ(*state.table->state_of(page(1)), page_state::evicting);
    EXPECT_EQ(pool.descriptor(page(1))->gen, 7u);
    ASSERT_EQ(state.shards[0]->detached(), 1u);
    EXPECT_EQ(state.shards[0]->take_unheld(), std::vector({page_grant{page(1), 7}}));
  }
}

TEST_F(recovery_of_a_pool, Invariant6_DamagedPageIsHeldWhileSessionsOfBeforeMayWriteIt) {
  pool.put_session(worker);
  pool.commit("a", page(1));
  pool.env->pool->descriptors().line(pool.slot(page(1)))[20] ^= std::byte{1};
  auto state = after_restart();
  EXPECT_EQ(state.held, std::vector{page(1)});
  EXPECT_EQ(*state.table->state_of(page(1)), page_state::quarantined);
  // And still after one more crash, before the session was settled.
  auto again = after_restart();
  EXPECT_EQ(again.held, std::vector{page(1)});
  EXPECT_EQ(*again.table->state_of(page(1)), page_state::quarantined);
}

// -- lost contents, lost state

TEST_F(recovery_of_a_pool, LostContentsDropAllEntriesAndSessions) {
  pool.commit("a", page(0));
  pool.commit("b", page(1));
  pool.put_session(worker);
  pool.restart_with(random_uuid());
  ASSERT_EQ(pool.env->pool->how(), cxl::opened_as::contents_lost);
  auto state = pool.must_recover();
  EXPECT_EQ(state.entries, 0u);
  EXPECT_EQ(state.dropped, 2u);
  EXPECT_TRUE(state.sessions.empty());
  EXPECT_FALSE(pool.has_record("a"));
  EXPECT_TRUE(pool.store->sessions()->empty());
  EXPECT_NE(pool.env->metrics->text().find("maru_recovery_dropped_total{reason=\"contents_lost\"} 2"),
            std::string::npos);
}

TEST_F(recovery_of_a_pool, PoolThatTheStateDirectoryDoesNotKnowIsRefused) {
  pool.write(page(0), pool.committed(pool.record_of("a", page(0))));
  pool.write(page(1), page_state::granted, 3, worker);
  pool.restart();
  auto state = recover(*pool.env, false);
  ASSERT_FALSE(state);
  EXPECT_EQ(state.code(), ec::unknown_contents);
  for (std::string word : {"failed to recover pool", "2 pages", "--state-dir", "--on-damage=start-empty"})
    EXPECT_NE(state.error().message.find(word), std::string::npos) << state.error().message;
  EXPECT_EQ(pool.descriptor(page(0))->state, page_state::committed) << "refused means untouched";
}

TEST_F(recovery_of_a_pool, StartEmptyFreesThePagesThatNobodyKnows) {
  pool.env->options.on_damage = "start-empty";
  pool.write(page(0), pool.committed(pool.record_of("a", page(0))));
  pool.restart();
  auto state = recover(*pool.env, false);
  ASSERT_TRUE(state) << state.error().message;
  expect_free(*state, page(0), 6);
  EXPECT_EQ(state->table->counts(page_bytes).free, 32u);
}

TEST_F(recovery_of_a_pool, UnknownPoolWithoutUsedPagesIsTaken) {
  pool.restart();
  EXPECT_TRUE(recover(*pool.env, false));
}

TEST_F(recovery_of_a_pool, FailingStoreIsAnError) {
  pool.put_record(pool.record_of("a", page(0)));
  pool.restart();
  pool.store->fail_write(1, {ec::storage_failed, "failed to write: no"});
  EXPECT_EQ(recover(*pool.env, true).code(), ec::storage_failed);
}

// -- random states

class recovery_of_random_states : public ::testing::TestWithParam<int> {
protected:
  static constexpr std::uint32_t pages = 32;
  static constexpr std::size_t keys = 40;

  void make_state() {
    for (std::uint64_t s = 1; s <= 2; ++s)
      if (random.chance(70))
        pool.put_session(session_id{s});
    for (std::uint32_t i = 0; i < pages; ++i) {
      page_ref page{region, page_index{i}};
      auto record = pool.record_of("key" + std::to_string(random.below(keys)), page, 1 + random.below(9));
      if (random.chance(60))
        pool.put_record(record);
      record.where.gen += random.chance(20) ? 1 : 0;
      auto d = pool.committed(record, session_id{1 + random.below(3)});
      if (random.chance(50))
        d.state = static_cast<page_state>(random.below(5));
      if (random.chance(80))
        pool.write(page, d);
      if (random.chance(10))
        pool.env->pool->descriptors().line(pool.slot(page))[random.below(64)] ^= std::byte{8};
      if (!pool.descriptor(page))
        damaged.push_back(page);
    }
  }

  // Everything that recovery decided, in a form that compares.
  struct picture {
    std::map<std::string, location> entries;
    std::vector<page_state> states;
    std::map<session_id, std::vector<page_grant>> granted;
    std::vector<page_ref> held;
    bool operator==(const picture&) const = default;
  };
  picture picture_of(const recovered_state& state) {
    picture p;
    for (std::size_t k = 0; k < keys; ++k) {
      auto key = "key" + std::to_string(k);
      if (auto found = state.shards[0]->find(pool.hash(key)))
        p.entries[key] = found->where;
    }
    for (std::uint32_t i = 0; i < pages; ++i)
      p.states.push_back(*state.table->state_of({region, page_index{i}}));
    for (const auto& s : state.sessions)
      p.granted[s.record.id] = s.granted;
    p.held = state.held;
    return p;
  }

  void check(const recovered_state& state, const std::map<std::uint32_t, generation>& before) {
    for (std::uint32_t i = 0; i < pages; ++i) {
      page_ref page{region, page_index{i}};
      auto d = pool.descriptor(page);
      ASSERT_TRUE(d) << "Invariant 3: a damaged line is left at page " << i;
      ASSERT_EQ(d->state, *state.table->state_of(page)) << "Invariant 3: page " << i;
      if (before.contains(i)) {
        ASSERT_GE(d->gen, before.at(i)) << "Invariant 7: page " << i;
      }
    }
    std::uint64_t entries = 0;
    ASSERT_TRUE(pool.store->scan_entries({}, [&](const key_hash& hash, const storage::entry_record& record) {
      ++entries;
      auto found = state.shards[0]->find(hash);
      auto d = pool.descriptor(record.where.page);
      EXPECT_TRUE(found && found->where == record.where);
      EXPECT_TRUE(d->state == page_state::committed && d->hash == hash && d->gen == record.where.gen);
      return true;
    }));
    ASSERT_EQ(entries, state.entries);
    ASSERT_EQ(entries, state.table->counts().committed);
    std::uint64_t granted = 0;
    for (const auto& s : state.sessions)
      granted += s.granted.size();
    ASSERT_EQ(granted, state.table->counts().granted);
    ASSERT_EQ(state.held.size(), state.table->counts().quarantined);
    ASSERT_EQ(state.shards[0]->detached(), state.table->counts().evicting);
    for (auto page : damaged)
      ASSERT_EQ(std::count(state.held.begin(), state.held.end(), page), state.sessions.empty() ? 0 : 1);
  }

  test::random_source random{static_cast<std::uint64_t>(GetParam())};
  test::pool_environment pool;
  region_id region = pool.add_region();
  std::vector<page_ref> damaged;
};

TEST_P(recovery_of_random_states, PageTableDescriptorsStoreAndIndexAgreeAndAKilledRecoveryStartsOver) {
  make_state();
  std::map<std::uint32_t, generation> before;
  for (std::uint32_t i = 0; i < pages; ++i)
    if (auto d = pool.descriptor({region, page_index{i}}))
      before[i] = d->gen;
  // Killed half-way: all descriptors are repaired, RocksDB is not.
  pool.restart();
  pool.store->fail_write(1, {ec::storage_failed, "failed to write entries: the test says so"});
  auto killed = recover(*pool.env, true);
  pool.restart();
  auto first = pool.must_recover();
  ASSERT_NO_FATAL_FAILURE(check(first, before));
  if (killed) {  // there was nothing to repair in RocksDB, so it went through
    EXPECT_EQ(picture_of(*killed), picture_of(first));
  }
  pool.restart();
  auto second = pool.must_recover();
  EXPECT_EQ(picture_of(second), picture_of(first));
  EXPECT_EQ(second.dropped, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, recovery_of_random_states, ::testing::Range(0, 12));

}  // namespace
}  // namespace maru::actors
