// Which pages with failed memory marud was told of. Plain bookkeeping.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/types.hpp"

namespace maru::net {

// Each page is told once over a connection, as another marud, or the same one again, may not have heard; and one report at a
// time.
// Concurrency: none; of the client's housekeeping thread.
class failure_reports {
public:
  // Whether there may be something to tell: something failed, the connection is another one, or the last report was not all.
  bool is_due(std::uint64_t wire, std::uint64_t failures) {
    if (wire != wire_) {
      told_.clear();
      wire_ = wire;
      under_way_ = false;
      all_told_ = false;
    }
    return !under_way_ && (!all_told_ || failures != failures_);
  }
  // The next report: up to `max` of the pages that were not told over this connection, as grants of generation 0: whatever they
  // hold. `failures`: their number before the pages were looked for. Empty: all are told.
  std::vector<page_grant> next(std::span<const page_ref> failed, std::uint64_t failures, std::size_t max) {
    std::vector<page_grant> out;
    for (auto page : failed)
      if (out.size() < max && told_.insert(page).second)
        out.push_back({page, 0});
    failures_ = failures;
    under_way_ = !out.empty();
    all_told_ = out.empty();
    return out;
  }
  // What came of the report over a connection: those pages are due again that marud did not look at.
  void answered(std::uint64_t wire, std::span<const page_grant> not_taken) {
    if (wire != wire_)
      return;
    under_way_ = false;
    for (const auto& grant : not_taken)
      told_.erase(grant.page);
  }

private:
  std::uint64_t wire_ = 0;  // of no connection
  std::uint64_t failures_ = 0;
  bool under_way_ = false, all_told_ = false;
  std::set<page_ref> told_;
};

}  // namespace maru::net
