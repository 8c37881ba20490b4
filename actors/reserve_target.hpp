// How many free pages eviction keeps ahead of the demand. Small on purpose: on the conversation trace with 10,000 pages,
// evicting from 95 % down to 90 % costs 1.35 points of hit rate, so the reserve follows the rate of grants and is at most
// about 1 % of the pages.
//
// Concurrency: none; owned by the pool_manager.
#pragma once

#include <algorithm>
#include <cstdint>

namespace maru::actors {

class reserve_target {
public:
  // `fixed` >= 0 switches the following off.
  explicit reserve_target(std::int64_t fixed) : fixed_(fixed) {}

  // Pages granted since the last call, once a tick (100 ms). The peak decays by an eighth a tick.
  void observe(std::uint64_t granted) { peak_ = std::max(granted, peak_ - (peak_ + 7) / 8); }

  // Pages to keep free, of `capacity` that the page size can have: what a tick's grants took, at least one and at
  // most one percent.
  std::uint64_t pages(std::uint64_t capacity) const {
    if (fixed_ >= 0)
      return std::min(static_cast<std::uint64_t>(fixed_), capacity);
    auto most = std::max<std::uint64_t>(1, capacity / 100);
    return std::clamp<std::uint64_t>(peak_, 1, most);
  }

  // Pages that the demand may take while a region is made ready: a region is begun while so many are still free beyond
  // the reserve. Three ticks' worth.
  std::uint64_t lead() const { return 3 * peak_; }

private:
  std::int64_t fixed_;
  std::uint64_t peak_ = 0;
};

}  // namespace maru::actors
