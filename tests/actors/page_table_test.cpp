// Goal: every page is in exactly one state, counts and free space always add up, and no place on the device is given
// twice. Method: each member by itself; page_table_model_test adds random operations.
#include "tests/actors/page_table_fixture.hpp"

namespace maru::actors {
namespace {

using namespace test;
using bounds::MiB;

TEST(PageTable, EmptyDeviceIsAllUnassigned) {
  page_table t{7 * MiB, extent};
  EXPECT_EQ(t.device_bytes(), 7 * MiB);
  EXPECT_EQ(t.unassigned_bytes(), 7 * MiB);
  EXPECT_EQ(t.largest_free_run(), 7 * MiB);
  EXPECT_EQ(t.capacity(half), 7u);
  EXPECT_EQ(t.counts().total(), 0u);
  EXPECT_TRUE(t.rows().empty());
  EXPECT_TRUE(t.grant(half, 1).empty());
}

TEST(PageTable, PlacesAreGivenFromTheStartAndTheLastRegionMayBeShort) {
  page_table t{5 * MiB, extent};
  for (std::uint32_t i = 0; i < 3; ++i) {
    auto place = t.find_place(half);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->offset, i * extent);
    EXPECT_EQ(place->length, i < 2 ? extent : MiB);
    ASSERT_TRUE(t.add_region(row_of(i + 1, place->offset, place->length, half)));
    open_all(t, i + 1);
  }
  EXPECT_FALSE(t.find_place(half));
  EXPECT_EQ(t.counts(half).total(), 5u);
  EXPECT_EQ(t.grant(half, 100).size(), 5u);
}

TEST(PageTable, LastExtentTooShortForOnePageIsNoPlace) {
  page_table t{5 * MiB, extent};
  add_open(t, 1, 0, extent);
  add_open(t, 2, 1, extent);
  EXPECT_FALSE(t.find_place(extent));
  EXPECT_TRUE(t.find_place(half));
  EXPECT_EQ(t.capacity(extent), 2u);
}

TEST(PageTable, PageLargerThanAnExtentTakesARunOfThem) {
  page_table t{12 * MiB, extent};
  add_open(t, 1, 1);
  auto place = t.find_place(5 * MiB);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->offset, 2 * extent);
  EXPECT_EQ(place->length, 6 * MiB);
  ASSERT_TRUE(t.add_region(row_of(2, place->offset, place->length, 5 * MiB)));
  open_all(t, 2);
  EXPECT_EQ(t.grant(5 * MiB, 9), std::vector{page_at(2, 0)});
  EXPECT_FALSE(t.find_place(5 * MiB)) << "extents 0 and 5 are free but apart";
  EXPECT_EQ(t.unassigned_bytes(), 4 * MiB);
}

TEST(PageTable, RunThatEndsInTheShortExtentMustHoldThePage) {
  page_table t{5 * MiB, extent};
  ASSERT_TRUE(t.find_place(4 * MiB));
  add_open(t, 1, 0);
  EXPECT_FALSE(t.find_place(4 * MiB)) << "3 MiB are left";
  auto place = t.find_place(3 * MiB);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->length, 3 * MiB);
}

TEST(PageTable, RegionOverAnotherOrOutsideIsRefusedAndChangesNothing) {
  page_table t{8 * MiB, extent};
  add_open(t, 1, 1);
  EXPECT_EQ(t.add_region(row_of(2, extent, extent, half)).code(), ec::invalid) << "its place is taken";
  EXPECT_EQ(t.add_region(row_of(2, 0, 2 * extent, half)).code(), ec::invalid) << "its second half is taken";
  EXPECT_EQ(t.add_region(row_of(1, 0, extent, half)).code(), ec::invalid) << "its id is taken";
  EXPECT_EQ(t.add_region(row_of(2, MiB, extent, half)).code(), ec::invalid) << "not on an extent's start";
  EXPECT_EQ(t.add_region(row_of(2, 3 * extent, 2 * extent, half)).code(), ec::invalid) << "past the end";
  EXPECT_EQ(t.add_region(row_of(2, 16 * extent, extent, half)).code(), ec::invalid) << "past the end";
  EXPECT_EQ(t.add_region(row_of(2, 0, UINT64_MAX, half)).code(), ec::invalid) << "sum overflows";
  EXPECT_EQ(t.add_region(row_of(2, 0, half, extent)).code(), ec::invalid) << "no page fits";
  EXPECT_EQ(t.add_region(row_of(2, 0, extent, 0)).code(), ec::invalid) << "pages of no size";
  EXPECT_EQ(t.unassigned_bytes(), 6 * MiB);
  EXPECT_EQ(t.rows().size(), 1u);
}

