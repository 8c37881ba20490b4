#include "actors/page_table.hpp"

#include <algorithm>

namespace maru::actors {

std::uint64_t& state_counts::of(page_state state) {
  switch (state) {
    case page_state::free: return free;
    case page_state::granted: return granted;
    case page_state::committed: return committed;
    case page_state::evicting: return evicting;
    case page_state::quarantined: break;
  }
  return quarantined;
}

page_table::page_table(std::uint64_t device_bytes, std::uint64_t extent_bytes)
    : device_bytes_(device_bytes),
      extent_bytes_(extent_bytes),
      extent_used_((device_bytes + extent_bytes - 1) / extent_bytes, false) {}

std::size_t page_table::extents_for(std::uint64_t bytes) const { return (bytes + extent_bytes_ - 1) / extent_bytes_; }

std::uint64_t page_table::extent_length(std::size_t i) const {
  return std::min(extent_bytes_, device_bytes_ - i * extent_bytes_);
}

std::optional<page_table::place> page_table::find_place(std::uint64_t page_bytes) const {
  auto wanted = extents_for(page_bytes);
  std::size_t run = 0;
  for (std::size_t i = 0; i < extent_used_.size(); ++i) {
    run = extent_used_[i] ? 0 : run + 1;
    if (run < wanted)
      continue;
    auto first = i + 1 - wanted;
    auto length = (wanted - 1) * extent_bytes_ + extent_length(i);
    if (length >= page_bytes)  // the device's last extent may be too short for one page
      return place{first * extent_bytes_, length};
  }
  return std::nullopt;
}

status page_table::add_region(const cxl::region_row& row) {
  auto first = row.offset / extent_bytes_;
  auto n = extents_for(row.length);
  auto bad = row.page_bytes == 0 || row.length < row.page_bytes || row.offset % extent_bytes_ != 0
             || row.length > device_bytes_ || row.offset > device_bytes_ - row.length || regions_.contains(row.id);
  for (std::size_t i = first; !bad && i < first + n; ++i)
    bad = extent_used_[i];
  if (bad)
    return {ec::invalid,
            "failed to add region " + std::to_string(value_of(row.id)) + ": its place is taken or not there"};
  std::fill_n(extent_used_.begin() + static_cast<std::ptrdiff_t>(first), n, true);
  auto& r = regions_[row.id];
  r.row = row;
  r.states.assign(row.page_count(), page_state::free);
  r.counts.free = row.page_count();
  return {};
}

void page_table::restore(page_ref page, page_state state) {
  auto* r = find_region(page.region);
  auto& slot = r->states[value_of(page.page)];
  --r->counts.of(slot);
  slot = state;
  ++r->counts.of(slot);
}

void page_table::open_region(region_id id) {
  auto* r = find_region(id);
  if (!r || r->open)
    return;
  for (auto i = static_cast<std::uint32_t>(r->states.size()); i-- > 0;)
    if (r->states[i] == page_state::free)
      r->free.push_back(i);
  r->open = true;
  update_grantable(*r);
}

status page_table::remove_region(region_id id) {
  auto* r = find_region(id);
  if (!r || r->counts.free != r->counts.total())
    return {ec::invalid, "failed to remove region " + std::to_string(value_of(id)) + ": it is not empty"};
  auto first = r->row.offset / extent_bytes_;
  std::fill_n(extent_used_.begin() + static_cast<std::ptrdiff_t>(first), extents_for(r->row.length), false);
  grantable_[r->row.page_bytes].erase(id);
  regions_.erase(id);
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

state_counts page_table::counts_of(region_id id) const {
  auto* r = find_region(id);
  return r ? r->counts : state_counts{};
}

std::vector<cxl::region_row> page_table::rows() const {
  std::vector<cxl::region_row> out;
  out.reserve(regions_.size());
  for (const auto& [id, r] : regions_)
    out.push_back(r.row);
  return out;
}

std::vector<region_id> page_table::cheapest_window(std::uint64_t page_bytes, const std::set<region_id>& but) const {
  // The region over each extent.
  std::vector<const region*> owner(extent_used_.size(), nullptr);
  for (const auto& [id, r] : regions_)
    for (std::size_t i = 0; i < extents_for(r.row.length); ++i)
      owner[r.row.offset / extent_bytes_ + i] = &r;
  auto wanted = extents_for(page_bytes);
  std::vector<region_id> best;
  auto best_cost = UINT64_MAX;
  for (std::size_t first = 0; first + wanted <= owner.size(); ++first) {
    std::set<const region*> window;
    bool usable = (wanted - 1) * extent_bytes_ + extent_length(first + wanted - 1) >= page_bytes;
    std::uint64_t cost = 0;
    for (std::size_t i = first; usable && i < first + wanted; ++i) {
      auto* r = owner[i];
      if (!r || !window.insert(r).second)
        continue;
      usable = r->open && !r->draining && r->row.page_bytes != page_bytes && r->counts.granted == 0
               && r->counts.quarantined == 0 && r->counts.evicting == 0 && !but.contains(r->row.id);
      cost += r->counts.committed * r->row.page_bytes;
    }
    if (!usable || window.empty() || cost >= best_cost)
      continue;
    best_cost = cost;
    best.clear();
    for (auto* r : window)
      best.push_back(r->row.id);
  }
  return best;
}

std::vector<page_ref> page_table::grant(std::uint64_t page_bytes, std::size_t count) {
  std::vector<page_ref> out;
  auto& candidates = grantable_[page_bytes];
  while (out.size() < count && !candidates.empty()) {
    auto* r = find_region(*candidates.begin());
    while (out.size() < count && !r->free.empty()) {
      auto page = r->free.back();
      r->free.pop_back();
      r->states[page] = page_state::granted;
      --r->counts.free;
      ++r->counts.granted;
      out.push_back({r->row.id, page_index{page}});
    }
    update_grantable(*r);
  }
  return out;
}

ec page_table::move(page_ref page, page_state from, page_state to) {
  if (!contains(page))
    return ec::missing;
  auto* r = find_region(page.region);
  auto i = value_of(page.page);
  // Free pages leave by grant() only: the stack of free pages knows them.
  if (r->states[i] != from || from == page_state::free || from == to)
    return ec::invalid;
  r->states[i] = to;
  --r->counts.of(from);
  ++r->counts.of(to);
  if (to == page_state::free && r->open) {
    r->free.push_back(i);
    update_grantable(*r);
  }
  return ec::ok;
}

result<page_state> page_table::state_of(page_ref page) const {
  if (!contains(page))
    return {ec::missing, "no page " + to_string(page)};
  return find_region(page.region)->states[value_of(page.page)];
}

std::uint64_t page_table::free_pages(std::uint64_t page_bytes) const {
  auto candidates = grantable_.find(page_bytes);
  if (candidates == grantable_.end())
    return 0;
  std::uint64_t n = 0;
  for (auto id : candidates->second)
    n += find_region(id)->free.size();
  return n;
}

namespace {

void add(state_counts& sum, const state_counts& c, std::uint64_t factor) {
  sum.free += c.free * factor;
  sum.granted += c.granted * factor;
  sum.committed += c.committed * factor;
  sum.evicting += c.evicting * factor;
  sum.quarantined += c.quarantined * factor;
}

}  // namespace

state_counts page_table::counts(std::uint64_t page_bytes) const {
  state_counts sum;
  for (const auto& [id, r] : regions_)
    if (r.row.page_bytes == page_bytes)
      add(sum, r.counts, 1);
  return sum;
}

state_counts page_table::counts() const {
  state_counts sum;
  for (const auto& [id, r] : regions_)
    add(sum, r.counts, 1);
  return sum;
}

state_counts page_table::bytes() const {
  state_counts sum;
  for (const auto& [id, r] : regions_)
    add(sum, r.counts, r.row.page_bytes);
  return sum;
}

std::vector<std::uint64_t> page_table::page_sizes() const {
  std::set<std::uint64_t> sizes;
  for (const auto& [id, r] : regions_)
    sizes.insert(r.row.page_bytes);
  return {sizes.begin(), sizes.end()};
}

std::uint64_t page_table::unassigned_bytes() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < extent_used_.size(); ++i)
    if (!extent_used_[i])
      sum += extent_length(i);
  return sum;
}

