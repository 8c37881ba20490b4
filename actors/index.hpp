// The index of one shard: which keys are committed, where their bytes are, how often each is pinned, and how recently
// it was used.
//
// Operation: chained hash table over an array of 64-byte entries. Both have their full size from the start, in memory that
// the kernel gives as it is touched, so nothing is ever rehashed: one bucket a page slot of the pool, and entries for
// growth_max times as many, since devices may be added. Entries that
// may be evicted are in the eviction policy of their page size; a pinned one leaves it and comes back as just used when
// its last pin ends. A view's pin keeps an entry from being evicted but not from being removed: then its page is detached,
// which means that the key is gone and the page waits for the last such pin.
// Concurrency: none; owned by one index_shard.
// Limits: 2^32 - 2 entries; at most bounds::page_sizes_max page sizes. Both are far above what one pool has.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "actors/eviction_policy.hpp"
#include "actors/lazy_array.hpp"
#include "base/error.hpp"
#include "base/types.hpp"
#include "cxl/pool_index.hpp"
#include "net/records.hpp"

namespace maru::actors {

// An entry on its way out: what the store_worker needs to forget it.
struct victim {
  key_hash hash;
  location where;
  bool viewed = false;  // its page stays evicting until the views are gone, see index::drop
};

class index {
public:
  // A pool that gets more devices may grow to so many times its page slots at the start.
  static constexpr std::size_t growth_max = 8;

  // `capacity`: the most entries there can be. `buckets`: about how many are expected; 0: as many. REQUIRES: the policy name
  // is known.
  index(std::size_t capacity, std::string_view policy, std::size_t buckets = 0);

  struct lookup_flags {
    holding takes = holding::nothing;  // of each hit
    bool prefix_stop = false;
  };

  // What is in the index is in the pool's, too, from here on: what a lookup would hit, and entries on their way out until
  // they are gone (their readers ask). Call it before the first insert.
  void publish_to(const cxl::pool_index& readers, std::uint64_t shards) {
    readers_ = &readers;
    shards_ = shards;
  }

  // One item per hash, in order. Hits count as used, earlier ones more recently than later ones (a prefix cache cannot
  // use a block whose predecessor is gone). Entries on their way out are misses.
  std::vector<net::found> lookup(std::span<const key_hash> hashes, lookup_flags flags);
  // True where one of them is on its way out: whether it goes is not known yet.
  bool undecided(std::span<const key_hash> hashes) const;

  // Has what find() and insert() look at first on its way.
  void prefetch(const key_hash& hash) const { buckets_.prefetch(bucket_of(hash)); }

  // Counts as a use, where the entry may be evicted.
  void touch(const key_hash& hash);

  // True where a lookup would hit. Does not count as use.
  bool contains(const key_hash& hash) const;
  // Where the entry is and how often it is pinned; empty for a miss.
  struct details {
    location where;
    std::uint32_t pins = 0;  // those of views too
    bool evicting = false;
    bool condemned = false;
  };
  std::optional<details> find(const key_hash& hash) const;

  // Counts pins that somebody holds already, condemned entries' and those of detached pages too; ok or missing per pin.
  std::vector<ec> pin_again(std::span<const pin_id> pins);
  // Ends one pin of each; the last one counts as use, in the order of a lookup. Pins that are not there are passed over and
  // counted in the return value (the ledger sees to it that there are none).
  std::size_t unpin(std::span<const pin_id> pins);

  // Adds an entry, just used; `slot` is its page's descriptor's. `exists` when there is one. REQUIRES: page_bytes > 0.
  ec insert(const key_hash& hash, const location& where, std::uint64_t page_bytes, std::uint64_t slot = 0);