TEST(PageTable, PagesAreGrantedOnlyOnceTheRegionIsOpen) {
  page_table t{4 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, extent, half)));
  EXPECT_EQ(t.counts(half).free, 2u);
  EXPECT_EQ(t.free_pages(half), 0u);
  EXPECT_TRUE(t.grant(half, 1).empty());
  open_all(t, 1);
  open_all(t, 1);  // again: nothing is free twice
  EXPECT_EQ(t.free_pages(half), 2u);
  EXPECT_EQ(t.grant(half, 3).size(), 2u);
}

TEST(PageTable, RestoredPagesKeepTheirStateAndAreNotGranted) {
  page_table t{8 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, 4 * MiB, half)));
  t.restore(page_at(1, 0), page_state::committed);
  t.restore(page_at(1, 1), page_state::granted);
  t.restore(page_at(1, 2), page_state::quarantined);
  open_all(t, 1);
  EXPECT_EQ(t.grant(half, 9), std::vector{page_at(1, 3)});
  EXPECT_EQ(*t.state_of(page_at(1, 0)), page_state::committed);
  EXPECT_EQ(*t.state_of(page_at(1, 1)), page_state::granted);
  EXPECT_EQ(*t.state_of(page_at(1, 2)), page_state::quarantined);
}

TEST(PageTable, GrantsComeFromTheLowestRegionSoThatOthersEmptyOut) {
  page_table t{8 * MiB, extent};
  add_open(t, 1, 2);
  add_open(t, 2, 0);
  auto all = t.grant(half, 4);
  ASSERT_EQ(all.size(), 4u);
  for (auto page : all)
    ASSERT_EQ(t.move(page, page_state::granted, page_state::free), ec::ok);
  for (auto page : t.grant(half, 2))
    EXPECT_EQ(page.region, region_id{1});
}

TEST(PageTable, MoveChecksTheStateThatThePageIsIn) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  auto page = t.grant(half, 1).at(0);
  EXPECT_EQ(t.move(page, page_state::committed, page_state::evicting), ec::invalid);
  EXPECT_EQ(t.move(page, page_state::granted, page_state::granted), ec::invalid);
  EXPECT_EQ(t.move(page, page_state::granted, page_state::committed), ec::ok);
  EXPECT_EQ(t.move(page, page_state::granted, page_state::free), ec::invalid);
  EXPECT_EQ(t.move(page_at(1, 2), page_state::granted, page_state::free), ec::missing);
  EXPECT_EQ(t.move(page_at(9, 0), page_state::granted, page_state::free), ec::missing);
  EXPECT_FALSE(t.contains(page_at(1, 2)));
  EXPECT_EQ(t.state_of(page_at(1, 2)).code(), ec::missing);
  EXPECT_EQ(*t.state_of(page), page_state::committed);
}

TEST(PageTable, Invariant3_FreePageLeavesByGrantOnly) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  EXPECT_EQ(t.move(page_at(1, 0), page_state::free, page_state::granted), ec::invalid);
  EXPECT_EQ(t.grant(half, 9).size(), 2u);
}

TEST(PageTable, ARetiredPageIsGoneForGood) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  EXPECT_EQ(t.move(page_at(1, 0), page_state::free, page_state::retired), ec::ok);
  EXPECT_EQ(t.grant(half, 9), std::vector{page_at(1, 1)});
  EXPECT_EQ(t.move(page_at(1, 1), page_state::granted, page_state::retired), ec::ok);
  for (auto to : {page_state::free, page_state::granted, page_state::committed, page_state::quarantined})
    EXPECT_EQ(t.move(page_at(1, 0), page_state::retired, to), ec::invalid);
  EXPECT_EQ(t.counts().retired, 2u);
  EXPECT_EQ(t.bytes().retired, 2 * half);
  EXPECT_FALSE(t.remove_region(region_id{1}));
  EXPECT_TRUE(t.remove_region(region_id{1}, true)) << "with its device";
}

