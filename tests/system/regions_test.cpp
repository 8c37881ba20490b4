// Goal: a worker's shown regions end to end: where its pages come from, what it is told of them, what they cost, and that
// they outlive marud. Method: as sharing_test.cpp.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/system/process.hpp"

namespace maru::test {
namespace {

using bounds::MiB;

std::uint64_t bytes_on_disk(const marud& m) {
  struct stat s = {};
  return ::stat(m.pool().c_str(), &s) == 0 ? static_cast<std::uint64_t>(s.st_blocks) * 512 : 0;
}

const region_use& use_of(const pool_usage& usage, region_id id) {
  for (const auto& use : usage.regions)
    if (use.region == id)
      return use;
  static const region_use none;
  return none;
}

TEST(Regions, ReaderWithARegionTakesNoStorage) {
  marud m{{"--pool-size=1GiB", "--page-min=64KiB"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  auto region = c->show_region(10'000);
  ASSERT_TRUE(region) << to_string(region.error());
  EXPECT_LT(bytes_on_disk(m), 1 * MiB);
  ASSERT_TRUE(put(*c, "key"));
  EXPECT_LT(bytes_on_disk(m), 64 * MiB) << "a step of a region of 625 MiB, and what was begun ahead";
  EXPECT_EQ(m.audit(), "");
}

TEST(Regions, PagesAreTheRegionsAndCountedExactly) {
  marud m;
  auto a = m.open(), b = m.open();
  ASSERT_TRUE(a && b);
  auto region = a->show_region(40);
  ASSERT_TRUE(region);
  for (int i = 0; i < 30; ++i)
    ASSERT_TRUE(put(*a, "k" + std::to_string(i)));
  auto page = a->alloc(100);
  ASSERT_TRUE(page);
  auto usage = a->usage();
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->regions.size(), 1u);
  EXPECT_EQ(use_of(*usage, region->id).committed, 30u);
  EXPECT_EQ(use_of(*usage, region->id).allocated, 1u);
  EXPECT_EQ(usage->entries, 30u);
  EXPECT_EQ(usage->entry_bytes, 30u * 4096);
  EXPECT_EQ(usage->sessions, 2u);
  EXPECT_EQ(usage->pool_free_bytes, usage->pool_bytes - 31 * region->page_bytes);
  for (int i = 0; i < 30; ++i) {  // by somebody else
    std::vector<std::string> key{"k" + std::to_string(i)};
    std::vector<std::string_view> keys{key[0]};
    ASSERT_EQ(b->remove(keys)->front(), ec::ok);
    ASSERT_EQ(use_of(*a->usage(false), region->id).committed, 29u - static_cast<unsigned>(i));
  }
  EXPECT_EQ(m.audit(), "");
}

TEST(Regions, AnotherRegionIsUsedWhenTheFirstIsFullAndNeverBefore) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c);
  auto first = c->show_region(10);
  ASSERT_TRUE(first);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(put(*c, "k" + std::to_string(i)));
    ASSERT_EQ(c->usage(false)->regions.size(), 1u) << "nothing is fetched ahead from elsewhere";
  }
  EXPECT_EQ(use_of(*c->usage(), first->id).committed, 10u);
  auto second = c->show_region(10);
  ASSERT_TRUE(second);
  ASSERT_TRUE(put(*c, "one more"));
  EXPECT_EQ(use_of(*c->usage(), second->id).committed, 1u);
}

TEST(Regions, MoreThanThePoolIsShownAndAllOfItCanBeWritten) {
  marud m{{"--pool-size=64MiB", "--page-min=64KiB"}};
  std::vector<std::shared_ptr<client>> all;
  bool shared = false;
  for (int i = 0; i < 4; ++i) {
    all.push_back(m.open());
    auto region = all.back()->show_region(400);  // 25 MiB each
    ASSERT_TRUE(region) << to_string(region.error());
    shared |= region->shared;
  }
  EXPECT_TRUE(shared);
  for (int i = 0; i < 1200; ++i)
    ASSERT_TRUE(put(*all[static_cast<std::size_t>(i) % all.size()], "k" + std::to_string(i)))
      << "where nothing is free something is evicted";
  EXPECT_EQ(m.audit(), "");
}

TEST(Regions, TheyOutliveMarud) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c);
  auto region = c->show_region(50);
  ASSERT_TRUE(region);
  ASSERT_TRUE(put(*c, "before"));
  m.kill_hard();
  ASSERT_TRUE(m.start()) << m.log();
  ASSERT_TRUE(put(*c, "after"));
  auto usage = c->usage();
  ASSERT_TRUE(usage);
  EXPECT_EQ(use_of(*usage, region->id).committed, 2u);
  EXPECT_EQ(use_of(*usage, region->id).pages, 50u);
  EXPECT_EQ(read_back(*c, "before"), "ok");
  EXPECT_EQ(m.audit(), "");
}

TEST(Regions, TheyEndWithTheirWorker) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c);
  auto region = c->show_region(1000);
  ASSERT_TRUE(region);
  { ASSERT_TRUE(c->alloc(1)); }
  EXPECT_EQ(m.ask("sessions")["sessions"][0]["shown_pages"], 1000);
  c->close();
  EXPECT_TRUE(eventually([&] {
    auto pool = m.ask("status")["pool"];
    return pool["unassigned_bytes"] == pool["bytes"];
  }));
}

}  // namespace
}  // namespace maru::test
