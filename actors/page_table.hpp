// Which page is in which state, where regions lie on the device, and which pages a grant gets.
//
// Operation: each device is cut into extents (extent_space); a region is a run of extents given to one page size. The first pages of a region may be assigned to one session, the others are nobody's. A region begins
// closed and is opened for grants step by step, each part of it on its own, so that storage follows the demand. Pages are
// granted from the lowest region that has a free one, so that others empty out and can change their page size.
// Concurrency: none; owned by the pool_manager. It holds no bytes of the pool and does no I/O: the actor writes what is
// decided here to descriptors and region table.
// Limits: a region's page states are made as a whole, a byte each.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "actors/extent_space.hpp"
#include "actors/page_uses.hpp"
#include "base/error.hpp"
#include "base/types.hpp"
#include "cxl/layout.hpp"

namespace maru::actors {

using cxl::page_state;

struct state_counts {
  std::uint64_t free = 0, granted = 0, committed = 0, evicting = 0, quarantined = 0, retired = 0;

  std::uint64_t& of(page_state state);
  // Of pages that hold something, or are somebody's.
  std::uint64_t held() const { return granted + committed + evicting + quarantined; }
  std::uint64_t total() const { return free + granted + committed + evicting + quarantined + retired; }
};

// Pages of regions: those assigned to a session, those that are nobody's, or both.
enum class page_part : std::uint8_t { assigned, nobodys, all };

class page_table {
public:
  page_table() = default;
  // Of one device, number 0.
  page_table(std::uint64_t device_bytes, std::uint64_t extent_bytes) { add_device(0, device_bytes, extent_bytes); }

  // -- devices
  // REQUIRES: there is none of this number.
  void add_device(std::uint32_t device, std::uint64_t bytes, std::uint64_t extent_bytes);
  // REQUIRES: no region lies there.
  void remove_device(std::uint32_t device);
  // No new region lies there while it is closed, and none of its regions gives pages out; and takes that back.
  void set_closed(std::uint32_t device, bool closed);
  bool closed(std::uint32_t device) const { return closed_.contains(device); }
  // States of its pages, in bytes; those of no region are `unassigned`.
  state_counts bytes_of(std::uint32_t device, std::uint64_t& unassigned) const;

  // -- regions
  // Where a new region of at least so many bytes would lie; empty when no run of free extents is long enough.
  struct place {
    std::uint64_t offset = 0, length = 0;
    std::uint32_t device = 0;
  };
  std::optional<place> find_place(std::uint64_t bytes) const;
  // Takes the place of a region that exists (recovery) or was just written. Its pages are nobody's, and free but not
  // granted until a step opens them. `invalid` when the place is taken or outside the device.
  status add_region(const cxl::region_row& row);
  // The first `pages` pages are a session's from now on. REQUIRES: no step of the region was begun.
  void assign(region_id id, std::uint32_t pages);
  // They are nobody's again.
  void release(region_id id);
  bool assigned(region_id id) const;
  // A region whose pages are all free, and of which no step is under way, goes, and its extents are free again. `invalid`
  // otherwise. `with_retired`: also with retired pages, as its device is about to go.
  status remove_region(region_id id, bool with_retired = false);
  const cxl::region_row* find(region_id id) const;
  bool contains(page_ref page) const;

  // -- recovery, before the first step
  // Sets a page's state as found.
  void restore(page_ref page, page_state state);
  // Whose page it is. REQUIRES: its state is restored.
  void restore_owner(page_ref page, session_id session);
  // Opens every step up to the last page in use of each part, as far as `take` gets storage for the free pages in it.
  using storage_taker = std::function<bool(std::uint64_t offset, std::uint64_t length)>;
  void open_used(region_id id, const storage_taker& take = {});

  // -- steps
  // The next pages to open: at most bounds::open_step_max bytes and an extent, at least a page.
  struct step {
    region_id region = region_id::none;
    page_part part = page_part::nobodys;
    std::uint32_t first = 0, count = 0;
    std::uint64_t offset = 0, length = 0;  // on the device:
    std::uint32_t device = 0;
  };
  // Of this region; empty where all of `part` is open, another step is under way, or it is drained.
  std::optional<step> next_step(region_id id, page_part part) const;
  // Of the lowest region of this page size that has one.
  std::optional<step> next_step_of(std::uint64_t page_bytes, page_part part) const;
  void begin_step(const step& s);
  // `ready`: its pages may be granted; else they stay closed.
  void end_step(const step& s, bool ready);
  bool opening(region_id id) const;

