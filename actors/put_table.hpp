// The keys of a shard on which a put or a removal is under way, and who waits for them. A key has one holder at a time:
// the first put or the removal; later puts of the key queue behind it, and each of them learns its fate when the holder
// is done. Waiters never delay the holder or other keys.
//
// Concurrency: none; owned by the store_worker. The index cannot change for a key in this table but by its holder.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/types.hpp"

namespace maru::actors {

// An item of a put: which put, and which of its items.
struct put_item_ref {
  std::uint64_t put = 0;
  std::uint32_t item = 0;
  friend bool operator==(const put_item_ref&, const put_item_ref&) = default;
};

class put_table {
public:
  // True: `who` holds the key now. False: it waits.
  bool claim(const key_hash& hash, put_item_ref who);
  // A removal holds the key from now on. A put that held it (its claim met the entry that is now on its way out) waits
  // in front of all others.
  void begin_removal(const key_hash& hash);
  // The holder committed: everybody who waits is told "exists". The key is free.
  std::vector<put_item_ref> committed(const key_hash& hash);
  // The holder failed or the removal is done: the next one that waits holds the key, if any.
  std::optional<put_item_ref> released(const key_hash& hash);

  std::size_t size() const { return held_.size(); }

private:
  struct claim_state {
    put_item_ref holder;
    bool removal = false;
    std::vector<put_item_ref> waiters;
  };
  std::unordered_map<key_hash, claim_state> held_;
};

}  // namespace maru::actors
