#include "net/region_map.hpp"

#include <algorithm>
#include <string>

#include "base/bounds.hpp"
#include "base/size.hpp"

namespace maru::net {

namespace {

constexpr std::size_t slots_first = 64;

}  // namespace

std::atomic<const region_map::region*>& region_map::table::slot_of(region_id id) {
  auto mask = slots.size() - 1;
  for (auto i = (value_of(id) * 0x9e3779b97f4a7c15ull >> 32) & mask;; i = (i + 1) & mask)
    if (auto* found = slots[i].load(std::memory_order_acquire); !found || found->id == id)
      return slots[i];
}

region_map::region_map(std::shared_ptr<pool_devices> devices, cxl::survives what)
    : devices_(std::move(devices)), survives_(what) {
  tables_.push_back(std::make_unique<table>(slots_first));
  table_ = tables_.back().get();
}

const region_map::region* region_map::lookup(region_id id) const {
  return table_.load(std::memory_order_acquire)->slot_of(id).load(std::memory_order_acquire);
}

// REQUIRES: adding_ is held, and the region is not there.
void region_map::insert(const region& made) {
  if (regions_.size() * 2 > tables_.back()->slots.size()) {
    auto larger = std::make_unique<table>(tables_.back()->slots.size() * 2);
    for (const auto& r : regions_)
      larger->slot_of(r.id).store(&r, std::memory_order_relaxed);
    tables_.push_back(std::move(larger));
    table_.store(tables_.back().get(), std::memory_order_release);
  }
  tables_.back()->slot_of(made.id).store(&made, std::memory_order_release);
}

bool region_map::knows(region_id id) const { return lookup(id) != nullptr; }

std::vector<std::uint32_t> region_map::unknown(std::span<const page_ref> pages) const {
  std::vector<std::uint32_t> ids;
  for (auto& page : pages)
    // Neighbours are mostly of one region: ask once.
    if ((ids.empty() || ids.back() != value_of(page.region)) && !knows(page.region))
      ids.push_back(value_of(page.region));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

status region_map::add(std::span<const region_row> rows, std::span<const device_row> devices) {
  if (auto known = devices_->know(devices); !known)
    return known;
  for (auto& row : rows)
    if (auto added = add(row); !added)
      return added;
  return {};
}

status region_map::add(const region_row& row) {
  auto device = devices_->find(row.device);
  if (!device)
    return {ec::corrupt, "failed to map region " + std::to_string(row.id) + ": marud did not say where device "
                           + std::to_string(row.device) + " is"};
  auto size = device->size();
  if (row.id == 0 || row.id > bounds::region_id_max || row.page_bytes < bounds::page_bytes_min
      || row.page_bytes > bounds::page_bytes_max || row.length < row.page_bytes || row.length > size
      || row.offset > size - row.length)
    return {ec::corrupt, "failed to map region " + std::to_string(row.id) + ": its row does not fit the device "
                           + device->path() + " of " + std::to_string(size) + " bytes"};
  if (knows(static_cast<region_id>(row.id)))
    return {};
  auto align = device->align();
  auto begin = align_down(row.offset, align);
  auto end = std::min(align_up(row.offset + row.length, align), size);
  auto memory = device->map(begin, end - begin, cxl::access::read_write);
  if (!memory)
    return memory.error();
  memory->guard(align, survives_);
  std::lock_guard lock(adding_);
  // Another thread may have been faster: its mapping stays, spans into it are in use.
  if (knows(static_cast<region_id>(row.id)))
    return {};
  auto& made = regions_.emplace_back();
  made.id = static_cast<region_id>(row.id);
  made.pages = memory->bytes().subspan(row.offset - begin, row.length);
  made.page_bytes = row.page_bytes;
  made.memory = *std::move(memory);
  insert(made);
  return {};
}

std::optional<region_info> region_map::find(region_id id) const {
  const auto* r = lookup(id);
  return r ? std::optional{region_info{id, r->pages.size() / r->page_bytes, r->page_bytes}} : std::nullopt;
}

result<std::span<std::byte>> region_map::range(region_id id, std::uint64_t first, std::uint64_t pages) const {
  auto missing = [&](const char* cause) {
    return error{ec::missing, "failed to find pages of region " + std::to_string(value_of(id)) + ": " + cause};
  };
  const auto* r = lookup(id);
  if (!r)
    return missing("it is not mapped");
  auto all = r->pages.size() / r->page_bytes;
  if (first > all || pages > all - first)
    return missing("it has fewer");
  return r->pages.subspan(first * r->page_bytes, pages * r->page_bytes);
}

result<std::span<std::byte>> region_map::bytes(page_ref page, std::uint64_t length) const {
  const auto* r = lookup(page.region);
  if (!r)
    return {ec::missing, "failed to find page " + to_string(page) + ": its region is not mapped"};
  auto offset = value_of(page.page) * r->page_bytes;
  if (offset + r->page_bytes > r->pages.size())
    return {ec::missing, "failed to find page " + to_string(page) + ": its region has fewer pages"};
  if (length > r->page_bytes)
    return {ec::too_large,
            "failed to find page " + to_string(page) + ": " + std::to_string(length) + " bytes are more than it holds"};
  return r->pages.subspan(offset, length);
}

std::vector<page_ref> region_map::failed_pages() const {
  std::vector<page_ref> out;
  std::lock_guard lock(adding_);
  for (const auto& r : regions_) {
    auto before = static_cast<std::size_t>(r.pages.data() - r.memory.data());  // of the mapping, ahead of the region
    auto count = r.pages.size() / r.page_bytes;
    for (const auto& piece : r.memory.failed()) {
      if (piece.offset + piece.size <= before)
        continue;
      auto first = (std::max(piece.offset, before) - before) / r.page_bytes;
      auto end = std::min<std::uint64_t>(count, (piece.offset + piece.size - 1 - before) / r.page_bytes + 1);
      for (auto i = first; i < end; ++i)
        if (page_ref page{r.id, page_index{static_cast<std::uint32_t>(i)}}; out.empty() || out.back() != page)
          out.push_back(page);
    }
  }
  return out;
}

}  // namespace maru::net
