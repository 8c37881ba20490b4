// The two superblock copies at the head of a pool's metadata: reading what lies there, and writing them so that at
// every instant one of them is whole.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cxl/layout.hpp"

namespace maru::cxl {

enum class head_kind : std::uint8_t {
  blank,       // zeros: nothing was ever here
  unfinished,  // a format began here and did not end
  valid,
  damaged,        // was a pool, but neither copy is whole
  other_version,  // a pool of another major version
  foreign,        // something else
};

struct head {
  head_kind kind = head_kind::blank;
  superblock super;          // where valid: the copy with the higher sequence
  std::uint16_t major = 0;   // where other_version
  bool one_damaged = false;  // where valid: the other copy is no more what was written, and no kill left it so
};

// How many bytes at the start of each copy, and of the region table, are looked at to tell a blank device.
inline constexpr std::size_t head_bytes = 4096;

// Says what the three blocks are. Shorter ones count as zeros beyond their end.
head read_head(std::span<const std::byte> copy_a, std::span<const std::byte> copy_b, std::span<const std::byte> table);

// Writes in mapped metadata. Does not own the memory. One thread at a time.
class superblock_pair {
public:
  // REQUIRES: at least descriptors_offset bytes, 8-byte aligned.
  explicit superblock_pair(std::span<std::byte> metadata) : metadata_(metadata) {}

  // Offsets of the copies, the older (or damaged) one first: the order to write them in.
  std::array<std::uint64_t, 2> write_order() const;
  // Writes one copy: its magic goes first and comes back last, so that a kill in between leaves it invalid.
  void write(std::uint64_t offset, const superblock& sb);
  // Marks both copies as those of a format that has begun: until a write(), the contents count as nobody's.
  void mark_formatting();

private:
  std::span<std::byte> metadata_;
};

}  // namespace maru::cxl
