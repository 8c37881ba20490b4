#include "actors/page_table.hpp"

#include <algorithm>

namespace maru::actors {

std::uint64_t& state_counts::of(page_state state) {
  switch (state) {
    case page_state::free: return free;
    case page_state::granted: return granted;
    case page_state::committed: return committed;
    case page_state::evicting: return evicting;
    case page_state::quarantined: return quarantined;
    case page_state::retired: break;
  }
  return retired;
}

void page_table::add_device(std::uint32_t device, std::uint64_t bytes, std::uint64_t extent_bytes) {
  spaces_.try_emplace(device, bytes, extent_bytes);
}

void page_table::remove_device(std::uint32_t device) {
  spaces_.erase(device);
  closed_.erase(device);
}

void page_table::set_closed(std::uint32_t device, bool closed) {
  if (closed)
    closed_.insert(device);
  else
    closed_.erase(device);
  for (auto& [id, r] : regions_)
    if (r.row.device == device)
      set_draining(id, closed);
}

std::optional<page_table::place> page_table::find_place(std::uint64_t bytes) const {
  for (const auto& [device, space] : spaces_)
    if (!closed(device))
      if (auto run = space.find_run(bytes))
        return place{run->offset, run->length, device};
  return std::nullopt;
}

status page_table::add_region(const cxl::region_row& row) {
  auto space = spaces_.find(row.device);
  if (row.page_bytes == 0 || row.length < row.page_bytes || regions_.contains(row.id) || space == spaces_.end()
      || !space->second.take(row))
    return {ec::invalid,
            "failed to add region " + std::to_string(value_of(row.id)) + ": its place is taken or not there"};
  auto& r = regions_[row.id];
  r.row = row;
  r.states.assign(row.page_count(), page_state::free);
  r.stretches[1].end = row.page_count();
  r.counts.free = row.page_count();
  r.draining = closed(row.device);
  return {};
}

void page_table::assign(region_id id, std::uint32_t pages) {
  auto* r = find_region(id);
  if (!r)
    return;
  auto end = std::min(pages, r->row.page_count());
  r->stretches[0].end = end;
  r->stretches[1].begin = r->stretches[1].opened = end;
  r->assigned = true;
}

void page_table::release(region_id id) {
  if (auto* r = find_region(id)) {
    r->assigned = false;
    update_grantable(*r);
  }
}

bool page_table::assigned(region_id id) const {
  auto* r = find_region(id);
  return r && r->assigned;
}

status page_table::remove_region(region_id id, bool with_retired) {
  auto* r = find_region(id);
  if (!r || r->opening || r->counts.free + (with_retired ? r->counts.retired : 0) != r->counts.total())
    return {ec::invalid, "failed to remove region " + std::to_string(value_of(id)) + ": it is in use"};
  spaces_.at(r->row.device).give_back(r->row);
  nobodys_[r->row.page_bytes].erase(id);
  assigned_[r->row.page_bytes].erase(id);
  regions_.erase(id);
  uses_.drop_region(id);
  return {};
}

const cxl::region_row* page_table::find(region_id id) const {
  auto* r = find_region(id);
  return r ? &r->row : nullptr;
}

bool page_table::contains(page_ref page) const {
  auto* r = find_region(page.region);
  return r && value_of(page.page) < r->states.size();
}

void page_table::set_draining(region_id id, bool draining) {
  if (auto* r = find_region(id)) {
    r->draining = draining;
    update_grantable(*r);
  }
}

bool page_table::draining(region_id id) const {
  auto* r = find_region(id);
  return r && r->draining;
}

void page_table::take(region& r, std::size_t count, session_id session, page_part part, std::vector<page_ref>& out) {
  for (std::size_t i = 0; i < r.stretches.size() && !r.draining; ++i) {
    if (!r.has(i, part))
      continue;
    for (auto& free = r.stretches[i].free; count > 0 && !free.empty(); --count) {
      auto page = free.back();
      free.pop_back();
      out.push_back({r.row.id, page_index{page}});
      r.states[page] = page_state::granted;
      --r.counts.free;
      ++r.counts.granted;
      uses_.set_owner(out.back(), session);
      uses_.moved(out.back(), page_state::free, page_state::granted);
    }
  }
  update_grantable(r);
}

std::vector<page_ref> page_table::grant(std::uint64_t page_bytes, std::size_t count, session_id session,
                                        page_part part) {
  std::vector<page_ref> out;
  auto from = [&](candidates& where, page_part some) {
    auto& regions = where[page_bytes];
    while (out.size() < count && !regions.empty())
      take(*find_region(*regions.begin()), count - out.size(), session, some, out);
  };
  if (part != page_part::assigned)
    from(nobodys_, page_part::nobodys);
  if (part != page_part::nobodys)
    from(assigned_, page_part::assigned);
  return out;
}

std::vector<page_ref> page_table::grant_from(region_id id, std::size_t count, session_id session, page_part part) {
  std::vector<page_ref> out;
  if (auto* r = find_region(id))
    take(*r, count, session, part, out);
  return out;
}

ec page_table::move(page_ref page, page_state from, page_state to) {
  if (!contains(page))
    return ec::missing;
  auto* r = find_region(page.region);
  auto i = value_of(page.page);
  // Free pages leave by grant() or for good, retired ones never: the stack of free pages knows them.
  bool leaves_free = from == page_state::free;
  if (r->states[i] != from || from == to || from == page_state::retired || (leaves_free && to != page_state::retired))
    return ec::invalid;
  r->states[i] = to;
  --r->counts.of(from);
  ++r->counts.of(to);
  uses_.moved(page, from, to);
  auto& pages = r->stretch_of(i);
  if (leaves_free)
    std::erase(pages.free, i);
  else if (to == page_state::free && i < pages.opened)
    pages.free.push_back(i);
  if (leaves_free || to == page_state::free)
    update_grantable(*r);
  return ec::ok;
}

result<page_state> page_table::state_of(page_ref page) const {
  if (!contains(page))
    return {ec::missing, "no page " + to_string(page)};
  return find_region(page.region)->states[value_of(page.page)];
}

page_table::region* page_table::find_region(region_id id) {
  auto i = regions_.find(id);
  return i == regions_.end() ? nullptr : &i->second;
}

const page_table::region* page_table::find_region(region_id id) const {
  auto i = regions_.find(id);
  return i == regions_.end() ? nullptr : &i->second;
}

void page_table::update_grantable(const region& r) {
  auto note = [&](candidates& where, page_part part) {
    bool some = false;
    for (std::size_t i = 0; i < r.stretches.size(); ++i)
      some |= r.has(i, part) && !r.draining && !r.stretches[i].free.empty();
    if (some)
      where[r.row.page_bytes].insert(r.row.id);
    else
      where[r.row.page_bytes].erase(r.row.id);
  };
  note(nobodys_, page_part::nobodys);
  note(assigned_, page_part::assigned);
}

}  // namespace maru::actors
