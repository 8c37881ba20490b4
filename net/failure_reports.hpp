// Which pages with failed memory marud was told of. Plain bookkeeping.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/types.hpp"

namespace maru::net {

// Each page is told once over a connection: another marud, or the same one again, may not have heard.
// Concurrency: none; of the client's housekeeping thread.
class failure_reports {
public:
  // Whether something failed, or the connection is another one, since the last call that said so.
  bool is_due(std::uint64_t wire, std::uint64_t failures) {
    if (wire != wire_)
      told_.clear();
    if (wire == wire_ && failures == failures_)
      return false;
    wire_ = wire;
    failures_ = failures;
    return true;
  }
  // Those of the pages that were not told over this connection, as grants of generation 0: whatever they hold.
  std::vector<page_grant> take(std::span<const page_ref> failed) {
    std::vector<page_grant> out;
    for (auto page : failed)
      if (told_.insert(page).second)
        out.push_back({page, 0});
    return out;
  }
  // A report was refused: all of them are due again.
  void repeat() { wire_ = 0; }

private:
  std::uint64_t wire_ = 0;  // of no connection
  std::uint64_t failures_ = 0;
  std::set<page_ref> told_;
};

}  // namespace maru::net
