// Goal: the region table gives each byte to one region, survives restarts, never uses an id twice, and drops what is
// damaged without harm to the rest. Method: each refusal by itself; each byte of a row damaged on the device; random
// additions, removals and restarts against a plain map (seed from MARU_SEED).
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>

#include "tests/cxl/pool_fixture.hpp"
#include "tests/support/random_run.hpp"

namespace maru::cxl {
namespace {

using bounds::KiB;
using bounds::MiB;

class pool_regions : public pool_fixture {
protected:
  static constexpr std::uint64_t extent = 2 * MiB;
};

TEST_F(pool_regions, AreFoundByIdAcrossRestarts) {
  auto p = must_open();
  auto one = p->add_region(0, extent, 64 * KiB);
  auto two = p->add_region(extent, 3 * extent, 128 * KiB);
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  EXPECT_EQ(value_of(one->id), 1u);
  EXPECT_EQ(value_of(two->id), 2u);
  for (int restart = 0; restart < 2; ++restart) {
    ASSERT_EQ(p->regions().size(), 2u);
    EXPECT_EQ(*p->find_region(one->id), *one);
    EXPECT_EQ(*p->find_region(two->id), *two);
    EXPECT_EQ(p->find_region(region_id{3}), nullptr);
    EXPECT_EQ(p->find_region(region_id::none), nullptr);
    EXPECT_EQ(p->damaged_rows(), 0u);
    p.reset();
    p = must_open();
  }
}

TEST_F(pool_regions, SlotsOfAllPagesDiffer) {
  auto p = must_open();
  std::vector<int> used(p->members().front()->descriptors().slots());
  for (auto [offset, length, page] : {std::tuple{0ul, extent, 64 * KiB},
                                      {extent, extent, 68 * KiB},
                                      {2 * extent, 2 * extent, 1000 * KiB},
                                      {4 * extent, 12 * extent, 24 * MiB}}) {
    auto row = p->add_region(offset, length, page);
    ASSERT_TRUE(row) << row.error().message;
    for (std::uint32_t i = 0; i < row->page_count(); ++i)
      EXPECT_EQ(used.at(p->slot_of(*row, page_index{i}))++, 0);
  }
}

TEST_F(pool_regions, ThatMakeNoSenseAreInvalid) {
  auto p = must_open();
  ASSERT_TRUE(p->add_region(4 * extent, 2 * extent, 64 * KiB));
  struct bad {
    std::uint64_t offset, length, page;
    const char* why;
  };
  for (auto [offset, length, page, why] : {bad{1, extent, 64 * KiB, "not on an extent"},
                                           {64 * KiB, extent, 64 * KiB, "not on an extent"},
                                           {0, 33 * MiB, 64 * KiB, "past the end"},
                                           {32 * MiB, extent, 64 * KiB, "past the end"},
                                           {64 * MiB, extent, 64 * KiB, "past the end"},
                                           {extent, ~0ul, 64 * KiB, "length that wraps round"},
                                           {~0ul - extent + 1, extent, 64 * KiB, "offset that wraps round"},
                                           {0, extent, 4 * KiB, "page below the slot size"},
                                           {0, extent, 0, "no page"},
                                           {0, extent, 65 * KiB + 1, "page not in 4 KiB"},
                                           {0, extent, 4 * MiB, "page larger than the region"},
                                           {0, 0, 64 * KiB, "no length"},
                                           {0, 32 * MiB, 2 * bounds::GiB, "page over its bound"},
                                           {4 * extent, extent, 64 * KiB, "over another"},
                                           {3 * extent, 2 * extent, 64 * KiB, "over another's start"},
                                           {5 * extent, 2 * extent, 64 * KiB, "over another's end"},
                                           {0, 32 * MiB, 64 * KiB, "around another"}}) {
    EXPECT_EQ(p->add_region(offset, length, page).code(), ec::invalid) << why;
  }
  EXPECT_EQ(p->regions().size(), 1u);
  EXPECT_EQ(p->super().next_region, 2u) << "a refusal costs no id";
}

TEST_F(pool_regions, RemovedOneIsGoneItsIdIsNotUsedAgainAndItsBytesAre) {
  auto p = must_open();
  ASSERT_TRUE(p->add_region(0, extent, 64 * KiB));
  ASSERT_TRUE(p->add_region(extent, extent, 64 * KiB));
  ASSERT_TRUE(p->remove_region(region_id{2}));
  EXPECT_EQ(p->remove_region(region_id{2}).code(), ec::missing);
  EXPECT_EQ(p->remove_region(region_id::none).code(), ec::missing);
  EXPECT_EQ(p->find_region(region_id{2}), nullptr);
  p.reset();
  p = must_open();
  EXPECT_EQ(p->regions().size(), 1u);
  auto row = p->add_region(extent, extent, 128 * KiB);
  ASSERT_TRUE(row);
  EXPECT_EQ(value_of(row->id), 3u);
}

TEST_F(pool_regions, IdIsOnTheDeviceBeforeItIsUsed) {
  auto p = must_open();
  for (std::uint32_t i = 1; i < 5; ++i) {
    ASSERT_TRUE(p->add_region((i - 1) * extent, extent, 64 * KiB));
    EXPECT_EQ(stored(superblock_a_offset).next_region, i + 1);
    EXPECT_EQ(stored(superblock_b_offset).next_region, i + 1);
  }
}

TEST_F(pool_regions, IdsEndWithATypedErrorAndNeverWrap) {
  must_open().reset();
  edit_superblock([](superblock& sb) { sb.next_region = bounds::region_id_max; });
  auto p = must_open();
  auto last = p->add_region(0, extent, 64 * KiB);
  ASSERT_TRUE(last);
  EXPECT_EQ(value_of(last->id), bounds::region_id_max);
  EXPECT_EQ(p->add_region(extent, extent, 64 * KiB).code(), ec::no_space);
  p.reset();
  p = must_open();
  EXPECT_EQ(p->regions().size(), 1u);
  EXPECT_EQ(p->add_region(extent, extent, 64 * KiB).code(), ec::no_space);
}

TEST_F(pool_regions, ADamagedByteDropsThatRowAloneAndOnce) {
  auto p = must_open();
  for (std::uint64_t i = 0; i < 3; ++i)
    ASSERT_TRUE(p->add_region(i * extent, extent, 64 * KiB));
  p.reset();
  auto second_row = region_table_offset + region_row_bytes;
  auto good = bytes_of(meta(), second_row, region_row_bytes);
  for (std::size_t i = 0; i < region_row_bytes; ++i) {
    auto bad = good;
    bad[i] ^= std::byte{1} << (i % 8);
    overwrite(meta(), second_row, bad);
    p = must_open();
    ASSERT_EQ(p->damaged_rows(), 1u) << "byte " << i;
    ASSERT_EQ(p->regions().size(), 2u);
    ASSERT_EQ(p->find_region(region_id{2}), nullptr);
    p.reset();
  }
  p = must_open();
  EXPECT_EQ(p->damaged_rows(), 0u) << "what was dropped is cleared";
  EXPECT_EQ(value_of(p->add_region(extent, extent, 64 * KiB)->id), 4u);
}

TEST_F(pool_regions, WholeRowsThatDoNotFitThePoolAreDropped) {
  auto p = must_open();
  ASSERT_TRUE(p->add_region(0, extent, 64 * KiB));
  ASSERT_TRUE(p->add_region(2 * extent, extent, 64 * KiB));
  ASSERT_TRUE(p->add_region(4 * extent, extent, 64 * KiB));
  ASSERT_TRUE(p->remove_region(region_id{3}));
  p.reset();
  auto good = region_row{region_id{3}, 0, extent, extent, 64 * KiB};
  auto with = [&](auto change) {
    auto row = good;
    change(row);
    overwrite(meta(), region_table_offset + 7 * region_row_bytes, encode(row));
    auto opened = must_open();
    return opened->damaged_rows() == 1 && opened->regions().size() == 2;
  };
  EXPECT_TRUE(with([](auto& r) { r.id = region_id{4}; })) << "an id that was never given";
  EXPECT_TRUE(with([](auto& r) { r.id = region_id{2}; })) << "an id twice";
  EXPECT_TRUE(with([](auto& r) { r.offset = 0; })) << "over another";
  EXPECT_TRUE(with([](auto& r) { r.offset = 32 * MiB; })) << "past the end";
  EXPECT_TRUE(with([](auto& r) { r.offset = ~0ull - extent + 1; })) << "wraps round";
  EXPECT_TRUE(with([](auto& r) { r.device = 1; })) << "of another device";
  EXPECT_TRUE(with([](auto& r) { r.page_bytes = 4 * KiB; })) << "page below the slot size";
  EXPECT_FALSE(with([](auto&) {})) << "and without a fault it is not";
}

TEST_F(pool_regions, GarbageInTheTableIsCountedAndTheRestServed) {
  auto p = must_open();
  ASSERT_TRUE(p->add_region(0, extent, 64 * KiB));
  p.reset();
  overwrite(meta(), region_table_offset + region_row_bytes,
            std::vector<std::byte>((region_rows_max - 1) * region_row_bytes, std::byte{0x5a}));
  p = must_open();
  EXPECT_EQ(p->damaged_rows(), region_rows_max - 1);
  EXPECT_EQ(p->regions().size(), 1u);
  EXPECT_TRUE(p->add_region(extent, extent, 64 * KiB));
}

TEST_F(pool_regions, RandomChangesAndRestartsAgreeWithAPlainMap) {
  std::mt19937_64 random{maru::test::test_seed()};
  std::map<std::uint32_t, region_row> model;
  std::uint32_t last_id = 0;
  auto p = must_open();
  for (int step = 0; step < 5000; ++step) {
    auto dice = random() % 100;
    if (dice < 2) {
      p.reset();
      p = must_open();
      ASSERT_TRUE(p);
      ASSERT_EQ(p->damaged_rows(), 0u);
    } else if (dice < 50 && !model.empty()) {
      auto victim = std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
      ASSERT_TRUE(p->remove_region(region_id{victim->first}));
      model.erase(victim);
    } else {
      auto first = random() % 16, count = 1 + random() % 3;
      bool possible = first + count <= 16;
      for (const auto& [id, row] : model)
        possible = possible && (first >= (row.offset + row.length) / extent || row.offset / extent >= first + count);
      auto row = p->add_region(first * extent, count * extent, 64 * KiB * (1 + random() % 8));
      ASSERT_EQ(static_cast<bool>(row), possible);
      if (row) {
        ASSERT_EQ(value_of(row->id), ++last_id);
        model.emplace(last_id, *row);
      }
    }
    ASSERT_EQ(p->regions().size(), model.size());
    for (const auto& row : p->regions())
      ASSERT_EQ(model.at(value_of(row.id)), row);
  }
}

}  // namespace
}  // namespace maru::cxl
