// Goal: flipped bits in the pool's own metadata are noticed, counted, and lead no reader to wrong bytes; what they do not
// touch is served. Method: one bit of what a killed marud left is flipped, the start is done, every key compared.
//
// MARU_ROUNDS=5000 for a long run. A failing MARU_SEED reproduces.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "cxl/layout.hpp"
#include "tests/crash/loads.hpp"
#include "tests/crash/scene.hpp"

namespace maru::test {
namespace {

using cxl::descriptor_bytes;
using cxl::descriptors_offset;

class damage_of_the_pool : public ::testing::Test {
protected:
  scene s{left_by::kill};
  random_source random{0};
  std::uint64_t rounds = number_from_environment("MARU_ROUNDS", 60);
  std::string metadata = read_file(s.meta());

  // Slots of committed pages.
  std::vector<std::uint64_t> committed() const {
    std::vector<std::uint64_t> out;
    for (std::uint64_t slot = 0; descriptors_offset + slot * descriptor_bytes < metadata.size(); ++slot)
      if (metadata[descriptors_offset + slot * descriptor_bytes] == static_cast<char>(cxl::page_state::committed))
        out.push_back(slot);
    return out;
  }
};

TEST_F(damage_of_the_pool, AFlippedBitInADescriptorLosesItsEntryAndIsCounted) {
  auto slots = committed();
  ASSERT_EQ(slots.size(), s.keys());
  for (; rounds > 0; --rounds) {
    auto line = descriptors_offset + slots[random.below(slots.size())] * descriptor_bytes;
    auto bit = random.below(descriptor_bytes * 8);
    SCOPED_TRACE("line at " + std::to_string(line) + ", bit " + std::to_string(bit));
    s.restore();
    flip_bit(s.meta(), line * 8 + bit);
    auto o = s.start_here();
    ASSERT_EQ(o.code, ec::ok) << o.message;
    ASSERT_EQ(o.wrong, 0u);
    bool flags = bit / 8 == 1;  // of no use yet, and under no checksum
    ASSERT_EQ(o.found.size(), s.keys() - !flags);
    ASSERT_EQ(o.dropped, flags ? 0u : 1u);
  }
}

TEST_F(damage_of_the_pool, AFlippedBitInARegionsRowLosesTheRegionAndIsCounted) {
  std::size_t rows = 0;
  while (metadata[cxl::region_table_offset + rows * cxl::region_row_bytes] != 0)
    ++rows;
  ASSERT_GE(rows, 2u);
  for (rounds = rounds / 2; rounds > 0; --rounds) {
    auto row = random.below(rows), bit = random.below(cxl::region_row_bytes * 8);
    SCOPED_TRACE("row " + std::to_string(row) + ", bit " + std::to_string(bit));
    s.restore();
    flip_bit(s.meta(), (cxl::region_table_offset + row * cxl::region_row_bytes) * 8 + bit);
    auto o = s.start_here();
    ASSERT_EQ(o.code, ec::ok) << o.message;
    ASSERT_EQ(o.wrong, 0u);
    ASSERT_EQ(o.found.size() + o.dropped, s.keys());
    ASSERT_GT(o.dropped, 0u);
    ASSERT_LT(o.dropped, s.keys()) << "the other region is served";
    ASSERT_EQ(o.corrupted, 1u);
  }
}

TEST_F(damage_of_the_pool, AFlippedBitInOneSuperblockIsCountedAndHarmsNothing) {
  for (rounds = rounds / 2; rounds > 0; --rounds) {
    auto block = random.below(2) == 0 ? cxl::superblock_a_offset : cxl::superblock_b_offset;
    auto bit = random.below(cxl::superblock_bytes * 8);
    SCOPED_TRACE("superblock at " + std::to_string(block) + ", bit " + std::to_string(bit));
    s.restore();
    flip_bit(s.meta(), block * 8 + bit);
    auto o = s.start_here();
    ASSERT_EQ(o.code, ec::ok) << o.message;
    ASSERT_EQ(o.wrong, 0u);
    ASSERT_EQ(o.found.size(), s.keys());
    ASSERT_EQ(o.corrupted, 1u);
    o = s.start_here();
    ASSERT_EQ(o.corrupted, 0u) << "the start wrote both again";
  }
}

TEST_F(damage_of_the_pool, FlippedBitsInBothSuperblocksAreRefused) {
  std::map<ec, int> codes;
  for (rounds = rounds / 2; rounds > 0; --rounds) {
    s.restore();
    for (auto block : {cxl::superblock_a_offset, cxl::superblock_b_offset})
      flip_bit(s.meta(), block * 8 + random.below(cxl::superblock_bytes * 8));
    auto o = s.start_here();
    ++codes[o.code];
    ASSERT_TRUE(o.code == ec::corrupt || o.code == ec::unknown_contents) << o.message;
    ASSERT_NE(o.message.find("--format"), std::string::npos) << "names the command: " << o.message;
  }
  EXPECT_GT(codes[ec::corrupt], 0);
}

TEST_F(damage_of_the_pool, ManyFlippedBitsAnywhereInTheMetadataNeverLeadToWrongBytes) {
  auto used = descriptors_offset + 1024 * descriptor_bytes;
  for (; rounds > 0; --rounds) {
    s.restore();
    for (int flips = 0; flips < 50; ++flips) {
      auto at = random.chance(80) ? descriptors_offset + random.below(used - descriptors_offset) : random.below(used);
      flip_bit(s.meta(), at * 8 + random.below(8));
    }
    auto o = s.start_here();
    ASSERT_EQ(o.wrong, 0u);
    ASSERT_TRUE(o.code != ec::ok || o.found.size() + o.dropped == s.keys());
  }
}

}  // namespace
}  // namespace maru::test
