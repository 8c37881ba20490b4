// Goal: a client that was shown regions asks for pages as they allow, tells what it uses of them, and has them again after
// it lost an answer, a connection or its session. Method: as client_test.cpp.
#include "tests/net/client_fixture.hpp"

namespace maru::test {
namespace {

class ClientRegions : public client_fixture {
protected:
  // The regions that the client's session was shown, as marud has it.
  std::vector<region_share> shown(client& c) { return pool().shown(c.info().session); }
};

TEST_F(ClientRegions, ShownRegionIsTold) {
  auto c = must_open();
  auto region = c->show_region(10);
  ASSERT_TRUE(region) << to_string(region.error());
  EXPECT_EQ(region->id, region_id{1});
  EXPECT_EQ(region->pages, 10u);
  EXPECT_EQ(region->page_bytes, fake_pool::page_bytes);
  EXPECT_FALSE(region->shared);
  EXPECT_EQ(c->show_region(20)->id, region_id{2});
  EXPECT_EQ(shown(*c).size(), 2u);
  EXPECT_EQ(pool().granted(), 0u) << "no page is taken";
}

TEST_F(ClientRegions, RefusalsAreTold) {
  auto c = must_open();
  pool().refuse_regions = static_cast<std::uint8_t>(ec::out_of_memory);
  EXPECT_EQ(c->show_region(1).code(), ec::out_of_memory);
  c->close();
  EXPECT_EQ(c->show_region(1).code(), ec::session_over);
  EXPECT_EQ(c->usage().code(), ec::session_over);
  EXPECT_EQ(c->region(region_id{1}).code(), ec::session_over);
  EXPECT_EQ(c->region_bytes(region_id{1}, 0, 1).code(), ec::session_over);
}

TEST_F(ClientRegions, AllocTellsWhatItNeedsApartFromWhatItWouldTake) {
  auto c = must_open();
  auto pages = c->alloc_batch(3, 10);
  ASSERT_TRUE(pages);
  EXPECT_EQ(pool().last_grant().count, 3u);
  EXPECT_EQ(pool().last_grant().spare, 5u) << "a batch of 8 in all";
}

TEST_F(ClientRegions, LostAnswerIsAskedForAgainAndShowsNoSecondRegion) {
  auto o = options();
  o.timeout = 300ms;
  auto c = must_open(o);
  pool().set(op::show_region, treat::lose);
  EXPECT_EQ(c->show_region(10).code(), ec::timeout);
  pool().set(op::show_region, treat::answer);
  EXPECT_EQ(c->show_region(10)->id, region_id{1});
  EXPECT_EQ(shown(*c).size(), 1u);
  EXPECT_EQ(c->show_region(10)->id, region_id{2});
}

TEST_F(ClientRegions, ResumedSessionHasThemStill) {
  auto c = must_open();
  ASSERT_TRUE(c->show_region(10));
  marud.stop();
  marud.start();
  EXPECT_EQ(c->show_region(20)->id, region_id{2});
  EXPECT_EQ(pool().count(op::show_region), 2) << "nothing is asked for twice";
}

TEST_F(ClientRegions, NewSessionIsShownThemAgainBeforeItIsGrantedPages) {
  auto c = must_open();
  ASSERT_TRUE(c->show_region(10));
  ASSERT_TRUE(c->show_region(20));
  auto before = c->info().session;
  pool().forget_sessions = true;
  marud.stop();
  marud.start();
  ASSERT_TRUE(soon([&] { return c->info().session != before && c->info().connected; }));
  EXPECT_TRUE(shown(*c).empty()) << "not before it is needed";
  ASSERT_TRUE(c->alloc(1));
  ASSERT_EQ(shown(*c).size(), 2u);
  EXPECT_EQ(shown(*c)[0].pages, 10u);
  EXPECT_EQ(shown(*c)[1].pages, 20u);
  auto usage = c->usage();
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->regions.size(), 2u);
}

TEST_F(ClientRegions, NewSessionThatIsShownNothingGetsPagesAllTheSame) {
  auto c = must_open();
  ASSERT_TRUE(c->show_region(10));
  auto before = c->info().session;
  pool().forget_sessions = true;
  pool().refuse_regions = static_cast<std::uint8_t>(ec::out_of_memory);
  marud.stop();
  marud.start();
  ASSERT_TRUE(soon([&] { return c->info().session != before && c->info().connected; }));
  EXPECT_TRUE(c->alloc(1));
}

TEST_F(ClientRegions, UsageKnowsTheReserveFromWhatIsAllocated) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  ASSERT_TRUE(c->show_region(10));
  auto page = c->alloc(1);
  auto usage = c->usage();
  ASSERT_TRUE(usage);
  ASSERT_EQ(usage->regions.size(), 1u);
  const auto& use = usage->regions[0];
  EXPECT_EQ(use.region, region_id{1});
  EXPECT_EQ(use.pages, 10u);
  EXPECT_TRUE(use.shown);
  EXPECT_EQ(use.allocated, 1u);
  EXPECT_EQ(use.in_reserve, 7u);
  EXPECT_EQ(usage->pool_free_bytes, 7 * fake_pool::page_bytes);
  EXPECT_EQ(usage->sessions, 1u);
  page = page_buffer{};
  EXPECT_EQ(c->usage()->regions[0].allocated, 0u);
  EXPECT_EQ(c->usage()->regions[0].in_reserve, 8u);
}

