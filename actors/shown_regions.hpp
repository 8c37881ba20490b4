// Which regions each session was shown as its own, in order: its grants come from these first.
//
// Concurrency: none; owned by the pool_manager.
// Limits: a session's list is bounded by its session actor (bounds::shown_regions_max).
#pragma once

#include <algorithm>
#include <map>
#include <unordered_map>
#include <vector>

#include "base/types.hpp"

namespace maru::actors {

class shown_regions {
public:
  void add(session_id session, const region_share& share) {
    lists_[session].push_back(share);
    ++shows_[share.region];
  }
  // The session is over: its list, which is gone.
  std::vector<region_share> end(session_id session) {
    auto node = lists_.extract(session);
    if (node.empty())
      return {};
    for (const auto& share : node.mapped())
      count_down(share.region);
    return std::move(node.mapped());
  }
  // One region less in the session's list.
  void hide(session_id session, region_id region) {
    auto at = lists_.find(session);
    if (at != lists_.end() && std::erase_if(at->second, [region](const auto& s) { return s.region == region; }) > 0)
      count_down(region);
  }
  // The region is gone, whoever was shown it.
  void drop(region_id region) {
    if (shows_.erase(region) > 0)
      for (auto& [session, list] : lists_)
        std::erase_if(list, [region](const auto& s) { return s.region == region; });
  }

  const std::vector<region_share>& of(session_id session) const {
    static const std::vector<region_share> none;
    auto at = lists_.find(session);
    return at == lists_.end() ? none : at->second;
  }
  bool has(session_id session, region_id region) const {
    const auto& list = of(session);
    return std::any_of(list.begin(), list.end(), [region](const auto& s) { return s.region == region; });
  }
  // To any session.
  bool shown(region_id region) const { return shows_.contains(region); }

private:
  void count_down(region_id region) {
    if (auto at = shows_.find(region); at != shows_.end() && --at->second == 0)
      shows_.erase(at);
  }

  std::unordered_map<session_id, std::vector<region_share>> lists_;
  std::map<region_id, unsigned> shows_;  // how many sessions have it in their list; none is 0
};

}  // namespace maru::actors
