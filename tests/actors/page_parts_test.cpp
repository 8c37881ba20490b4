// Goal: a region is opened no further than it is needed, what is one session's is kept from others, and every page counts for
// whoever has it. Method: as page_table_test; page_table_model_test adds random operations.
#include "tests/actors/page_table_fixture.hpp"

namespace maru::actors {
namespace {

using namespace test;
using bounds::MiB;

using pages = std::vector<page_ref>;
constexpr auto ann = session_id{7}, ben = session_id{8};

TEST(PageTableSteps, RegionIsOpenedAnExtentAtATimeAndNoFurther) {
  page_table t{16 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 4 * MiB, 5 * MiB, half)));
  auto step = t.next_step(region_id{1}, page_part::all);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->offset, 4 * MiB);
  EXPECT_EQ(step->length, 2 * MiB);
  EXPECT_TRUE(t.grant(half, 9).empty()) << "its storage is not there";
  t.begin_step(*step);
  EXPECT_FALSE(t.next_step(region_id{1}, page_part::all)) << "one at a time";
  t.end_step(*step, true);
  EXPECT_EQ(t.grant(half, 9), (pages{page_at(1, 0), page_at(1, 1)}));
  open_all(t, 1);
  EXPECT_EQ(t.grant(half, 9), (pages{page_at(1, 4), page_at(1, 2), page_at(1, 3)})) << "the last step is short";
}

TEST(PageTableSteps, StepOfALargeExtentIsBounded) {
  page_table t{1024 * MiB, 512 * MiB};
  ASSERT_TRUE(t.add_region(row_of(1, 0, 512 * MiB, half)));
  EXPECT_EQ(t.next_step(region_id{1}, page_part::all)->length, bounds::open_step_max);
}

TEST(PageTableSteps, PageLargerThanAStepIsOpenedAlone) {
  page_table t{16 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, 12 * MiB, 5 * MiB)));
  auto step = t.next_step(region_id{1}, page_part::all);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->count, 1u);
  EXPECT_EQ(step->length, 5 * MiB);
}

TEST(PageTableSteps, StepThatFailedStaysClosedAndIsNextAgain) {
  page_table t{4 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, extent, half)));
  auto step = t.next_step(region_id{1}, page_part::all);
  t.begin_step(*step);
  EXPECT_EQ(t.remove_region(region_id{1}).code(), ec::invalid) << "a step is under way";
  t.end_step(*step, false);
  EXPECT_TRUE(t.grant(half, 1).empty());
  EXPECT_EQ(t.next_step(region_id{1}, page_part::all)->first, step->first);
  EXPECT_TRUE(t.remove_region(region_id{1}));
}

TEST(PageTableParts, AssignedPagesAreKeptApartAndNeverBeyondTheirNumber) {
  page_table t{16 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, 6 * MiB, half)));
  t.assign(region_id{1}, 3);
  open_all(t, 1);
  EXPECT_EQ(t.free_pages(half, page_part::assigned), 3u);
  EXPECT_EQ(t.free_pages(half, page_part::nobodys), 3u);
  EXPECT_EQ(t.grant_from(region_id{1}, 9, ann, page_part::assigned).size(), 3u);
  for (auto page : t.grant(half, 9, ben))
    EXPECT_GE(value_of(page.page), 3u);
  EXPECT_TRUE(t.grant(half, 1, ben, page_part::all).empty());
}

TEST(PageTableParts, StepsStopAtTheBorderOfAPart) {
  page_table t{16 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, 6 * MiB, half)));
  t.assign(region_id{1}, 3);
  auto own = t.next_step(region_id{1}, page_part::assigned);
  t.begin_step(*own);
  t.end_step(*own, true);
  own = t.next_step(region_id{1}, page_part::assigned);
  EXPECT_EQ(own->first, 2u);
  EXPECT_EQ(own->count, 1u);
  auto others = t.next_step_of(half, page_part::nobodys);
  ASSERT_TRUE(others) << "what is nobody's is opened on its own";
  EXPECT_EQ(others->first, 3u);
  EXPECT_EQ(others->count, 2u);
}

TEST(PageTableParts, ReleasedPagesAreNobodys) {
  page_table t{16 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, extent, half)));
  t.assign(region_id{1}, 2);
  open_all(t, 1);
  EXPECT_TRUE(t.grant(half, 1, ben).empty());
  EXPECT_TRUE(t.assigned(region_id{1}));
  t.release(region_id{1});
  EXPECT_FALSE(t.assigned(region_id{1}));
  EXPECT_EQ(t.grant(half, 9, ben).size(), 2u);
}

