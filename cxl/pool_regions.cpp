// The pool's region table and generations.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/size.hpp"
#include "cxl/pool.hpp"

namespace maru::cxl {

namespace {

constexpr generation generation_step = 65536;  // one superblock write per so many uses of the busiest page

bool overlap(const region_row& a, const region_row& b) {
  return a.device == b.device && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

}  // namespace

void pool::load_regions(member& m) {
  std::unordered_set<std::uint32_t> ids;
  for (const auto& row : regions_)
    ids.insert(value_of(row.id));
  for (const auto& [row, slot] : m.load_rows(damaged_rows_)) {
    if (!ids.insert(value_of(row.id)).second) {
      ++damaged_rows_;  // of another device already: neither is used twice
      continue;
    }
    auto at = std::lower_bound(regions_.begin(), regions_.end(), row.id,
                               [](const region_row& other, region_id id) { return other.id < id; });
    row_slots_.insert(row_slots_.begin() + (at - regions_.begin()), slot);
    regions_.insert(at, row);
  }
}

const region_row* pool::find_region(region_id id) const {
  auto i = std::lower_bound(regions_.begin(), regions_.end(), id,
                            [](const region_row& row, region_id wanted) { return row.id < wanted; });
  return i != regions_.end() && i->id == id ? &*i : nullptr;
}

result<region_row> pool::add_region(std::uint64_t offset, std::uint64_t length, std::uint64_t page_bytes,
                                    std::uint32_t device) {
  region_row row{region_id::none, device, offset, length, page_bytes};
  auto refuse = [&](ec code, const std::string& cause) {
    return error{code,
                 "failed to add a region of " + format_size(length) + " at " + std::to_string(offset) + ": " + cause};
  };
  auto* on = find_member(device);
  if (on == nullptr)
    return refuse(ec::invalid, "the pool has no device " + std::to_string(device));
  if (auto cause = objection_to(row, on->super()); !cause.empty())
    return refuse(ec::invalid, cause);
  std::vector<bool> taken(region_rows_max);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    if (overlap(row, regions_[i]))
      return refuse(ec::invalid, "it lies over region " + std::to_string(value_of(regions_[i].id)));
    if (regions_[i].device == device)
      taken[row_slots_[i]] = true;
  }
  auto slot = static_cast<std::size_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());
  if (slot == region_rows_max)
    return refuse(ec::no_space, "the region table is full");
  {
    std::lock_guard lock{super_mutex_};
    if (next_region_ > bounds::region_id_max)
      return refuse(ec::no_space, "all region ids are used up");
    row.id = region_id{next_region_++};
    if (auto ok = write_superblocks(); !ok)
      return ok.error();
  }
  if (auto ok = on->store_row(slot, encode(row)); !ok)
    return ok.error();
  regions_.push_back(row);
  row_slots_.push_back(slot);
  return row;
}

status pool::remove_region(region_id id) {
  const auto* row = find_region(id);
  if (row == nullptr)
    return {ec::missing, "failed to remove region " + std::to_string(value_of(id)) + ": there is none"};
  auto i = row - regions_.data();
  if (auto ok = find_member(row->device)->store_row(row_slots_[static_cast<std::size_t>(i)], {}); !ok)
    return ok;
  regions_.erase(regions_.begin() + i);
  row_slots_.erase(row_slots_.begin() + i);
  return {};
}

void pool::note_generation(generation gen) {
  if (gen <= highest_.load(std::memory_order_relaxed))
    return;
  std::lock_guard lock{super_mutex_};
  if (gen > recorded_highest_)
    raise_highest(gen);
}

void pool::end_generation(std::uint64_t slot, generation gen, page_state state) {
  descriptor next;
  next.state = state;
  next.gen = gen + 1;
  note_generation(next.gen);
  descriptors_.write(slot, next);
}

void pool::start_afresh(std::uint64_t slot, page_state state) {
  descriptor fresh;
  fresh.state = state;
  fresh.gen = above_highest();
  descriptors_.write(slot, fresh);
}

generation pool::above_highest() {
  std::lock_guard lock{super_mutex_};
  auto gen = std::min(recorded_highest_ + 1, generation_max);
  raise_highest(gen);
  return gen;
}

// REQUIRES: super_mutex_ is held.
void pool::raise_highest(generation gen) {
  recorded_highest_ = std::min(gen + generation_step, generation_max);
  // Where the superblocks did not reach stable storage the next call tries again: highest_ stays behind.
  if (write_superblocks())
    highest_.store(recorded_highest_, std::memory_order_relaxed);
}

// REQUIRES: super_mutex_ is held, or the pool is being opened.
status pool::write_superblocks() {
  if (serving_ && !is_ours())
    return {ec::in_use, "another marud serves the pool by now"};
  status all;
  // The first device last, and at a start not where another one failed: a further one that says an older epoch than it was left
  // out of a start, by whatever kill.
  for (auto at = members_.rbegin(); at != members_.rend(); ++at) {
    auto& m = *at;
    if (!all && !serving_ && m == members_.front())
      break;
    auto& sb = m->super();
    sb.boot_id = host_boot_id();
    sb.epoch = epoch_;
    sb.next_region = next_region_;
    sb.highest = recorded_highest_;
    sb.device_count = static_cast<std::uint32_t>(members_.size());
    if (auto ok = m->write_superblock(); !ok)
      all = ok;
  }
  return all;
}

}  // namespace maru::cxl
