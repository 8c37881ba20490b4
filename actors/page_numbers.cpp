// The page table's numbers: how many pages and bytes there are of what, and which regions are cheapest to take.
#include <algorithm>

#include "actors/page_table.hpp"

namespace maru::actors {

namespace {

void add(state_counts& sum, const state_counts& c, std::uint64_t factor) {
  sum.free += c.free * factor;
  sum.granted += c.granted * factor;
  sum.committed += c.committed * factor;
  sum.evicting += c.evicting * factor;
  sum.quarantined += c.quarantined * factor;
  sum.retired += c.retired * factor;
}

}  // namespace

std::uint64_t page_table::free_pages(std::uint64_t page_bytes, page_part part) const {
  std::uint64_t n = 0;
  for (const auto& [id, r] : regions_)
    if (r.row.page_bytes == page_bytes)
      n += free_pages_in(id, part);
  return n;
}

std::uint64_t page_table::free_pages_in(region_id id, page_part part) const {
  auto* r = find_region(id);
  std::uint64_t n = 0;
  for (std::size_t i = 0; r && !r->draining && i < r->stretches.size(); ++i)
    n += r->has(i, part) ? r->stretches[i].free.size() : 0;
  return n;
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

std::uint64_t page_table::device_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [device, space] : spaces_)
    sum += space.device_bytes();
  return sum;
}

state_counts page_table::bytes_of(std::uint32_t device, std::uint64_t& unassigned) const {
  state_counts sum;
  for (const auto& [id, r] : regions_)
    if (r.row.device == device)
      add(sum, r.counts, r.row.page_bytes);
  auto space = spaces_.find(device);
  unassigned = space == spaces_.end() ? 0 : space->second.free_bytes();
  return sum;
}

std::uint64_t page_table::unassigned_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [device, space] : spaces_)
    sum += space.free_bytes();
  return sum;
}

std::uint64_t page_table::capacity(std::uint64_t page_bytes) const {
  std::uint64_t n = 0;
  for (const auto& [id, r] : regions_)
    n += r.row.page_bytes == page_bytes && !closed(r.row.device) ? r.counts.total() - r.counts.retired : 0;
  for (const auto& [device, space] : spaces_)
    n += closed(device) ? 0 : space.room_for(page_bytes);
  return n;
}

std::uint64_t page_table::largest_free_run() {
  auto left = bounds::run_scan_pages;
  for (auto regions = regions_.size(); regions > 0; --regions) {
    auto at = regions_.lower_bound(scan_.region);
    if (at == regions_.end())
      at = regions_.begin();
    if (at->first != scan_.region)
      scan_ = {at->first, 0, 0, 0};
    auto& r = at->second;
    for (; scan_.next < r.states.size() && left > 0; ++scan_.next, --left) {
      scan_.run = r.states[scan_.next] == page_state::free ? scan_.run + r.row.page_bytes : 0;
      scan_.best = std::max(scan_.best, scan_.run);
    }
    if (scan_.next < r.states.size())
      break;
    r.longest_free = scan_.best;
    auto next = std::next(at);
    scan_ = {next == regions_.end() ? region_id{} : next->first, 0, 0, 0};
  }
  std::uint64_t best = 0;
  for (const auto& [device, space] : spaces_)
    best = std::max(best, space.longest_run());
  for (const auto& [id, r] : regions_)
    best = std::max(best, r.longest_free);
  return best;
}

std::vector<region_id> page_table::cheapest_window(std::uint64_t page_bytes, const std::set<region_id>& but) const {
  std::vector<region_id> best;
  auto best_cost = UINT64_MAX;
  for (const auto& [device, space] : spaces_)
    if (!closed(device))
      if (auto window = cheapest_window_on(device, page_bytes, but, best_cost); !window.empty())
        best = std::move(window);
  return best;
}

// Empty where none costs less than `best_cost`, which is then what it was.
std::vector<region_id> page_table::cheapest_window_on(std::uint32_t device, std::uint64_t page_bytes,
                                                      const std::set<region_id>& but, std::uint64_t& best_cost) const {
  const auto& space = spaces_.at(device);
  // The region over each extent.
  std::vector<const region*> owner(space.extents(), nullptr);
  for (const auto& [id, r] : regions_)
    for (std::size_t i = 0; r.row.device == device && i < space.extents_for(r.row.length); ++i)
      owner[space.first_of(r.row) + i] = &r;
  auto wanted = space.extents_for(page_bytes);
  std::vector<region_id> best;
  for (std::size_t first = 0; first + wanted <= owner.size(); ++first) {
    std::set<const region*> window;
    bool usable = space.length_of(first, wanted) >= page_bytes;
    std::uint64_t cost = 0;
    for (std::size_t i = first; usable && i < first + wanted; ++i) {
      auto* r = owner[i];
      if (!r || !window.insert(r).second)
        continue;
      usable = !r->opening && !r->draining && r->row.page_bytes != page_bytes && r->counts.granted == 0
               && r->counts.quarantined == 0 && r->counts.evicting == 0 && r->counts.retired == 0
               && !but.contains(r->row.id);
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

}  // namespace maru::actors