std::uint64_t page_table::capacity(std::uint64_t page_bytes) const {
  auto n = counts(page_bytes).total();
  auto per_region = std::max<std::uint64_t>(1, extents_for(page_bytes));
  std::uint64_t run = 0, run_bytes = 0;
  for (std::size_t i = 0; i < extent_used_.size(); ++i) {
    if (extent_used_[i]) {
      run = run_bytes = 0;
      continue;
    }
    run_bytes += extent_length(i);
    if (++run == per_region) {
      n += run_bytes / page_bytes;
      run = run_bytes = 0;
    }
  }
  return n;
}

std::uint64_t page_table::largest_free_run() const {
  std::uint64_t best = 0, run = 0;
  for (std::size_t i = 0; i < extent_used_.size(); ++i) {
    run = extent_used_[i] ? 0 : run + extent_length(i);
    best = std::max(best, run);
  }
  for (const auto& [id, r] : regions_) {
    if (r.counts.free * r.row.page_bytes <= best)
      continue;
    run = 0;
    for (auto state : r.states) {
      run = state == page_state::free ? run + r.row.page_bytes : 0;
      best = std::max(best, run);
    }
  }
  return best;
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
  auto& candidates = grantable_[r.row.page_bytes];
  if (r.open && !r.draining && !r.free.empty())
    candidates.insert(r.row.id);
  else
    candidates.erase(r.row.id);
}

}  // namespace maru::actors
