// Goal: whatever instant a kill comes at, one superblock copy is whole; and what is no pool is told from what was one.
// Method: heads built by hand for every kind; writing watched from outside after each machine instruction.
#include "cxl/superblock_pair.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

#include "base/crc32c.hpp"
#include "cxl/device.hpp"
#include "tests/cxl/samples.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::cxl {
namespace {

using samples::a_superblock;

// Metadata without descriptors, in ordinary memory.
class heads : public ::testing::Test {
protected:
  std::span<std::byte> all() { return bytes_; }
  std::byte* a() { return bytes_.data() + superblock_a_offset; }
  std::byte* b() { return bytes_.data() + superblock_b_offset; }
  head read() const {
    return read_head(block(superblock_a_offset), block(superblock_b_offset), block(region_table_offset));
  }
  std::span<const std::byte> block(std::uint64_t offset) const { return std::span{bytes_}.subspan(offset, head_bytes); }
  void put(std::uint64_t offset, const superblock& sb) { superblock_pair{bytes_}.write(offset, sb); }

private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(descriptors_offset);
};

TEST_F(heads, ZerosAreBlank) { EXPECT_EQ(read().kind, head_kind::blank); }

TEST_F(heads, NothingAtAllIsBlank) { EXPECT_EQ(read_head({}, {}, {}).kind, head_kind::blank); }

TEST_F(heads, AnyOtherByteIsForeign) {
  for (auto offset : {superblock_a_offset, superblock_b_offset, region_table_offset})
    for (std::size_t i : {0ul, 1ul, 255ul, 256ul, head_bytes - 1}) {
      all()[offset + i] = std::byte{1};
      EXPECT_EQ(read().kind, head_kind::foreign) << offset + i;
      all()[offset + i] = std::byte{0};
    }
}

TEST_F(heads, HigherSequenceWins) {
  put(superblock_a_offset, a_superblock(7));
  put(superblock_b_offset, a_superblock(8));
  EXPECT_EQ(read().kind, head_kind::valid);
  EXPECT_EQ(read().super.sequence, 8u);
  put(superblock_a_offset, a_superblock(9));
  EXPECT_EQ(read().super.sequence, 9u);
}

TEST_F(heads, OneWholeCopyIsEnoughWhateverByteOfTheOtherIsDamaged) {
  for (auto damaged : {superblock_a_offset, superblock_b_offset})
    for (std::size_t i = 0; i < superblock_bytes; ++i) {
      put(superblock_a_offset, a_superblock(7));
      put(superblock_b_offset, a_superblock(8));
      all()[damaged + i] ^= std::byte{0x10};
      ASSERT_EQ(read().kind, head_kind::valid);
      ASSERT_EQ(read().super.sequence, damaged == superblock_a_offset ? 8u : 7u);
    }
}

TEST_F(heads, TwoDamagedCopiesAreADamagedPoolAndNotABlankOne) {
  for (std::size_t i = 8; i < superblock_bytes; ++i) {
    put(superblock_a_offset, a_superblock(7));
    put(superblock_b_offset, a_superblock(8));
    a()[i] ^= std::byte{0x10};
    b()[superblock_bytes - 1] ^= std::byte{1};
    auto kind = read().kind;
    ASSERT_TRUE(kind == head_kind::damaged || (kind == head_kind::other_version && i < 10)) << i;
  }
  std::memset(a(), 0, superblock_bytes);
  EXPECT_EQ(read().kind, head_kind::damaged);
}

TEST_F(heads, AnotherMajorVersionIsNamed) {
  auto bytes = encode(a_superblock());
  bytes[8] = std::byte{3};
  auto crc = crc32c(bytes.data(), 252);
  std::memcpy(bytes.data() + 252, &crc, 4);
  std::memcpy(a(), bytes.data(), bytes.size());
  EXPECT_EQ(read().kind, head_kind::other_version);
  EXPECT_EQ(read().major, 3);
}

TEST_F(heads, AnUnfinishedFormatIsNobodysUntilASuperblockIsWritten) {
  std::memset(all().data(), 0x5a, all().size());
  superblock_pair{all()}.mark_formatting();
  EXPECT_EQ(read().kind, head_kind::unfinished);
  put(superblock_a_offset, a_superblock(1));
  EXPECT_EQ(read().kind, head_kind::valid);
}

TEST_F(heads, TheOlderOrDamagedCopyIsWrittenFirst) {
  auto first = [&] { return superblock_pair{all()}.write_order()[0]; };
  put(superblock_a_offset, a_superblock(7));
  EXPECT_EQ(first(), superblock_b_offset);
  put(superblock_b_offset, a_superblock(8));
  EXPECT_EQ(first(), superblock_a_offset);
  put(superblock_a_offset, a_superblock(9));
  EXPECT_EQ(first(), superblock_b_offset);
  a()[100] ^= std::byte{1};
  EXPECT_EQ(first(), superblock_a_offset);
  EXPECT_EQ(superblock_pair{all()}.write_order()[1], superblock_b_offset);
}

// Any part of the body, in any order, may have reached memory when the kill comes.
TEST_F(heads, ATornCopyIsNeverTakenForAWholeOne) {
  auto before = encode(a_superblock(7));
  auto after = encode(a_superblock(9));
  for (std::size_t n = 0; n <= superblock_bytes; ++n) {
    put(superblock_b_offset, a_superblock(8));
    std::memcpy(a(), after.data(), n);
    std::memcpy(a() + n, before.data() + n, superblock_bytes - n);
    std::memset(a(), 0, 8);  // the magic comes back last
    ASSERT_EQ(read().kind, head_kind::valid);
    ASSERT_EQ(read().super.sequence, 8u);
  }
}

TEST(SuperblockWrite, KilledAfterAnyInstructionLeavesTheOldOrTheNewOne) {
  test::temp_folder folder;
  auto device = open_device({folder / "meta", descriptors_offset, true});
  ASSERT_TRUE(device);
  auto map = (*device)->map(0, descriptors_offset, access::read_write);
  auto view = (*device)->map(0, descriptors_offset, access::read);
  ASSERT_TRUE(map);
  ASSERT_TRUE(view);
  superblock_pair pair{map->bytes()};
  pair.write(superblock_a_offset, a_superblock(7));
  pair.write(superblock_b_offset, a_superblock(7));
  auto look = [&] {
    auto blocks = view->bytes();
    return read_head(blocks.subspan(superblock_a_offset, head_bytes), blocks.subspan(superblock_b_offset, head_bytes),
                     blocks.subspan(region_table_offset, head_bytes));
  };
  std::set<std::uint64_t> seen;
  auto child = [&] {
    // Of its own: the parent's mapping is not inherited.
    auto mine = (*device)->map(0, descriptors_offset, access::read_write);
    superblock_pair heads_of_child{mine->bytes()};
    for (auto offset : heads_of_child.write_order())
      heads_of_child.write(offset, a_superblock(8));
  };
  int without = 0;
  auto steps = test::single_step(child, [&] {
    auto now = look();
    without += now.kind != head_kind::valid;
    seen.insert(now.super.sequence);
  });
  if (steps < 0)
    GTEST_SKIP() << "tracing is not allowed here";
  EXPECT_GT(steps, 500);
  EXPECT_EQ(without, 0);
  EXPECT_EQ(seen, (std::set<std::uint64_t>{7, 8}));
}

}  // namespace
}  // namespace maru::cxl
