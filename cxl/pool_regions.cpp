// The pool's region table and generations.
#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/size.hpp"
#include "cxl/pool.hpp"

namespace maru::cxl {

namespace {

constexpr generation generation_step = 65536;  // one superblock write per so many uses of the busiest page

std::span<std::byte> row_bytes(const mapping& metadata, std::size_t i) {
  return metadata.bytes().subspan(region_table_offset + i * region_row_bytes, region_row_bytes);
}

// Empty where the row fits the pool, else the cause.
std::string objection(const superblock& sb, const region_row& row) {
  if (row.page_bytes < sb.slot_bytes || row.page_bytes > bounds::page_bytes_max
      || row.page_bytes % bounds::page_bytes_min != 0)
    return "a page of " + format_size(row.page_bytes) + " is not usable in a pool with pages of at least "
           + format_size(sb.slot_bytes);
  if (row.length < row.page_bytes)
    return "a page of " + format_size(row.page_bytes) + " is larger than the region of " + format_size(row.length);
  if (row.offset % sb.extent_bytes != 0)
    return "offset " + std::to_string(row.offset) + " is not a multiple of " + format_size(sb.extent_bytes);
  if (row.offset > sb.data_bytes || row.length > sb.data_bytes - row.offset)
    return "it ends past the pool's " + format_size(sb.data_bytes);
  return {};
}

bool overlap(const region_row& a, const region_row& b) {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

// The extents that rows have claimed: tells overlaps while a table of any size is read.
class extent_map {
public:
  explicit extent_map(const superblock& sb) : extent_(sb.extent_bytes), claimed_(sb.data_bytes / extent_ + 1) {}

  bool claim(const region_row& row) {
    auto first = row.offset / extent_;
    auto end = (row.offset + row.length - 1) / extent_ + 1;
    for (auto i = first; i < end; ++i)
      if (claimed_[i])
        return false;
    for (auto i = first; i < end; ++i)
      claimed_[i] = true;
    return true;
  }

private:
  std::uint64_t extent_;
  std::vector<bool> claimed_;
};

}  // namespace

void pool::load_regions() {
  std::vector<std::pair<region_row, std::size_t>> rows;
  extent_map extents{super_};
  std::unordered_set<std::uint32_t> ids;
  for (std::size_t i = 0; i < region_rows_max; ++i) {
    bool damaged = false;
    auto row = decode_region_row(row_bytes(metadata_, i), &damaged);
    if (!row && !damaged)
      continue;
    // A whole row that does not fit this pool is as bad as a torn one.
    if (row && row->device == super_.device_index && value_of(row->id) < super_.next_region
        && objection(super_, *row).empty() && extents.claim(*row) && ids.insert(value_of(row->id)).second) {
      rows.emplace_back(*row, i);
    } else {
      ++damaged_rows_;
      std::memset(row_bytes(metadata_, i).data(), 0, region_row_bytes);
    }
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.first.id < b.first.id; });
  for (const auto& [row, slot] : rows) {
    regions_.push_back(row);
    row_slots_.push_back(slot);
  }
}

const region_row* pool::find_region(region_id id) const {
  auto i = std::lower_bound(regions_.begin(), regions_.end(), id,
                            [](const region_row& row, region_id wanted) { return row.id < wanted; });
  return i != regions_.end() && i->id == id ? &*i : nullptr;
}

result<region_row> pool::add_region(std::uint64_t offset, std::uint64_t length, std::uint64_t page_bytes) {
  region_row row{region_id::none, super_.device_index, offset, length, page_bytes};
  auto refuse = [&](ec code, const std::string& cause) {
    return error{code,
                 "failed to add a region of " + format_size(length) + " at " + std::to_string(offset) + ": " + cause};
  };
  if (auto cause = objection(super_, row); !cause.empty())
    return refuse(ec::invalid, cause);
  for (const auto& other : regions_)
    if (overlap(row, other))
      return refuse(ec::invalid, "it lies over region " + std::to_string(value_of(other.id)));
  if (regions_.size() == region_rows_max)
    return refuse(ec::no_space, "the region table is full");
  std::vector<bool> taken(region_rows_max);
  for (auto slot : row_slots_)
    taken[slot] = true;
  auto slot = static_cast<std::size_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());
  {
    std::lock_guard lock{super_mutex_};
    if (super_.next_region > bounds::region_id_max)
      return refuse(ec::no_space, "all region ids are used up");
    row.id = region_id{super_.next_region++};
    if (auto ok = write_superblock(); !ok)
      return ok.error();
  }
  if (auto ok = store_row(slot, encode(row)); !ok)
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
  if (auto ok = store_row(row_slots_[static_cast<std::size_t>(i)], {}); !ok)
    return ok;
  regions_.erase(regions_.begin() + i);
  row_slots_.erase(row_slots_.begin() + i);
  return {};
}

status pool::store_row(std::size_t slot, const std::array<std::byte, region_row_bytes>& bytes) {
  auto at = row_bytes(metadata_, slot);
  std::copy(bytes.begin(), bytes.end(), at.begin());
  return flush_ ? metadata_.flush(region_table_offset + slot * region_row_bytes, region_row_bytes) : status{};
}

void pool::note_generation(generation gen) {
  if (gen <= highest_.load(std::memory_order_relaxed))
    return;
  std::lock_guard lock{super_mutex_};
  if (gen > super_.highest)
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
  auto gen = std::min(super_.highest + 1, generation_max);
  raise_highest(gen);
  return gen;
}

// REQUIRES: super_mutex_ is held.
void pool::raise_highest(generation gen) {
  super_.highest = std::min(gen + generation_step, generation_max);
  // Where the superblock did not reach stable storage the next call tries again: highest_ stays behind.
  if (write_superblock())
    highest_.store(super_.highest, std::memory_order_relaxed);
}

}  // namespace maru::cxl
