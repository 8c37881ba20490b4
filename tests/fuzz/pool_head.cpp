// Goal: whatever lies at the head of a device, it is told what it is, and no number without sense is computed with
// (cxl/superblock_pair.hpp, cxl/layout.hpp). Method: the bytes as two superblock copies and a row of the region table,
// each as it is or sealed with a crc that fits, so that the fields behind the crc are reached.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/crc32c.hpp"
#include "cxl/superblock_pair.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

using namespace cxl;

// The next N bytes, zeros behind the end; with a crc that fits where `sealed`.
template <std::size_t N>
std::array<std::byte, N> take_block(reader& in, bool sealed) {
  std::array<std::byte, N> out{};
  auto bytes = in.bytes(std::min(N, in.remaining()));
  std::copy_n(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), out.data());
  if (sealed) {
    auto crc = crc32c(out.data(), N - sizeof(std::uint32_t));
    std::memcpy(out.data() + N - sizeof crc, &crc, sizeof crc);
  }
  return out;
}

template <std::size_t N>
bool is_zero(const std::array<std::byte, N>& bytes) {
  return bytes == std::array<std::byte, N>{};
}

using copy_bytes = std::array<std::byte, superblock_bytes>;

void hold_sizes(const superblock& sb) {
  must(sb.slot_bytes >= bounds::page_bytes_min && sb.slot_bytes <= bounds::page_bytes_max,
       "a slot is within its bounds");
  must(sb.slot_bytes % bounds::page_bytes_min == 0, "a slot is whole pages of memory");
  must(sb.data_bytes / sb.slot_bytes > 0 && sb.data_bytes % sb.slot_bytes == 0,
       "the data is whole slots, at least one");
  must(sb.extent_bytes / bounds::layout_align > 0 && sb.extent_bytes % bounds::layout_align == 0,
       "an extent is aligned");
  must(sb.data_bytes <= INT64_MAX && sb.extent_bytes <= INT64_MAX, "sizes fit what system calls take");
  // Not below the count: a pool that lost a device to `device remove` keeps the indices of the others.
  must(sb.device_index < bounds::devices_max, "the device's index is one that a pool gives");
  must(sb.data_offset % bounds::layout_align == 0 && sb.data_offset <= INT64_MAX, "the data starts where it can");
  must(sb.mode == coherence::hardware || sb.mode == coherence::software, "the coherence mode is known");
  must(sb.highest <= generation_max, "the highest generation is one");
  must(metadata_bytes(sb.data_bytes, sb.slot_bytes) > descriptors_offset, "the metadata has room for descriptors");
}

void try_head(const copy_bytes& a, const copy_bytes& b, const std::array<std::byte, region_row_bytes>& row) {
  auto head = read_head(a, b, row);
  auto in_a = decode_superblock(a), in_b = decode_superblock(b);
  must((head.kind == head_kind::valid) == (in_a || in_b), "a head is valid if a copy is, and only then");
  must((head.kind == head_kind::blank) == (is_zero(a) && is_zero(b) && is_zero(row)), "blank is zeros, and only zeros");
  if (head.kind != head_kind::valid)
    return;
  hold_sizes(head.super);
  auto won = encode(head.super);
  must((in_a && encode(*in_a) == won) || (in_b && encode(*in_b) == won), "the superblock is one of the copies");
  must((!in_a || in_a->sequence <= head.super.sequence) && (!in_b || in_b->sequence <= head.super.sequence),
       "the copy with the higher sequence wins");
  auto again = decode_superblock(won);
  must(again && encode(*again) == won, "a superblock survives");
}

// A write goes to the copy that is not the last whole one, and makes it that.
void try_write(const copy_bytes& a, const copy_bytes& b) {
  static std::vector<std::uint64_t> words(descriptors_offset / sizeof(std::uint64_t));
  std::span metadata{reinterpret_cast<std::byte*>(words.data()), descriptors_offset};
  std::copy(a.begin(), a.end(), metadata.begin() + superblock_a_offset);
  std::copy(b.begin(), b.end(), metadata.begin() + superblock_b_offset);
  auto copy_at = [&](std::uint64_t offset) { return metadata.subspan(offset, superblock_bytes); };
  auto before = read_head(a, b, {});
  superblock_pair pair{metadata};
  auto order = pair.write_order();
  must(order[0] != order[1], "both copies have their turn");
  auto kept = decode_superblock(copy_at(order[1]));
  if (before.kind != head_kind::valid)
    return;
  must(kept && kept->sequence == before.super.sequence, "what is written first is not the last whole copy");
  auto next = before.super;
  ++next.sequence;
  pair.write(order[0], next);
  auto after = read_head(copy_at(superblock_a_offset), copy_at(superblock_b_offset), {});
  must(after.kind == head_kind::valid, "a head stays valid when a copy is written");
  if (next.sequence != 0)
    must(encode(after.super) == encode(next), "what was written is what is read");
}

void try_row(const std::array<std::byte, region_row_bytes>& bytes) {
  bool damaged = false;
  auto row = decode_region_row(bytes, &damaged);
  must(int{row.has_value()} + int{damaged} + int{is_zero(bytes)} == 1, "a row is a region, damaged or empty");
  if (!row)
    return;
  must(row->id != region_id::none && row->page_bytes > 0 && row->length / row->page_bytes > 0, "a region has a page");
  must(decode_region_row(encode(*row)) == row, "a row survives");
}

}  // namespace

void try_input(std::string_view bytes) {
  reader in{bytes};
  auto sealed = in.number<std::uint8_t>();  // one bit a block
  auto a = take_block<superblock_bytes>(in, sealed & 1);
  auto b = take_block<superblock_bytes>(in, sealed & 2);
  auto row = take_block<region_row_bytes>(in, sealed & 4);
  try_head(a, b, row);
  try_write(a, b);
  try_row(row);
}

}  // namespace maru::fuzz
