// The pool_manager's side of the regions that sessions are shown: where they come from, where they go, and how they are used.
#include <algorithm>

#include "actors/pool_manager.hpp"
#include "base/kill_point.hpp"

namespace maru::actors {

// A run of free extents; where none is long enough, a region that others use too: the one with most free pages. Nothing is
// taken for either: storage comes with the first grant.
region_shown pool_manager::show(const show_region& m) {
  if (rows_held_)
    return {ec::busy, {}, {}};
  bool fits = m.pages <= table_->device_bytes() / m.page_bytes;
  auto place = fits ? table_->find_place(m.pages * m.page_bytes) : std::nullopt;
  if (fits && !place && give_back_unused())
    place = table_->find_place(m.pages * m.page_bytes);
  auto row = place ? make_region(*place, m.page_bytes) : std::nullopt;
  region_share share{row ? row->id : region_id::none, static_cast<std::uint32_t>(m.pages), false};
  if (row) {
    table_->assign(row->id, share.pages);
  } else if (row = region_to_share(m); row) {
    share = {row->id, row->page_count(), true};
  } else {
    return {ec::out_of_memory, {}, {}};
  }
  shown_.add(m.session, share);
  kill_point(kill_at::region_chosen);
  return {ec::ok, *row, share};
}

std::optional<cxl::region_row> pool_manager::region_to_share(const show_region& m) const {
  std::optional<cxl::region_row> best;
  std::uint64_t most = 0;
  for (const auto& row : table_->rows()) {
    auto free = table_->counts_of(row.id).free;
    if (row.page_bytes != m.page_bytes || table_->draining(row.id) || shown_.has(m.session, row.id)
        || (best && free <= most))
      continue;
    best = row;
    most = free;
  }
  return best;
}

void pool_manager::hide(const hide_region& m) {
  std::vector<region_share> gone;
  if (m.region == region_id::none) {
    gone = shown_.end(m.session);
    askers_.erase(m.session);
  } else {
    for (const auto& share : shown_.of(m.session))
      if (share.region == m.region)
        gone.push_back(share);
    shown_.hide(m.session, m.region);
  }
  for (const auto& share : gone) {
    if (!share.shared)
      table_->release(share.region);
    give_back_if_unused(share.region);
  }
}

bool pool_manager::give_back_if_unused(region_id id) {
  return !shown_.shown(id) && !table_->draining(id) && remove_region(id);
}

// Free extents from regions that nobody was shown and nobody uses.
bool pool_manager::give_back_unused() {
  bool some = false;
  for (const auto& row : table_->rows())
    some |= give_back_if_unused(row.id);
  return some;
}

session_usage pool_manager::usage(session_id session) const {
  session_usage out;
  const auto& own = shown_.of(session);
  for (const auto& share : own)
    out.regions.push_back({*table_->find(share.region), share, table_->uses().of(session, share.region)});
  for (const auto& [id, use] : table_->uses().of(session))
    if (!shown_.has(session, id))
      out.regions.push_back({*table_->find(id), {id, 0, false}, use});
  for (const auto& row : table_->rows()) {
    bool counts = shown_.shown(row.id) || table_->counts_of(row.id).committed > 0;
    out.shown_regions += counts ? 1 : 0;
    out.shown_bytes += counts ? row.page_count() * row.page_bytes : 0;
  }
  auto bytes = table_->bytes();
  out.pool_bytes = table_->device_bytes();
  out.pool_free_bytes = out.pool_bytes - bytes.granted - bytes.committed - bytes.quarantined - bytes.retired;
  return out;
}

committed_bytes pool_manager::committed_by_session() const {
  committed_bytes out;
  for (const auto& row : table_->rows())
    for (const auto& [session, use] : table_->uses().users_of(row.id))
      if (use.committed > 0)
        out.of[session] += use.committed * row.page_bytes;
  return out;
}

}  // namespace maru::actors
