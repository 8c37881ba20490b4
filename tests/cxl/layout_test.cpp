// Goal: the on-device format keeps every field, refuses every damaged or senseless byte, and does not change by
// accident. Method: structs with all fields set; each bit of an encoding flipped; each field pinned to its offset.
#include "cxl/layout.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/crc32c.hpp"
#include "base/size.hpp"
#include "tests/cxl/samples.hpp"

namespace maru::cxl {
namespace {

using samples::a_row;
using samples::a_superblock;

template <std::size_t N>
std::vector<std::array<std::byte, N>> each_bit_flipped(const std::array<std::byte, N>& bytes) {
  std::vector<std::array<std::byte, N>> out;
  for (std::size_t i = 0; i < N * 8; ++i) {
    out.push_back(bytes);
    out.back()[i / 8] ^= std::byte{1} << (i % 8);
  }
  return out;
}

template <class T>
T at(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// The bytes with another value at `offset` and a crc that fits.
template <std::size_t N, class T>
std::array<std::byte, N> forged(std::array<std::byte, N> bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
  auto crc = crc32c(bytes.data(), N - 4);
  std::memcpy(bytes.data() + N - 4, &crc, 4);
  return bytes;
}

TEST(Superblock, KeepsEveryField) {
  auto in = a_superblock();
  auto out = decode_superblock(encode(in));
  ASSERT_TRUE(out);
  EXPECT_EQ(out->sequence, in.sequence);
  EXPECT_EQ(out->pool, in.pool);
  EXPECT_EQ(out->device, in.device);
  EXPECT_EQ(out->incarnation, in.incarnation);
  EXPECT_EQ(out->device_index, in.device_index);
  EXPECT_EQ(out->device_count, in.device_count);
  EXPECT_EQ(out->data_bytes, in.data_bytes);
  EXPECT_EQ(out->slot_bytes, in.slot_bytes);
  EXPECT_EQ(out->extent_bytes, in.extent_bytes);
  EXPECT_EQ(out->mode, in.mode);
  EXPECT_EQ(out->secret, in.secret);
  EXPECT_EQ(out->boot_id, in.boot_id);
  EXPECT_EQ(out->epoch, in.epoch);
  EXPECT_EQ(out->next_region, in.next_region);
  EXPECT_EQ(out->highest, in.highest);
}

TEST(Superblock, FieldsLieWhereVersionOneHasThem) {
  auto sb = a_superblock();
  auto bytes = encode(sb);
  EXPECT_EQ(std::memcmp(bytes.data(), "MARUPOOL", 8), 0);
  EXPECT_EQ(at<std::uint16_t>(bytes, 8), 1);
  EXPECT_EQ(at<std::uint16_t>(bytes, 10), layout_minor);
  EXPECT_EQ(at<std::uint64_t>(bytes, 16), sb.sequence);
  EXPECT_EQ(at<uuid>(bytes, 24), sb.pool);
  EXPECT_EQ(at<uuid>(bytes, 40), sb.device);
  EXPECT_EQ(at<uuid>(bytes, 56), sb.incarnation);
  EXPECT_EQ(at<std::uint32_t>(bytes, 72), sb.device_index);
  EXPECT_EQ(at<std::uint32_t>(bytes, 76), sb.device_count);
  EXPECT_EQ(at<std::uint64_t>(bytes, 80), sb.data_bytes);
  EXPECT_EQ(at<std::uint64_t>(bytes, 88), sb.slot_bytes);
  EXPECT_EQ(at<std::uint64_t>(bytes, 96), sb.extent_bytes);
  EXPECT_EQ(at<std::uint32_t>(bytes, 104), 1u);
  EXPECT_EQ(at<std::uint32_t>(bytes, 108), sb.next_region);
  EXPECT_EQ(at<hash_secret>(bytes, 112), sb.secret);
  EXPECT_EQ(at<uuid>(bytes, 128), sb.boot_id);
  EXPECT_EQ(at<std::uint64_t>(bytes, 144), sb.epoch);
  EXPECT_EQ(at<std::uint64_t>(bytes, 152), sb.highest);
  EXPECT_EQ(at<std::uint32_t>(bytes, 252), crc32c(bytes.data(), 252));
}

TEST(Superblock, EveryFlippedBitIsRefused) {
  for (const auto& bytes : each_bit_flipped(encode(a_superblock())))
    EXPECT_FALSE(decode_superblock(bytes));
}

TEST(Superblock, EveryCutIsRefused) {
  auto bytes = encode(a_superblock());
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_superblock(std::span{bytes}.first(n))) << n << " bytes";
}

TEST(Superblock, ZerosAreNoSuperblock) { EXPECT_FALSE(decode_superblock(std::array<std::byte, superblock_bytes>{})); }

TEST(Superblock, AnotherMajorVersionIsRefusedAndAHigherMinorIsRead) {
  auto bytes = encode(a_superblock());
  EXPECT_FALSE(decode_superblock(forged(bytes, 8, std::uint16_t{2})));
  EXPECT_TRUE(decode_superblock(forged(bytes, 10, std::uint16_t{9})));
}

TEST(Superblock, SizesThatMakeNoSenseAreRefusedDespiteAGoodCrc) {
  auto refused = [](auto change) {
    auto sb = a_superblock();
    change(sb);
    return !decode_superblock(encode(sb));
  };
  EXPECT_TRUE(refused([](auto& sb) { sb.slot_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.slot_bytes = 5000; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.slot_bytes = 2 * bounds::GiB; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.data_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.data_bytes += 1; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.data_bytes = ~0ull - 65535; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.extent_bytes = 0; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.extent_bytes = bounds::MiB; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.highest = generation_max + 1; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.device_index = bounds::devices_max; }));
  EXPECT_TRUE(refused([](auto& sb) { sb.data_offset = bounds::MiB; }));
  EXPECT_FALSE(decode_superblock(forged(encode(a_superblock()), 104, std::uint32_t{2})));
  EXPECT_FALSE(decode_superblock(forged(encode(a_superblock()), 104, std::uint32_t{256})));
}

TEST(RegionRow, KeepsEveryField) {
  bool damaged = true;
  auto out = decode_region_row(encode(a_row()), &damaged);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, a_row());
  EXPECT_FALSE(damaged);
}

TEST(RegionRow, FieldsLieWhereVersionOneHasThem) {
  auto row = a_row();
  auto bytes = encode(row);
  EXPECT_EQ(at<std::uint32_t>(bytes, 0), value_of(row.id));
  EXPECT_EQ(at<std::uint32_t>(bytes, 4), row.device);
  EXPECT_EQ(at<std::uint64_t>(bytes, 8), row.offset);
  EXPECT_EQ(at<std::uint64_t>(bytes, 16), row.length);
  EXPECT_EQ(at<std::uint64_t>(bytes, 24), row.page_bytes);
  EXPECT_EQ(at<std::uint32_t>(bytes, 60), crc32c(bytes.data(), 60));
}

TEST(RegionRow, EveryFlippedBitIsRefusedAsDamage) {
  for (const auto& bytes : each_bit_flipped(encode(a_row()))) {
    bool damaged = false;
    EXPECT_FALSE(decode_region_row(bytes, &damaged));
    EXPECT_TRUE(damaged);
  }
}

TEST(RegionRow, AllZerosIsEmptyAndNotDamaged) {
  bool damaged = true;
  EXPECT_FALSE(decode_region_row(std::array<std::byte, region_row_bytes>{}, &damaged));
  EXPECT_FALSE(damaged);
}

TEST(RegionRow, OneBitInAnEmptyRowIsDamage) {
  for (const auto& bytes : each_bit_flipped(std::array<std::byte, region_row_bytes>{})) {
    bool damaged = false;
    EXPECT_FALSE(decode_region_row(bytes, &damaged));
    EXPECT_TRUE(damaged);
  }
}

TEST(RegionRow, EveryCutIsRefused) {
  auto bytes = encode(a_row());
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_region_row(std::span{bytes}.first(n))) << n << " bytes";
}

