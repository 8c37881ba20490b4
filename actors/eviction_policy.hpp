// Which entry goes first when memory is short. One instance per index shard and page size; the entries it knows are
// exactly those that may be evicted (live and not pinned).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace maru::actors {

// Nodes are small numbers given by the index. Not thread-safe: owned by one index.
class eviction_policy {
public:
  static constexpr std::uint32_t none = UINT32_MAX;

  virtual ~eviction_policy() = default;
  // The node may be evicted from now on; it was used just now. REQUIRES: the policy does not hold it.
  virtual void add(std::uint32_t node) = 0;
  // The node was used. REQUIRES: the policy holds it.
  virtual void touch(std::uint32_t node) = 0;
  // The node is pinned, removed or evicted. REQUIRES: the policy holds it.
  virtual void take(std::uint32_t node) = 0;
  // The node to evict next, or none. Stays held.
  virtual std::uint32_t coldest() const = 0;
  // Hint that `node` is about to be touched.
  virtual void prefetch(std::uint32_t node) const = 0;
  virtual std::size_t size() const = 0;
};

// `name` is the option --eviction: "lru". Null for an unknown name. `capacity`: nodes are below it.
std::unique_ptr<eviction_policy> make_eviction_policy(std::string_view name, std::size_t capacity);

}  // namespace maru::actors
