#include "cxl/superblock_pair.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cxl/visibility.hpp"

namespace maru::cxl {

namespace {

std::uint64_t magic_of(std::span<const std::byte> copy) {
  std::uint64_t magic = 0;
  if (copy.size() >= sizeof magic)
    std::memcpy(&magic, copy.data(), sizeof magic);
  return magic;
}

std::uint16_t major_of(std::span<const std::byte> copy) {
  std::uint16_t major = 0;
  if (copy.size() >= sizeof(std::uint64_t) + sizeof major)
    std::memcpy(&major, copy.data() + sizeof(std::uint64_t), sizeof major);
  return major;
}

bool is_blank(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// No store before it comes after it, and none after it before.
void set_magic(std::byte* copy, std::uint64_t magic) {
  std::atomic_ref<std::uint64_t>{*reinterpret_cast<std::uint64_t*>(copy)}.exchange(magic, std::memory_order_seq_cst);
}

}  // namespace

head read_head(std::span<const std::byte> copy_a, std::span<const std::byte> copy_b, std::span<const std::byte> table) {
  auto a = decode_superblock(copy_a);
  auto b = decode_superblock(copy_b);
  if (a || b) {
    head found{head_kind::valid, a && (!b || a->sequence > b->sequence) ? *a : *b};
    found.one_damaged = !(a && b) && magic_of(a ? copy_b : copy_a) != 0;  // a kill while it is written leaves no magic
    return found;
  }
  if (magic_of(copy_a) == formatting_magic || magic_of(copy_b) == formatting_magic)
    return {head_kind::unfinished};
  for (auto copy : {copy_a, copy_b})
    if (magic_of(copy) == layout_magic && major_of(copy) != layout_major)
      return {head_kind::other_version, {}, major_of(copy)};
  if (magic_of(copy_a) == layout_magic || magic_of(copy_b) == layout_magic)
    return {head_kind::damaged};
  return {is_blank(copy_a) && is_blank(copy_b) && is_blank(table) ? head_kind::blank : head_kind::foreign};
}

std::array<std::uint64_t, 2> superblock_pair::write_order() const {
  auto a = decode_superblock(metadata_.subspan(superblock_a_offset, superblock_bytes));
  auto b = decode_superblock(metadata_.subspan(superblock_b_offset, superblock_bytes));
  bool b_first = a && (!b || b->sequence < a->sequence);
  return b_first ? std::array{superblock_b_offset, superblock_a_offset}
                 : std::array{superblock_a_offset, superblock_b_offset};
}

void superblock_pair::write(std::uint64_t offset, const superblock& sb) {
  auto bytes = encode(sb);
  auto* copy = metadata_.data() + offset;
  set_magic(copy, 0);
  std::memcpy(copy + sizeof layout_magic, bytes.data() + sizeof layout_magic, bytes.size() - sizeof layout_magic);
  set_magic(copy, layout_magic);
  between_hosts().publish(metadata_.subspan(offset, superblock_bytes));
}

void superblock_pair::mark_formatting() {
  set_magic(metadata_.data() + superblock_a_offset, formatting_magic);
  set_magic(metadata_.data() + superblock_b_offset, formatting_magic);
  for (auto offset : {superblock_a_offset, superblock_b_offset})
    between_hosts().publish(metadata_.subspan(offset, superblock_bytes));
}

}  // namespace maru::cxl
