// What an ideal cache would hit: the replay's accounting over an exact LRU in this process, without a server. A run
// of the real thing is held against it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>

#include "app/bench/trace.hpp"

namespace maru::bench {

// LRU over block ids. A request's blocks are touched and inserted from the last to the first, so that a prefix
// outlives what follows it.
class lru_simulator {
public:
  // Capacity in blocks; 0 never evicts.
  explicit lru_simulator(std::size_t capacity) : capacity_(capacity) {}

  // Blocks of this request up to its first miss, before it is stored.
  std::size_t request(std::span<const std::uint64_t> blocks);

  std::size_t size() const { return order_.size(); }

private:
  void use(std::uint64_t block);

  std::size_t capacity_;
  std::list<std::uint64_t> order_;  // most recent first
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> where_;
};

// Prefix hits divided by blocks (0..1) of a whole trace in order.
double simulate_lru(const trace& t, std::size_t capacity);

}  // namespace maru::bench