TEST(RegionRow, ValuesThatWouldDivideByZeroAreRefusedDespiteAGoodCrc) {
  for (auto change : {+[](region_row& r) { r.page_bytes = 0; }, +[](region_row& r) { r.length = 0; },
                      +[](region_row& r) { r.id = region_id::none; }}) {
    auto row = a_row();
    change(row);
    bool damaged = false;
    EXPECT_FALSE(decode_region_row(encode(row), &damaged));
    EXPECT_TRUE(damaged);
  }
}

TEST(RegionRow, CountsWholePagesOnly) {
  EXPECT_EQ((region_row{region_id{1}, 0, 0, 2 * bounds::MiB, 64 * bounds::KiB}.page_count()), 32u);
  EXPECT_EQ((region_row{region_id{1}, 0, 0, 100 * bounds::KiB, 64 * bounds::KiB}.page_count()), 1u);
}

TEST(Extent, IsAFractionOfThePoolAndNeverBelowTheAlignment) {
  EXPECT_EQ(default_extent_bytes(1, 4096), 2 * bounds::MiB);
  EXPECT_EQ(default_extent_bytes(256 * bounds::MiB, 4096), 4 * bounds::MiB);
  EXPECT_EQ(default_extent_bytes(257 * bounds::MiB, 4096), 6 * bounds::MiB);
  EXPECT_EQ(default_extent_bytes(256 * bounds::MiB, bounds::GiB), bounds::GiB);
  EXPECT_EQ(default_extent_bytes(1024 * bounds::GiB, 4096), 16 * bounds::GiB);
  for (std::uint64_t mib = 1; mib < 5000; mib += 7)
    EXPECT_LE(align_down(mib * bounds::MiB, bounds::MiB) / default_extent_bytes(mib * bounds::MiB, 4096), 64u);
}

TEST(Metadata, HoldsALineForEverySlotAndTheIndexBehind) {
  EXPECT_EQ(index_offset(64 * bounds::KiB, 64 * bounds::KiB), 8 * bounds::MiB);
  EXPECT_EQ(index_offset(2048 * bounds::MiB, 64 * bounds::KiB), 8 * bounds::MiB);
  EXPECT_EQ(index_offset(2048 * bounds::MiB + 1, 64 * bounds::KiB), 10 * bounds::MiB);
  EXPECT_EQ(index_offset(4096 * bounds::MiB, 4096), 70 * bounds::MiB);
  EXPECT_EQ(metadata_bytes(64 * bounds::KiB, 64 * bounds::KiB), 10 * bounds::MiB);
  EXPECT_EQ(metadata_bytes(4096 * bounds::MiB, 4096), 104 * bounds::MiB);
}

TEST(PageState, EveryStateHasAName) {
  EXPECT_EQ(to_string(page_state::free), "free");
  EXPECT_EQ(to_string(page_state::granted), "granted");
  EXPECT_EQ(to_string(page_state::committed), "committed");
  EXPECT_EQ(to_string(page_state::evicting), "evicting");
  EXPECT_EQ(to_string(page_state::quarantined), "quarantined");
  EXPECT_EQ(to_string(page_state::retired), "retired");
  EXPECT_EQ(to_string(page_state{200}), "unknown");
}

}  // namespace
}  // namespace maru::cxl