  // -- draining
  // Stops granting from a region, so that it empties; and takes that back.
  void set_draining(region_id id, bool draining);
  bool draining(region_id id) const;
  state_counts counts_of(region_id id) const;
  std::vector<cxl::region_row> rows() const;
  // The regions to drain so that a region of `page_bytes` finds a place: the run of extents with the fewest committed
  // pages among those whose regions are of other page sizes, have no granted, quarantined or retired page, and are not
  // in `but`. Empty: no such run.
  std::vector<region_id> cheapest_window(std::uint64_t page_bytes, const std::set<region_id>& but = {}) const;

  // -- pages
  // At most `count` free pages of this size in `part`, now granted to the session. Empty when none is free and open.
  std::vector<page_ref> grant(std::uint64_t page_bytes, std::size_t count, session_id session = session_id::none,
                              page_part part = page_part::nobodys);
  // The same from one region.
  std::vector<page_ref> grant_from(region_id id, std::size_t count, session_id session, page_part part);
  // Moves a page from `from` to `to`. `missing`: no such page. `invalid`: the page is in another state, is retired, or free
  // and to be something else than retired.
  ec move(page_ref page, page_state from, page_state to);
  // `missing`: no such page.
  result<page_state> state_of(page_ref page) const;
  const page_uses& uses() const { return uses_; }

  // -- numbers
  // That a grant could get now.
  std::uint64_t free_pages(std::uint64_t page_bytes, page_part part = page_part::all) const;
  std::uint64_t free_pages_in(region_id id, page_part part) const;
  state_counts counts(std::uint64_t page_bytes) const;
  state_counts counts() const;
  state_counts bytes() const;
  std::vector<std::uint64_t> page_sizes() const;
  std::uint64_t unassigned_bytes() const;
  // Most pages of this size that the devices can hold: its own that are not retired, and what is unassigned.
  std::uint64_t capacity(std::uint64_t page_bytes) const;
  // Bytes of the longest run that could be given out as one piece: unassigned extents or free pages of one region.
  // Looks at bounds::run_scan_pages pages a call, in turn: of a pool with more it tells what was so some calls ago.
  std::uint64_t largest_free_run();
  std::uint64_t device_bytes() const;

private:
  // A run of a region's pages that is opened on its own.
  struct stretch {
    std::uint32_t begin = 0, end = 0;
    std::uint32_t opened = 0;         // pages below are open
    std::vector<std::uint32_t> free;  // stack of free open pages; the last freed is granted first, it is warm
  };
  struct region {
    cxl::region_row row;
    std::vector<page_state> states;
    std::array<stretch, 2> stretches;  // the pages that are (or were) assigned to a session, and the others
    state_counts counts;
    bool assigned = false;  // the first run is a session's; else both are nobody's
    bool opening = false;
    bool draining = false;
    std::uint64_t longest_free = 0;  // bytes, when it was looked at last

    bool has(std::size_t i, page_part part) const {
      return part == page_part::all || (part == page_part::assigned) == (assigned && i == 0);
    }
    stretch& stretch_of(std::uint32_t page) { return stretches[page < stretches[0].end ? 0 : 1]; }
  };
  using candidates = std::map<std::uint64_t, std::set<region_id>>;  // page size -> regions with free open pages

  region* find_region(region_id id);
  const region* find_region(region_id id) const;
  void update_grantable(const region& r);
  void take(region& r, std::size_t count, session_id session, page_part part, std::vector<page_ref>& out);
  void open_until(region& r, stretch& pages, std::uint32_t end);
  std::uint32_t step_pages(const region& r) const;
  std::uint32_t end_of_storage(const region& r, std::uint32_t begin, std::uint32_t end,
                               const storage_taker& take) const;
  std::vector<region_id> cheapest_window_on(std::uint32_t device, std::uint64_t page_bytes,
                                            const std::set<region_id>& but, std::uint64_t& cost) const;

  std::map<std::uint32_t, extent_space> spaces_;
  std::set<std::uint32_t> closed_;
  std::map<region_id, region> regions_;
  struct {
    region_id region{};
    std::size_t next = 0;
    std::uint64_t run = 0, best = 0;
  } scan_;  // for the longest run: where it goes on
  candidates nobodys_, assigned_;
  page_uses uses_;
};

}  // namespace maru::actors
