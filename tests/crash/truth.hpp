// What must be true of marud after every step, whatever its workers do: the entries of a few keys in index, store and
// descriptors, looked at from outside, and what workers were told of them.
//
// A commit is named by key, page and generation: no other commit ever has the same three. Seen from outside it is absent,
// visible, then perhaps evicting, then dropped; no step may leave that out, and no crash may lead back from dropped.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/actors/house.hpp"

namespace maru::actors::test {

struct commit_id {
  std::size_t key = 0;
  page_grant grant;
  auto order() const { return std::tuple{key, grant.page, grant.gen}; }
  friend bool operator<(const commit_id& a, const commit_id& b) { return a.order() < b.order(); }
};

class truth {
public:
  truth(house& in, std::size_t keys) : in_(&in), entries_(keys), drops_(keys) {
    for (std::size_t k = 0; k < keys; ++k)
      hashes_.push_back(in.hash(name(k)));
  }

  static std::string name(std::size_t key) { return "key" + std::to_string(key); }
  const key_hash& hash(std::size_t key) const { return hashes_[key]; }

  // -- what workers asked for and were told
  void asked(const commit_id& c) { asked_.insert(c); }
  bool was_visible(const commit_id& c) const { return visible_.contains(c); }
  // How often the key was dropped: a removal is done when this grew.
  std::uint64_t drops(std::size_t key) const { return drops_[key]; }

  // After every step.
  void look() {
    pages_.clear();
    for (std::size_t k = 0; k < hashes_.size(); ++k) {
      SCOPED_TRACE(name(k));
      look_at_entry(k);
      look_at_record(k);
    }
  }

  // After a restart. What was visible at the kill must be there again; what was on its way may have arrived or not.
  void look_after_restart() {
    for (std::size_t k = 0; k < hashes_.size(); ++k) {
      auto& before = entries_[k];
      if (before && before->evicting && !in_->indexes[shard(k)]->find(hashes_[k]))
        drop(k);
      else if (before)
        before->evicting = false;
    }
    look();
  }

  // The page's descriptor; empty when its region is gone.
  std::optional<cxl::descriptor> descriptor(page_ref page) const {
    auto slot = in_->pool.env->slot_of(page);
    return slot ? in_->pool.env->pool->descriptors().read(*slot) : std::nullopt;
  }
  std::uint32_t pins(std::size_t key) const {
    auto e = in_->indexes[shard(key)]->find(hashes_[key]);
    return e ? e->pins : 0;
  }

private:
  struct entry {
    commit_id is;
    bool evicting = false;
  };

  std::size_t shard(std::size_t key) const { return shard_of(hashes_[key], in_->indexes.size()); }

  void drop(std::size_t k) {
    dropped_.insert(entries_[k]->is);
    ++drops_[k];
    entries_[k].reset();
  }

  void look_at_entry(std::size_t k) {
    auto& before = entries_[k];
    auto now = in_->indexes[shard(k)]->find(hashes_[k]);
    if (!now) {
      if (before) {
        EXPECT_TRUE(before->evicting) << "Invariant 2: an entry is gone that nobody removed or evicted";
        drop(k);
      }
      return;
    }
    commit_id is{k, {now->where.page, now->where.gen}};
    EXPECT_TRUE(pages_.insert(is.grant.page).second) << "Invariant 3: one page, two entries";
    if (before) {
      EXPECT_EQ(before->is.grant.page, is.grant.page) << "Invariant 8: overwritten";
      EXPECT_EQ(before->is.grant.gen, is.grant.gen) << "Invariant 8: overwritten";
    } else {
      EXPECT_TRUE(asked_.contains(is)) << "nobody committed this";
      EXPECT_FALSE(dropped_.contains(is)) << "Invariant 2: a removed entry came back";
    }
    if (!now->evicting) {
      visible_.insert(is);
      expect_complete_and_durable(k, now->where);
    }
    before = entry{is, now->evicting};
  }

  void expect_complete_and_durable(std::size_t k, const location& where) {
    auto record = in_->pool.store->entry(hashes_[k]);
    ASSERT_TRUE(record && *record) << "Invariant 2: visible, but not durable";
    EXPECT_EQ((*record)->where, where) << "Invariant 2: durable elsewhere";
    auto d = descriptor(where.page);
    ASSERT_TRUE(d) << "Invariant 1: visible, but its page is gone";
    EXPECT_EQ(d->state, page_state::committed) << "Invariant 1";
    EXPECT_EQ(d->gen, where.gen) << "Invariant 7";
    EXPECT_EQ(d->hash, hashes_[k]) << "Invariant 7";
  }

  // What a crash now could bring back.
  void look_at_record(std::size_t k) {
    auto record = in_->pool.store->entry(hashes_[k]);
    if (!record || !*record)
      return;
    commit_id is{k, {(*record)->where.page, (*record)->where.gen}};
    EXPECT_TRUE(asked_.contains(is)) << "a record of a commit that nobody asked for";
    EXPECT_FALSE(dropped_.contains(is)) << "Invariant 2: dropped, but still in the store";
  }

  house* in_;
  std::vector<key_hash> hashes_;
  std::vector<std::optional<entry>> entries_;  // as the last look found them
  std::vector<std::uint64_t> drops_;
  std::set<commit_id> asked_, visible_, dropped_;
  std::set<page_ref> pages_;
};

}  // namespace maru::actors::test
