// The pool's on-device format: structs, sizes, and their encoding. Pure functions over bytes, no I/O.
//
//   metadata:  [superblock A: 2 MiB block] [superblock B: 2 MiB block] [region table: 2 MiB] [page descriptors] [index]
//   data:      [region] [region] ...
//
// Each device of a pool has both. On most of them metadata and data are two files (workers map the data for writing, the
// metadata for reading only); where that cannot be (device::holds_metadata) the metadata lies in front of the data. Every
// number is little-endian. The index is made anew by each start, see shared_index.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bounds.hpp"
#include "base/key_hash.hpp"
#include "base/types.hpp"
#include "base/uuid.hpp"

namespace maru::cxl {

inline constexpr std::uint64_t layout_magic = 0x4c4f4f505552414dull;      // "MARUPOOL"
inline constexpr std::uint64_t formatting_magic = 0x544d524f46554d41ull;  // "AMUFORMT": a format that did not finish
inline constexpr std::uint16_t layout_major = 1;
inline constexpr std::uint16_t layout_minor = 2;

inline constexpr std::uint64_t superblock_a_offset = 0;
inline constexpr std::uint64_t superblock_b_offset = bounds::layout_align;
inline constexpr std::uint64_t region_table_offset = 2 * bounds::layout_align;
inline constexpr std::uint64_t descriptors_offset = 3 * bounds::layout_align;

enum class coherence : std::uint8_t { hardware = 0, software = 1 };

struct superblock {
  std::uint64_t sequence = 0;  // the higher valid one of the two copies wins
  uuid pool;  // as on its other devices; so are slot_bytes, mode, secret, epoch, next_region and highest
  uuid device;
  uuid incarnation;  // random at format and whenever the contents are known to be lost
  std::uint32_t device_index = 0;
  std::uint32_t device_count = 1;
  std::uint64_t data_bytes = 0;
  std::uint64_t slot_bytes = 0;    // smallest page: one descriptor each
  std::uint64_t extent_bytes = 0;  // regions start at multiples of this
  coherence mode = coherence::hardware;
  hash_secret secret{};
  uuid boot_id;             // of the host that served the pool last
  std::uint64_t epoch = 0;  // +1 each time a marud takes the pool over
  std::uint32_t next_region = 1;
  generation highest = 0;         // no generation ever used is above this (coarse)
  std::uint64_t data_offset = 0;  // of the data on the device; 0 where metadata is a file of its own
};

inline constexpr std::size_t superblock_bytes = 256;
std::array<std::byte, superblock_bytes> encode(const superblock& sb);
// Empty where magic, major version or CRC do not fit, or where the sizes make no sense.
std::optional<superblock> decode_superblock(std::span<const std::byte> bytes);

// A slab of the device given to one page size.
struct region_row {
  region_id id = region_id::none;
  std::uint32_t device = 0;
  std::uint64_t offset = 0;  // in the device's data, bytes
  std::uint64_t length = 0;  // bytes; the last one of a device may be shorter than the others
  std::uint64_t page_bytes = 0;
  friend bool operator==(const region_row&, const region_row&) = default;

  std::uint32_t page_count() const { return static_cast<std::uint32_t>(length / page_bytes); }
};

inline constexpr std::size_t region_row_bytes = 64;
inline constexpr std::size_t region_rows_max = bounds::layout_align / region_row_bytes;
std::array<std::byte, region_row_bytes> encode(const region_row& row);
// Empty for an all-zero row and for one whose CRC does not fit; `*damaged` tells the second.
std::optional<region_row> decode_region_row(std::span<const std::byte> bytes, bool* damaged = nullptr);

// Why a device with this superblock cannot have the region; empty where it can.
std::string objection_to(const region_row& row, const superblock& sb);

// Retired: its memory failed, and it is never used again. Since layout 1.2; one before that takes it for a damaged line.
enum class page_state : std::uint8_t {
  free = 0,
  granted = 1,
  committed = 2,
  evicting = 3,
  quarantined = 4,
  retired = 5,
  last_ = retired
};
std::string_view to_string(page_state state);

// What a page holds, so that the index can be rebuilt from the pool itself. On the device: one 64-byte line
//   word {generation 48, flags 8, state 8} | hash 16 | checksum 8 | session 8 | length 4 | epoch 4 | page 8 | zero 4 | crc 4
// The crc covers generation and all fields but state and flags, so that a change of state alone is one store.
// Committed ones say which page of which region they describe, for readers that come by the index in the pool; those of
// layout 1.0 do not.
struct descriptor {
  page_state state = page_state::free;
  generation gen = 0;
  key_hash hash;
  std::uint64_t checksum = 0;
  session_id session = session_id::none;
  std::uint32_t length = 0;
  std::uint32_t epoch = 0;
  page_ref page;
  friend bool operator==(const descriptor&, const descriptor&) = default;
};

inline constexpr std::size_t descriptor_bytes = 64;

// Number of a page slot in a pool: which one of which device.
constexpr std::uint64_t slot_number(std::uint32_t device, std::uint64_t on_device) {
  return std::uint64_t{device} << 32 | on_device;
}
constexpr std::uint32_t device_of_slot(std::uint64_t slot) { return static_cast<std::uint32_t>(slot >> 32); }
constexpr std::uint64_t slot_on_device(std::uint64_t slot) { return slot & UINT32_MAX; }
// Slot of a page's descriptor. REQUIRES: the page is in the row.
constexpr std::uint64_t slot_of(const region_row& row, page_index page, std::uint64_t slot_bytes) {
  return slot_number(row.device, (row.offset + value_of(page) * row.page_bytes) / slot_bytes);
}

// Smallest region extent for a pool: 1/64 of it, at least max(device align, 2 MiB), a multiple of that.
std::uint64_t default_extent_bytes(std::uint64_t data_bytes, std::uint64_t device_align);
// Where the index lies in the metadata of a pool of `data_bytes` with slots of `slot_bytes`: behind all of layout 1.0.
std::uint64_t index_offset(std::uint64_t data_bytes, std::uint64_t slot_bytes);
// Size of the metadata, rounded up to 2 MiB.
std::uint64_t metadata_bytes(std::uint64_t data_bytes, std::uint64_t slot_bytes);

}  // namespace maru::cxl
