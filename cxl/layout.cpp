#include "cxl/layout.hpp"

#include <algorithm>
#include <cstring>

#include "base/codec.hpp"
#include "base/crc32c.hpp"
#include "base/size.hpp"
#include "cxl/shared_index.hpp"

namespace maru::cxl {

namespace {

// Pads the fields with zeros to N bytes, of which the last four are the crc of all before.
template <std::size_t N>
std::array<std::byte, N> seal(const std::string& fields) {
  std::array<std::byte, N> out{};
  std::memcpy(out.data(), fields.data(), fields.size());
  auto crc = crc32c(out.data(), N - sizeof(std::uint32_t));
  std::memcpy(out.data() + N - sizeof crc, &crc, sizeof crc);
  return out;
}

// The sealed bytes as a string to read from; empty where too short or the crc does not fit.
std::string_view unseal(std::span<const std::byte> bytes, std::size_t size) {
  std::uint32_t crc = 0;
  if (bytes.size() < size)
    return {};
  std::memcpy(&crc, bytes.data() + size - sizeof crc, sizeof crc);
  if (crc != crc32c(bytes.data(), size - sizeof crc))
    return {};
  return {reinterpret_cast<const char*>(bytes.data()), size - sizeof crc};
}

void put(writer& w, const uuid& id) { w.raw(id.bytes.data(), id.bytes.size()); }

uuid take_uuid(reader& r) {
  uuid id;
  r.raw(id.bytes.data(), id.bytes.size());
  return id;
}

// The crc says that the bytes are what was written; this that nobody computes with sizes that make no sense.
bool makes_sense(const superblock& sb) {
  return sb.slot_bytes >= bounds::page_bytes_min && sb.slot_bytes <= bounds::page_bytes_max
         && sb.slot_bytes % bounds::page_bytes_min == 0 && sb.data_bytes >= sb.slot_bytes
         && sb.data_bytes % sb.slot_bytes == 0 && sb.data_bytes <= INT64_MAX && sb.extent_bytes > 0
         && sb.extent_bytes % bounds::layout_align == 0 && sb.extent_bytes <= INT64_MAX
         && sb.mode <= coherence::software && sb.highest <= generation_max && sb.device_index < bounds::devices_max
         && sb.data_offset % bounds::layout_align == 0 && sb.data_offset <= INT64_MAX;
}

}  // namespace

std::array<std::byte, superblock_bytes> encode(const superblock& sb) {
  std::string fields;
  fields.reserve(superblock_bytes);
  writer w{fields};
  w.number(layout_magic).number(layout_major).number(layout_minor).number(std::uint32_t{0});
  w.number(sb.sequence);
  put(w, sb.pool);
  put(w, sb.device);
  put(w, sb.incarnation);
  w.number(sb.device_index).number(sb.device_count);
  w.number(sb.data_bytes).number(sb.slot_bytes).number(sb.extent_bytes);
  w.number(static_cast<std::uint32_t>(sb.mode)).number(sb.next_region);
  w.raw(sb.secret.data(), sb.secret.size());
  put(w, sb.boot_id);
  w.number(sb.epoch).number(sb.highest).number(sb.data_offset);
  return seal<superblock_bytes>(fields);
}

std::optional<superblock> decode_superblock(std::span<const std::byte> bytes) {
  reader r{unseal(bytes, superblock_bytes)};
  if (r.number<std::uint64_t>() != layout_magic || r.number<std::uint16_t>() != layout_major)
    return std::nullopt;
  r.bytes(sizeof layout_minor + sizeof(std::uint32_t));  // a higher minor version only adds
  superblock sb;
  sb.sequence = r.number<std::uint64_t>();
  sb.pool = take_uuid(r);
  sb.device = take_uuid(r);
  sb.incarnation = take_uuid(r);
  sb.device_index = r.number<std::uint32_t>();
  sb.device_count = r.number<std::uint32_t>();
  sb.data_bytes = r.number<std::uint64_t>();
  sb.slot_bytes = r.number<std::uint64_t>();
  sb.extent_bytes = r.number<std::uint64_t>();
  auto mode = r.number<std::uint32_t>();
  sb.mode = static_cast<coherence>(std::min<std::uint32_t>(mode, UINT8_MAX));
  sb.next_region = r.number<std::uint32_t>();
  r.raw(sb.secret.data(), sb.secret.size());
  sb.boot_id = take_uuid(r);
  sb.epoch = r.number<std::uint64_t>();
  sb.highest = r.number<std::uint64_t>();
  sb.data_offset = r.number<std::uint64_t>();
  if (!makes_sense(sb))
    return std::nullopt;
  return sb;
}

std::array<std::byte, region_row_bytes> encode(const region_row& row) {
  std::string fields;
  fields.reserve(region_row_bytes);
  writer w{fields};
  w.number(value_of(row.id)).number(row.device).number(row.offset).number(row.length).number(row.page_bytes);
  return seal<region_row_bytes>(fields);
}

std::optional<region_row> decode_region_row(std::span<const std::byte> bytes, bool* damaged) {
  if (damaged != nullptr)
    *damaged = false;
  auto line = bytes.first(std::min(bytes.size(), region_row_bytes));
  if (std::all_of(line.begin(), line.end(), [](std::byte b) { return b == std::byte{0}; }))
    return std::nullopt;
  reader r{unseal(bytes, region_row_bytes)};
  region_row row;
  row.id = region_id{r.number<std::uint32_t>()};
  row.device = r.number<std::uint32_t>();
  row.offset = r.number<std::uint64_t>();
  row.length = r.number<std::uint64_t>();
  row.page_bytes = r.number<std::uint64_t>();
  if (r.ok() && row.id != region_id::none && row.page_bytes > 0 && row.length >= row.page_bytes)
    return row;
  if (damaged != nullptr)
    *damaged = true;
  return std::nullopt;
}

std::string objection_to(const region_row& row, const superblock& sb) {
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

std::string_view to_string(page_state state) {
  switch (state) {
    case page_state::free: return "free";
    case page_state::granted: return "granted";
    case page_state::committed: return "committed";
    case page_state::evicting: return "evicting";
    case page_state::quarantined: return "quarantined";
    case page_state::retired: return "retired";
  }
  return "unknown";
}

std::uint64_t default_extent_bytes(std::uint64_t data_bytes, std::uint64_t device_align) {
  auto least = std::max<std::uint64_t>(device_align, bounds::layout_align);
  return std::max(align_up(data_bytes / bounds::regions_per_pool, least), least);
}

std::uint64_t index_offset(std::uint64_t data_bytes, std::uint64_t slot_bytes) {
  auto slots = (data_bytes + slot_bytes - 1) / slot_bytes;
  return descriptors_offset + align_up(slots * descriptor_bytes, bounds::layout_align);
}

std::uint64_t metadata_bytes(std::uint64_t data_bytes, std::uint64_t slot_bytes) {
  auto slots = (data_bytes + slot_bytes - 1) / slot_bytes;
  return index_offset(data_bytes, slot_bytes) + align_up(shared_index_bytes(slots), bounds::layout_align);
}

}  // namespace maru::cxl