TEST_F(ClientRegions, CommitInDoubtCountsAsAllocated) {
  auto o = options();
  o.timeout = 300ms;
  auto c = must_open(o);
  ASSERT_TRUE(c->show_region(10));
  auto page = c->alloc(1);
  pool().set(op::commit, treat::ignore);
  EXPECT_EQ(c->commit("key", *page).code(), ec::timeout);
  EXPECT_EQ(c->usage()->regions.at(0).allocated, 1u);
}

TEST_F(ClientRegions, ShapeAndBytesOfAnyRegionAreThere) {
  auto c = must_open();
  auto info = c->region(region_id{3});
  ASSERT_TRUE(info);
  constexpr auto pages = fake_pool::region_bytes / fake_pool::page_bytes;
  EXPECT_EQ(info->pages, pages);
  EXPECT_EQ(info->page_bytes, fake_pool::page_bytes);
  auto bytes = c->region_bytes(region_id{3}, 2, pages - 2);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->bytes.size(), fake_pool::region_bytes - 2 * fake_pool::page_bytes);
  EXPECT_EQ(c->region_bytes(region_id{3}, pages, 0)->bytes.size(), 0u);
  EXPECT_EQ(c->region_bytes(region_id{3}, 2, pages - 1).code(), ec::missing);
  EXPECT_EQ(c->region_bytes(region_id{3}, UINT64_MAX, 2).code(), ec::missing);
  EXPECT_EQ(c->region(region_id{99}).code(), ec::missing);
  EXPECT_EQ(pool().count(op::regions), 2) << "one message for the region that is there, one for the other";
}

TEST_F(ClientRegions, BytesOfAPageAreThoseThatItsWriterHas) {
  auto c = must_open();
  auto page = c->alloc(4);
  write(*page, "once");
  auto bytes = c->region_bytes(page->grant().page.region, value_of(page->grant().page.page), 1);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->bytes.data(), page->bytes().data());
}

TEST_F(ClientRegions, BytesOutliveTheClient) {
  auto c = must_open();
  ASSERT_TRUE(c->store("key", bytes_of("words")));
  auto where = c->lookup(keys{"key"})->front();
  auto bytes = c->region_bytes(where->page.region, value_of(where->page.page), 1);
  ASSERT_TRUE(bytes);
  c.reset();
  EXPECT_EQ(text_of(bytes->bytes.first(5)), "words");
}

}  // namespace
}  // namespace maru::test