TEST(PageTable, APageThatWasRetiredBeforeItsStepIsNotOpenedWithIt) {
  page_table t{4 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, extent, half)));
  EXPECT_EQ(t.move(page_at(1, 1), page_state::free, page_state::retired), ec::ok);
  auto step = t.next_step(region_id{1}, page_part::nobodys);
  t.begin_step(*step);
  t.end_step(*step, true);
  EXPECT_EQ(t.grant(half, 9), std::vector{page_at(1, 0)});
  EXPECT_EQ(t.capacity(half), 3u) << "one here, and two of the free extent";
}

TEST(PageTable, Invariant3_PageIsNeverFreeTwice) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  auto page = t.grant(half, 1).at(0);
  EXPECT_EQ(t.move(page, page_state::granted, page_state::free), ec::ok);
  EXPECT_EQ(t.move(page, page_state::granted, page_state::free), ec::invalid);
  EXPECT_EQ(t.grant(half, 9).size(), 2u);
}

TEST(PageTable, DrainingRegionGrantsNothingUntilTheDrainIsTakenBack) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  auto page = t.grant(half, 1).at(0);
  t.set_draining(region_id{1}, true);
  EXPECT_TRUE(t.draining(region_id{1}));
  EXPECT_EQ(t.free_pages(half), 0u);
  EXPECT_TRUE(t.grant(half, 1).empty());
  EXPECT_EQ(t.move(page, page_state::granted, page_state::free), ec::ok);
  EXPECT_TRUE(t.grant(half, 1).empty());
  t.set_draining(region_id{1}, false);
  EXPECT_EQ(t.grant(half, 9).size(), 2u);
}

TEST(PageTable, OnlyAnEmptyRegionIsRemovedAndItsPlaceIsFreeAgain) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  auto page = t.grant(half, 1).at(0);
  EXPECT_EQ(t.remove_region(region_id{1}).code(), ec::invalid);
  EXPECT_EQ(t.remove_region(region_id{2}).code(), ec::invalid);
  ASSERT_EQ(t.move(page, page_state::granted, page_state::free), ec::ok);
  EXPECT_TRUE(t.remove_region(region_id{1}));
  EXPECT_EQ(t.find(region_id{1}), nullptr);
  EXPECT_EQ(t.unassigned_bytes(), 4 * MiB);
  EXPECT_TRUE(t.grant(half, 1).empty());
  EXPECT_EQ(t.find_place(4 * MiB)->offset, 0u);
}

TEST(PageTable, NumbersAreKeptPerPageSize) {
  page_table t{8 * MiB, extent};
  add_open(t, 1, 0);
  add_open(t, 2, 1, extent);
  ASSERT_EQ(t.grant(extent, 1).size(), 1u);
  EXPECT_EQ(t.page_sizes(), (std::vector<std::uint64_t>{half, extent}));
  EXPECT_EQ(t.counts(half).free, 2u);
  EXPECT_EQ(t.counts(extent).granted, 1u);
  EXPECT_EQ(t.counts().total(), 3u);
  EXPECT_EQ(t.bytes().granted, extent);
  EXPECT_EQ(t.bytes().free, extent);
  EXPECT_EQ(t.capacity(half), 6u);
  EXPECT_EQ(t.capacity(extent), 3u);
  EXPECT_EQ(t.counts_of(region_id{2}).granted, 1u);
  EXPECT_EQ(t.counts_of(region_id{7}).total(), 0u);
}

