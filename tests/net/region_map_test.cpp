// Goal: a location from a stranger never becomes a span outside of its page.
// Method: a real file as the device; rows and locations at and past each bound.
#include "net/region_map.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "cxl/fault_guard.hpp"
#include "net/failure_reports.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::net {
namespace {

constexpr std::uint64_t mega = 1 << 20, page_size = 4096;

class region_map_test : public ::testing::Test {
protected:
  region_map_test() {
    int fd = ::open((folder / "data").c_str(), O_RDWR | O_CREAT, 0600);
    EXPECT_EQ(::posix_fallocate(fd, 0, 4 * mega), 0);
    ::close(fd);
    cxl::device_options options;
    options.path = folder / "data";
    auto opened = cxl::open_device(options);
    EXPECT_TRUE(opened);
    map.emplace(std::shared_ptr<const cxl::device>{*std::move(opened)});
  }
  static page_ref page(std::uint32_t region, std::uint32_t index) {
    return {static_cast<region_id>(region), static_cast<page_index>(index)};
  }
  test::temp_folder folder;
  std::optional<region_map> map;
};

using RegionMap = region_map_test;

TEST_F(RegionMap, PagesAreWhereTheRowSays) {
  ASSERT_TRUE(map->add({7, 0, mega, mega, page_size}));
  auto bytes = map->bytes(page(7, 3), 5);
  ASSERT_TRUE(bytes);
  ASSERT_EQ(bytes->size(), 5u);
  std::memcpy(bytes->data(), "hello", 5);
  char seen[6] = {};
  int fd = ::open((folder / "data").c_str(), O_RDONLY);
  ASSERT_EQ(::pread(fd, seen, 5, mega + 3 * page_size), 5);
  ::close(fd);
  EXPECT_STREQ(seen, "hello");
}

TEST_F(RegionMap, AnUnknownRegionIsMissing) {
  EXPECT_FALSE(map->knows(region_id{7}));
  EXPECT_EQ(map->bytes(page(7, 0), 1).code(), ec::missing);
}

TEST_F(RegionMap, PagesPastTheRegionAreMissing) {
  ASSERT_TRUE(map->add({7, 0, 0, mega, page_size}));
  EXPECT_TRUE(map->bytes(page(7, 255), page_size));
  EXPECT_EQ(map->bytes(page(7, 256), 1).code(), ec::missing);
  EXPECT_EQ(map->bytes(page(7, 0xffffffff), 1).code(), ec::missing);
}

TEST_F(RegionMap, LengthsOverThePageAreRefused) {
  ASSERT_TRUE(map->add({7, 0, 0, mega, page_size}));
  EXPECT_EQ(map->bytes(page(7, 0), page_size + 1).code(), ec::too_large);
  EXPECT_EQ(map->bytes(page(7, 0), ~0u).code(), ec::too_large);
  EXPECT_EQ(map->bytes(page(7, 0), 0)->size(), 0u);
}

TEST_F(RegionMap, ALastPageThatDoesNotFitIsNone) {
  ASSERT_TRUE(map->add({7, 0, 0, mega, 3 * page_size}));
  EXPECT_TRUE(map->bytes(page(7, 84), 1));
  EXPECT_EQ(map->bytes(page(7, 85), 1).code(), ec::missing);
}

TEST_F(RegionMap, ShapeIsThatOfTheRow) {
  EXPECT_FALSE(map->find(region_id{7}));
  ASSERT_TRUE(map->add({7, 0, 0, mega, 3 * page_size}));
  EXPECT_EQ(map->find(region_id{7})->pages, 85u) << "what is left over is no page";
  EXPECT_EQ(map->find(region_id{7})->page_bytes, 3 * page_size);
}

TEST_F(RegionMap, RangesAreOfWholePagesOfTheRegion) {
  ASSERT_TRUE(map->add({7, 0, mega, mega, page_size}));
  auto some = map->range(region_id{7}, 2, 3);
  ASSERT_TRUE(some);
  EXPECT_EQ(some->data(), map->bytes(page(7, 2), 1)->data());
  EXPECT_EQ(some->size(), 3 * page_size);
  EXPECT_EQ(map->range(region_id{7}, 0, 256)->size(), mega);
  EXPECT_EQ(map->range(region_id{7}, 256, 0)->size(), 0u);
  EXPECT_EQ(map->range(region_id{7}, 255, 2).code(), ec::missing);
  EXPECT_EQ(map->range(region_id{7}, ~0ull, 2).code(), ec::missing);
  EXPECT_EQ(map->range(region_id{7}, 1, ~0ull).code(), ec::missing);
  EXPECT_EQ(map->range(region_id{8}, 0, 1).code(), ec::missing);
}

TEST_F(RegionMap, RowsThatDoNotFitTheDeviceAreRefused) {
  const region_row bad[] = {
    {0, 0, 0, mega, page_size},                // no id
    {0x80000000, 0, 0, mega, page_size},       // id out of range
    {7, 1, 0, mega, page_size},                // no such device
    {7, 0, 4 * mega, mega, page_size},         // behind the end
    {7, 0, 3 * mega + 4096, mega, page_size},  // over the end
    {7, 0, ~0ull - 4095, mega, page_size},     // offset + length overflows
    {7, 0, 0, ~0ull, page_size},               // length overflows
    {7, 0, 0, mega, 0},                        // no page size
    {7, 0, 0, mega, 2048},                     // page size under the bound
    {7, 0, 0, mega, 2 * mega},                 // no page at all
  };
  for (auto& row : bad)
    EXPECT_EQ(map->add(row).code(), ec::corrupt) << row.id << " " << row.offset << " " << row.length;
  EXPECT_FALSE(map->knows(region_id{7}));
}

TEST_F(RegionMap, AddingARowAgainKeepsTheMapping) {
  ASSERT_TRUE(map->add({7, 0, 0, mega, page_size}));
  auto before = map->bytes(page(7, 0), 1)->data();
  ASSERT_TRUE(map->add({7, 0, 0, mega, page_size}));
  EXPECT_EQ(map->bytes(page(7, 0), 1)->data(), before);
}

TEST_F(RegionMap, TellsThePagesOfWhichMemoryFailed) {
  ASSERT_TRUE(map->add({7, 0, mega, mega, 2 * page_size}));
  ASSERT_TRUE(map->add({8, 0, 3 * mega, mega, page_size}));
  ASSERT_EQ(::truncate((folder / "data").c_str(), 4 * mega - 2 * page_size), 0);
  EXPECT_TRUE(map->failed_pages().empty()) << "nobody has touched them yet";
  auto last = map->bytes(page(8, 255), page_size);
  std::memset(last->data(), 1, 1);
  EXPECT_TRUE(cxl::faulted(*last));
  EXPECT_EQ(map->failed_pages(), std::vector{page(8, 255)});
  ASSERT_EQ(::truncate((folder / "data").c_str(), mega + 5 * page_size), 0);
  std::memset(map->bytes(page(7, 2), 2 * page_size)->data(), 1, 2 * page_size);
  std::memset(map->bytes(page(7, 3), 2 * page_size)->data(), 1, 2 * page_size);
  EXPECT_EQ(map->failed_pages(), (std::vector{page(7, 2), page(7, 3), page(8, 255)}));
}

TEST(FailureReports, EachPageIsToldOnceOverAConnection) {
  failure_reports reports;
  std::vector<page_ref> failed;
  for (std::uint32_t i = 0; i < 3; ++i)
    failed.push_back({region_id{1}, page_index{i}});
  auto told = [&](std::size_t first, std::size_t n) {
    std::vector<page_grant> out;
    for (auto i = first; i < first + n; ++i)
      out.push_back({failed[i], 0});
    return out;
  };
  EXPECT_TRUE(reports.is_due(1, 3));
  EXPECT_EQ(reports.next(failed, 3, 2), told(0, 2));
  EXPECT_FALSE(reports.is_due(1, 4)) << "one at a time";
  reports.answered(1, told(1, 1));
  EXPECT_TRUE(reports.is_due(1, 3)) << "there may be more";
  EXPECT_EQ(reports.next(failed, 3, 2), told(1, 2)) << "one was refused, one is new";
  reports.answered(1, {});
  EXPECT_TRUE(reports.is_due(1, 3));
  EXPECT_TRUE(reports.next(failed, 3, 2).empty());
  EXPECT_FALSE(reports.is_due(1, 3)) << "all are told";
  EXPECT_TRUE(reports.is_due(1, 4));
  EXPECT_TRUE(reports.is_due(2, 3)) << "another connection";
  EXPECT_EQ(reports.next(failed, 3, 3), told(0, 3));
  reports.answered(1, told(0, 3));
  EXPECT_FALSE(reports.is_due(2, 3)) << "the answer of the connection before is not this one's";
}

}  // namespace
}  // namespace maru::net
