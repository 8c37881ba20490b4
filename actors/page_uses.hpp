// Whose pages are whose: for every page the session that it was granted to last, and for every region how many pages each
// session has there, granted or committed. A page counts until it is on its way out, whoever removes it.
//
// Operation: owners are kept up to the highest page ever used in a region, so that an untouched region costs nothing.
// Concurrency: none; part of the page_table.
// Limits: 8 bytes a page. What a session left behind is counted under its id until its last page goes.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "cxl/layout.hpp"

namespace maru::actors {

struct page_use {
  std::uint64_t granted = 0, committed = 0;

  bool empty() const { return granted == 0 && committed == 0; }
  friend bool operator==(const page_use&, const page_use&) = default;
};

class page_uses {
public:
  // The page is this session's from now on. REQUIRES: it is free, or nobody's.
  void set_owner(page_ref page, session_id session);
  // The page changed its state. Pages that never had an owner are passed over.
  void moved(page_ref page, cxl::page_state from, cxl::page_state to);
  void drop_region(region_id region);

  // Nobody for a page that was never granted.
  session_id owner_of(page_ref page) const;
  page_use of(session_id session, region_id region) const;
  // Where the session has pages, by region.
  std::vector<std::pair<region_id, page_use>> of(session_id session) const;
  // Who has pages in the region. None is empty.
  using by_session = std::unordered_map<session_id, page_use>;
  const by_session& users_of(region_id region) const;

private:
  struct in_region {
    std::vector<session_id> owners;
    by_session uses;
  };
  std::map<region_id, in_region> regions_;
};

}  // namespace maru::actors
