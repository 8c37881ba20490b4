// The page table's steps: which pages of a region are open for grants, and what recovery found in them.
#include <algorithm>

#include "actors/page_table.hpp"
#include "base/bounds.hpp"

namespace maru::actors {

void page_table::restore(page_ref page, page_state state) {
  auto* r = find_region(page.region);
  auto& slot = r->states[value_of(page.page)];
  --r->counts.of(slot);
  slot = state;
  ++r->counts.of(slot);
}

void page_table::restore_owner(page_ref page, session_id session) {
  uses_.set_owner(page, session);
  uses_.moved(page, page_state::free, find_region(page.region)->states[value_of(page.page)]);
}

void page_table::open_used(region_id id, const storage_taker& take) {
  auto* r = find_region(id);
  if (!r)
    return;
  for (auto& pages : r->stretches) {
    auto used = pages.end;
    while (used > pages.begin && r->states[used - 1] == page_state::free)
      --used;
    auto n = step_pages(*r);
    auto end = std::min(pages.end, pages.begin + (used - pages.begin + n - 1) / n * n);
    open_until(*r, pages, end_of_storage(*r, pages.begin, end, take));
  }
  update_grantable(*r);
}

// Pages in use have storage. Free ones below them may have none: a session that is forgotten had a part of its own here,
// which was opened apart from the rest.
std::uint32_t page_table::end_of_storage(const region& r, std::uint32_t begin, std::uint32_t end,
                                         const storage_taker& take) const {
  for (auto i = begin; take && i < end;) {
    auto first = i;
    while (i < end && r.states[i] == page_state::free)
      ++i;
    if (i > first && !take(r.row.offset + first * r.row.page_bytes, (i - first) * r.row.page_bytes))
      return first;
    i += i < end ? 1 : 0;
  }
  return end;
}

std::uint32_t page_table::step_pages(const region& r) const {
  auto bytes = std::min<std::uint64_t>(spaces_.at(r.row.device).extent_bytes(), bounds::open_step_max);
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(1, bytes / r.row.page_bytes));
}

// The lowest page is granted first: it is pushed last.
void page_table::open_until(region& r, stretch& pages, std::uint32_t end) {
  for (auto i = end; i-- > pages.opened;)
    if (r.states[i] == page_state::free)
      pages.free.push_back(i);
  pages.opened = std::max(pages.opened, end);
}

std::optional<page_table::step> page_table::next_step(region_id id, page_part part) const {
  auto* r = find_region(id);
  if (!r || r->opening || r->draining)
    return std::nullopt;
  for (std::size_t i = 0; i < r->stretches.size(); ++i) {
    const auto& pages = r->stretches[i];
    if (!r->has(i, part) || pages.opened == pages.end)
      continue;
    auto count = std::min(step_pages(*r), pages.end - pages.opened);
    auto own = i == 0 && r->assigned ? page_part::assigned : page_part::nobodys;
    auto offset = r->row.offset + pages.opened * r->row.page_bytes;
    return step{id, own, pages.opened, count, offset, count * r->row.page_bytes, r->row.device};
  }
  return std::nullopt;
}

std::optional<page_table::step> page_table::next_step_of(std::uint64_t page_bytes, page_part part) const {
  for (const auto& [id, r] : regions_)
    if (r.row.page_bytes == page_bytes)
      if (auto next = next_step(id, part))
        return next;
  return std::nullopt;
}

void page_table::begin_step(const step& s) {
  if (auto* r = find_region(s.region))
    r->opening = true;
}

void page_table::end_step(const step& s, bool ready) {
  auto* r = find_region(s.region);
  if (!r)
    return;
  r->opening = false;
  if (ready)
    open_until(*r, r->stretch_of(s.first), s.first + s.count);
  update_grantable(*r);
}

bool page_table::opening(region_id id) const {
  auto* r = find_region(id);
  return r && r->opening;
}

}  // namespace maru::actors
