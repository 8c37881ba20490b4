// Which page is in which state, where regions lie on the device, and which pages a grant gets.
//
// Operation: the device is cut into extents of equal size (the last may be short); a region is a run of extents given to
// one page size. Pages are granted from the lowest region that has a free one, so that others empty out and can change
// their page size.
// Concurrency: none; owned by the pool_manager. It holds no bytes of the pool and does no I/O: the actor writes what is
// decided here to descriptors and region table.
// Limits: one device; a region and its page states are made as a whole (at most a 64th of the pool).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"
#include "cxl/layout.hpp"

namespace maru::actors {

using cxl::page_state;

struct state_counts {
  std::uint64_t free = 0, granted = 0, committed = 0, evicting = 0, quarantined = 0;

  std::uint64_t& of(page_state state);
  std::uint64_t total() const { return free + granted + committed + evicting + quarantined; }
};

class page_table {
public:
  page_table(std::uint64_t device_bytes, std::uint64_t extent_bytes);

  // -- regions
  // Where a new region for this page size would lie; empty when no run of free extents is long enough.
  struct place {
    std::uint64_t offset = 0, length = 0;
  };
  std::optional<place> find_place(std::uint64_t page_bytes) const;
  // Takes the place of a region that exists (recovery) or was just written. Its pages are free but not granted until
  // `open_region`. `invalid` when the place is taken or outside the device.
  status add_region(const cxl::region_row& row);
  // Recovery: sets a page's state as found. REQUIRES: the region is not open yet.
  void restore(page_ref page, page_state state);
  void open_region(region_id id);
  // A region whose pages are all free goes, and its extents are free again. `invalid` otherwise.
  status remove_region(region_id id);
  const cxl::region_row* find(region_id id) const;
  bool contains(page_ref page) const;

  // Stops granting from a region, so that it empties; and takes that back.
  void set_draining(region_id id, bool draining);
  bool draining(region_id id) const;
  state_counts counts_of(region_id id) const;
  std::vector<cxl::region_row> rows() const;
  // The regions to drain so that a region of `page_bytes` finds a place: the run of extents with the fewest committed
  // pages among those whose regions are of other page sizes, have no granted or quarantined page, and are not in
  // `but`. Empty: no such run.
  std::vector<region_id> cheapest_window(std::uint64_t page_bytes, const std::set<region_id>& but = {}) const;

  // -- pages
  // At most `count` free pages of this size, now granted. Empty when none is free.
  std::vector<page_ref> grant(std::uint64_t page_bytes, std::size_t count);
  // Moves a page from `from` to `to`. `missing`: no such page. `invalid`: the page is in another state.
  ec move(page_ref page, page_state from, page_state to);
  // `missing`: no such page.
  result<page_state> state_of(page_ref page) const;

  // -- numbers
  std::uint64_t free_pages(std::uint64_t page_bytes) const;  // that a grant could get now
  state_counts counts(std::uint64_t page_bytes) const;
  state_counts counts() const;
  state_counts bytes() const;
  std::vector<std::uint64_t> page_sizes() const;
  std::uint64_t unassigned_bytes() const;
  // Most pages of this size that the device can hold: its own and what is unassigned.
  std::uint64_t capacity(std::uint64_t page_bytes) const;
  // Bytes of the longest run that could be given out as one piece: unassigned extents or free pages of one region.
  std::uint64_t largest_free_run() const;
  std::uint64_t device_bytes() const { return device_bytes_; }

private:
  struct region {
    cxl::region_row row;
    std::vector<page_state> states;
    std::vector<std::uint32_t> free;  // stack of free pages; the last freed is granted first, it is warm
    state_counts counts;
    bool open = false;
    bool draining = false;
  };
  region* find_region(region_id id);
  const region* find_region(region_id id) const;
  void update_grantable(const region& r);
  std::size_t extents_for(std::uint64_t bytes) const;
  std::uint64_t extent_length(std::size_t i) const;

  std::uint64_t device_bytes_, extent_bytes_;
  std::vector<bool> extent_used_;
  std::map<region_id, region> regions_;
  std::map<std::uint64_t, std::set<region_id>> grantable_;  // page size -> open regions with free pages
};

}  // namespace maru::actors