TEST(PageTableParts, RecoveryOpensTheStepsThatHaveAPageInUse) {
  page_table t{16 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, 14 * MiB, half)));
  t.assign(region_id{1}, 6);
  t.restore(page_at(1, 2), page_state::committed);
  t.open_used(region_id{1});
  EXPECT_EQ(t.free_pages(half, page_part::assigned), 3u) << "pages 0, 1 and 3; 4 and 5 may have no storage";
  EXPECT_EQ(t.free_pages(half, page_part::nobodys), 0u);
  EXPECT_EQ(t.next_step(region_id{1}, page_part::assigned)->first, 4u);
  EXPECT_EQ(t.next_step(region_id{1}, page_part::nobodys)->first, 6u);
}

TEST(PageTableParts, RecoveryTakesStorageForFreePagesBelowOnesInUse) {
  page_table t{16 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 2 * MiB, 14 * MiB, half)));
  t.restore(page_at(1, 2), page_state::committed);
  t.restore(page_at(1, 7), page_state::committed);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> asked;
  t.open_used(region_id{1}, [&](std::uint64_t offset, std::uint64_t length) {
    asked.emplace_back(offset, length);
    return asked.size() == 1;
  });
  EXPECT_EQ(asked, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{2 * MiB, 2 * MiB}, {5 * MiB, 4 * MiB}}));
  EXPECT_EQ(t.grant(half, 9, ann), (pages{page_at(1, 0), page_at(1, 1)})) << "the others may have no storage";
  EXPECT_EQ(t.next_step(region_id{1}, page_part::nobodys)->first, 3u);
}

TEST(PageUses, PageCountsForWhoWasGrantedItUntilItIsOnItsWayOut) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  auto use = [&](session_id who) { return t.uses().of(who, region_id{1}); };
  auto page = t.grant(half, 1, ann).at(0);
  EXPECT_EQ(use(ann), (page_use{1, 0}));
  ASSERT_EQ(t.move(page, page_state::granted, page_state::committed), ec::ok);
  EXPECT_EQ(use(ann), (page_use{0, 1}));
  ASSERT_EQ(t.move(page, page_state::committed, page_state::evicting), ec::ok);
  EXPECT_EQ(use(ann), page_use{}) << "whoever removes it";
  ASSERT_EQ(t.move(page, page_state::evicting, page_state::committed), ec::ok);
  EXPECT_EQ(use(ann), (page_use{0, 1})) << "the removal failed";
  ASSERT_EQ(t.move(page, page_state::committed, page_state::evicting), ec::ok);
  ASSERT_EQ(t.move(page, page_state::evicting, page_state::free), ec::ok);
  EXPECT_TRUE(t.uses().of(ann).empty());
  ASSERT_EQ(t.grant(half, 1, ben).at(0), page);
  EXPECT_EQ(use(ben), (page_use{1, 0}));
  EXPECT_EQ(use(ann), page_use{});
  EXPECT_EQ(t.uses().users_of(region_id{1}), (page_uses::by_session{{ben, {1, 0}}}));
  EXPECT_TRUE(t.uses().users_of(region_id{2}).empty());
}

TEST(PageUses, OwnersOfARegionThatIsGoneAreForgotten) {
  page_table t{4 * MiB, extent};
  add_open(t, 1, 0);
  auto page = t.grant(half, 1, ann).at(0);
  ASSERT_EQ(t.move(page, page_state::granted, page_state::free), ec::ok);
  ASSERT_TRUE(t.remove_region(region_id{1}));
  EXPECT_EQ(t.uses().owner_of(page), session_id::none);
}

TEST(PageUses, RestoredPagesHaveTheirOwners) {
  page_table t{4 * MiB, extent};
  ASSERT_TRUE(t.add_region(row_of(1, 0, extent, half)));
  t.restore(page_at(1, 0), page_state::committed);
  t.restore_owner(page_at(1, 0), ann);
  t.restore(page_at(1, 1), page_state::granted);
  t.restore_owner(page_at(1, 1), ben);
  EXPECT_EQ(t.uses().of(ann, region_id{1}), (page_use{0, 1}));
  EXPECT_EQ(t.uses().of(ben, region_id{1}), (page_use{1, 0}));
}

}  // namespace
}  // namespace maru::actors