TEST(PageTable, LargestFreeRunLooksIntoRegionsToo) {
  page_table t{6 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, 6 * MiB, half)));
  open_all(t, 1);
  EXPECT_EQ(t.largest_free_run(), 6 * MiB);
  auto pages = t.grant(half, 6);
  EXPECT_EQ(t.largest_free_run(), 0u);
  for (std::uint32_t i : {0, 1, 3, 4, 5})
    ASSERT_EQ(t.move(page_at(1, i), page_state::granted, page_state::free), ec::ok);
  EXPECT_EQ(t.largest_free_run(), 3 * MiB);
}

TEST(PageTable, LargestFreeRunOfManyPagesIsFoundInParts) {
  constexpr std::uint64_t page = 4 * bounds::KiB, pages = 3 * bounds::run_scan_pages / 2;
  page_table t{2 * pages * page, pages * page};
  ASSERT_TRUE(t.add_region(row_of(1, 0, pages * page, page)));
  ASSERT_TRUE(t.add_region(row_of(2, pages * page, pages * page, page)));
  open_all(t, 1);
  open_all(t, 2);
  for (int call = 0; call < 3; ++call)  // each looks at a third of all
    EXPECT_EQ(t.largest_free_run(), call < 1 ? 0 : pages * page);
  auto taken = t.grant(page, 1);
  ASSERT_EQ(taken.size(), 1u);
  for (int call = 0; call < 3; ++call)
    t.largest_free_run();
  EXPECT_EQ(t.largest_free_run(), pages * page) << "the other region";
}

class page_table_windows : public ::testing::Test {
protected:
  // Four regions of two 1 MiB pages; `committed[i]` pages of the i-th hold entries.
  void fill(std::vector<int> committed) {
    for (std::uint32_t i = 0; i < 4; ++i) {
      add_open(t, i + 1, i);
      for (int n = 0; n < committed[i]; ++n)
        ASSERT_EQ(t.move(page_at(i + 1, t.grant(half, 1).at(0).page == page_index{0} ? 0 : 1), page_state::granted,
                         page_state::committed),
                  ec::ok);
      if (committed[i] == 2)
        continue;
      t.set_draining(region_id{i + 1}, true);  // keeps the next grants out of it
    }
    for (std::uint32_t i = 1; i <= 4; ++i)
      t.set_draining(region_id{i}, false);
  }
  page_table t{8 * MiB, extent};
};

TEST_F(page_table_windows, CheapestIsTheRegionWithFewestCommittedPages) {
  fill({2, 1, 2, 2});
  EXPECT_EQ(t.cheapest_window(extent), std::vector{region_id{2}});
}

TEST_F(page_table_windows, WindowOfSeveralExtentsTakesAllRegionsInIt) {
  fill({2, 2, 1, 1});
  EXPECT_EQ(t.cheapest_window(4 * MiB), (std::vector{region_id{3}, region_id{4}}));
}

TEST_F(page_table_windows, RegionWithGrantedQuarantinedOrEvictingPagesStays) {
  fill({1, 1, 1, 2});
  for (auto [id, state] :
       {std::pair{1u, page_state::granted}, {2u, page_state::quarantined}, {3u, page_state::evicting}}) {
    for (std::uint32_t other = 1; other <= 3; ++other)
      t.set_draining(region_id{other}, other != id);
    auto page = t.grant(half, 1).at(0);
    ASSERT_EQ(page.region, region_id{id});
    if (state == page_state::evicting) {
      ASSERT_EQ(t.move(page, page_state::granted, page_state::committed), ec::ok);
      ASSERT_EQ(t.move(page, page_state::committed, state), ec::ok);
    } else if (state != page_state::granted) {
      ASSERT_EQ(t.move(page, page_state::granted, state), ec::ok);
    }
  }
  for (std::uint32_t id = 1; id <= 4; ++id)
    t.set_draining(region_id{id}, false);
  EXPECT_EQ(t.cheapest_window(extent), std::vector{region_id{4}});
  t.set_draining(region_id{4}, true);
  EXPECT_TRUE(t.cheapest_window(extent).empty());
}

TEST_F(page_table_windows, OwnPageSizeIsNotDrained) {
  fill({0, 0, 0, 0});
  EXPECT_TRUE(t.cheapest_window(half).empty());
}

}  // namespace
}  // namespace maru::actors
