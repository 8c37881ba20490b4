// For how long a session has held each of its pages, as far as looks at its table from time to time can tell.
#pragma once

#include <algorithm>
#include <chrono>
#include <span>
#include <unordered_map>

#include "cxl/held_pages.hpp"

namespace maru::actors {

// A page that was let go and held again between two looks counts as held all the time.
// Concurrency: none; owned by the pin_ledger.
class hold_times {
public:
  using clock = std::chrono::steady_clock;

  // The session holds exactly these.
  void observe(std::span<const cxl::page_hold> holds, clock::time_point now) {
    std::unordered_map<std::uint64_t, clock::time_point> next;
    next.reserve(holds.size());
    for (const auto& hold : holds) {
      auto before = since_.find(hold.word());
      next.emplace(hold.word(), before == since_.end() ? now : before->second);
    }
    since_ = std::move(next);
    looked_ = now;
  }

  std::size_t size() const { return since_.size(); }
  // Of all that is held; 0 where that is nothing.
  std::chrono::nanoseconds longest() const {
    auto first = looked_;
    for (const auto& [word, since] : since_)
      first = std::min(first, since);
    return looked_ - first;
  }

private:
  std::unordered_map<std::uint64_t, clock::time_point> since_;
  clock::time_point looked_{};
};

}  // namespace maru::actors
