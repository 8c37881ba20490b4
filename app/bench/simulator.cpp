#include "app/bench/simulator.hpp"

namespace maru::bench {

std::size_t lru_simulator::request(std::span<const std::uint64_t> blocks) {
  std::size_t hits = 0;
  while (hits < blocks.size() && where_.contains(blocks[hits]))
    ++hits;
  for (std::size_t i = blocks.size(); i > 0; --i)
    use(blocks[i - 1]);
  return hits;
}

void lru_simulator::use(std::uint64_t block) {
  if (auto known = where_.find(block); known != where_.end()) {
    order_.splice(order_.begin(), order_, known->second);
    return;
  }
  if (capacity_ != 0 && order_.size() == capacity_) {
    where_.erase(order_.back());
    order_.pop_back();
  }
  order_.push_front(block);
  where_[block] = order_.begin();
}

double simulate_lru(const trace& t, std::size_t capacity) {
  lru_simulator cache(capacity);
  std::size_t hits = 0, blocks = 0;
  for (const auto& r : t.requests) {
    hits += cache.request(r.blocks);
    blocks += r.blocks.size();
  }
  return blocks == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(blocks);
}

}  // namespace maru::bench