  // Marks an entry evicting: a lookup misses from now on. ok, missing (or already going) or pinned (by key).
  ec mark(const key_hash& hash, victim& out);
  // The same for the coldest entries of a page size, at most `count`.
  std::vector<victim> mark_coldest(std::uint64_t page_bytes, std::size_t count);
  // The bytes of the entry at this place are damaged: a lookup misses from now on. ok: it is marked evicting and `out` has
  // it. pinned: it goes when its last pin ends, see take_condemned; with `keep` also where it has none, to be condemned
  // again. busy: it is on its way out, but may stay: ask again. missing: it is not there.
  ec condemn(const victim& damaged, bool keep, victim& out);
  // Condemned entries whose last pin ended since the last call, marked evicting.
  std::vector<victim> take_condemned();
  // Where the coldest entry of a page size lies; empty when none can be evicted.
  std::optional<location> coldest(std::uint64_t page_bytes) const;
  // Ends an entry that was marked. True where views still hold its page: then it is detached. REQUIRES: mark or
  // mark_coldest gave it.
  bool drop(const key_hash& hash);
  // A detached page that recovery found; who holds it says so with pin_again.
  void detach(const page_grant& page);
  // Detached pages that nobody holds any more; they are this index's no longer.
  std::vector<page_grant> take_unheld();
  // Takes the mark back: forgetting failed, or a worker holds the page; the entry stays. It counts as just used.
  // `condemned`: its bytes are damaged, as condemn() had it.
  void restore(const key_hash& hash, bool condemned = false);

  std::size_t capacity() const { return capacity_; }
  std::size_t size() const { return live_; }  // without those marked
  std::size_t evicting() const { return evicting_; }
  std::size_t detached() const { return detached_.size(); }
  std::uint64_t pins() const { return pins_; }
  std::uint64_t bytes() const { return bytes_; }  // sum of the lengths of live entries

private:
  enum class entry_state : std::uint8_t { unused = 0, live = 1, evicting = 2, condemned = 3 };
  struct alignas(64) entry {
    key_hash hash;
    std::uint32_t region, page;
    std::uint32_t length, pins;
    generation gen;
    std::uint64_t checksum;
    std::uint32_t next;   // in the bucket, as index + 1
    std::uint32_t views;  // of the pins: those of views
    entry_state state;
    std::uint8_t size_class;
    bool published;  // in the pool's index
    std::uint8_t device;
    std::uint32_t slot;  // on the device
  };
  static constexpr std::uint32_t none = UINT32_MAX;

  // True where the eviction policy has the entry: it may be evicted.
  bool evictable(const entry& e) const { return e.state == entry_state::live && e.pins == 0; }
  std::uint32_t locate(const key_hash& hash) const;
  // The entry that the pin is on, if it is not detached.
  std::uint32_t locate(const pin_id& pin) const;
  void add_pin(std::uint32_t i, bool view);
  bool count_again(const pin_id& pin);
  bool end_pin(const pin_id& pin);
  location where(const entry& e) const;
  static std::uint64_t slot_of(const entry& e);
  victim mark_at(std::uint32_t i);
  void publish(std::uint32_t i);
  void withdraw(std::uint32_t i);
  std::uint8_t class_of(std::uint64_t page_bytes);
  const eviction_policy* policy_of(std::uint64_t page_bytes) const;

  std::size_t bucket_of(const key_hash& h) const { return h.low & bucket_mask_; }

  std::size_t capacity_;
  std::size_t bucket_mask_;
  lazy_array<std::uint32_t> buckets_;  // index + 1 of the first entry; 0: empty
  lazy_array<entry> entries_;
  std::uint32_t used_ = 0;     // entries_ below this were used once
  std::uint32_t free_ = none;  // list of unused ones, through `next`
  struct size_class {
    std::uint64_t page_bytes;
    std::unique_ptr<eviction_policy> policy;
    std::size_t entries = 0;  // pinned and evicting ones too; with none, another page size takes its place
  };
  std::vector<size_class> classes_;
  std::string policy_name_;
  const cxl::pool_index* readers_ = nullptr;
  std::uint64_t shards_ = 1;
  std::vector<victim> ended_condemned_;
  std::unordered_map<page_grant, std::uint32_t> detached_;  // how many views hold it
  std::vector<page_grant> unheld_;                          // detached ones whose count reached 0
  std::size_t live_ = 0, evicting_ = 0;
  std::uint64_t pins_ = 0, bytes_ = 0;
};

}  // namespace maru::actors
