// Goal: a page whose memory failed leaves for good, whoever has it, as soon as nobody does; a worker's word alone moves nothing.
// Method: the actors on the deterministic scheduler; memory fails as the pool's file is cut.
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <filesystem>

#include "actors/page_memory.hpp"
#include "tests/actors/house.hpp"
#include "tests/support/must.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using bounds::MiB;
using test::house;
using test::worker;
using codes = std::vector<ec>;

class failing_memory : public ::testing::Test {
protected:
  std::uint64_t offset_of(page_ref page) const {
    auto* row = in.table->find(page.region);
    return row->offset + value_of(page.page) * row->page_bytes;
  }
  // The file ends in front of this page.
  void cut(page_ref page) { std::filesystem::resize_file(in.pool.env->options.pool, offset_of(page)); }
  // As a worker reports that memory failed under it.
  codes report(worker& from, page_ref page) {
    page_grant any{page, 0};
    return worker::codes(
      from.ask_of<net::codes_reply>(from.session, net::report_request{net::encode_grants({&any, 1})}));
  }
  void expect_retired(page_ref page) {
    in.run();
    EXPECT_EQ(in.state_of(page), page_state::retired);
    EXPECT_EQ(in.pool.descriptor(page)->state, page_state::retired);
    in.expect_sound();
  }
  // The pages that can still be granted.
  std::size_t usable() {
    worker greedy{in};
    std::size_t n = 0;
    for (; n < 20; ++n) {
      auto reply = greedy.begin_grant(1);
      in.run();
      if (!reply->has_value())
        in.advance(1200ms);
      if (!reply->has_value() || (*reply)->code != 0)
        break;
    }
    return n;
  }

  house in;
  worker anna{in};
};

TEST_F(failing_memory, AnEntryGoesWithItsPage) {
  auto pages = anna.put({"a", "b"});
  cut(pages[1].page);
  EXPECT_EQ(report(anna, pages[1].page), codes{ec::ok});
  EXPECT_TRUE(in.visible("a"));
  EXPECT_FALSE(in.visible("b"));
  EXPECT_FALSE(in.pool.has_record("b"));
  expect_retired(pages[1].page);
  EXPECT_EQ(report(anna, pages[1].page), codes{ec::ok}) << "known";
  EXPECT_EQ(in.table->counts().retired, 1u);
  EXPECT_EQ(anna.commit({{"b", anna.grant()[0]}}), codes{ec::ok}) << "the key can be put again";
}

TEST_F(failing_memory, AWorkersWordMovesNothing) {
  auto pages = anna.put({"a"});
  auto granted = anna.grant()[0];
  EXPECT_EQ(report(anna, pages[0].page), codes{ec::exists});
  EXPECT_EQ(report(anna, granted.page), codes{ec::exists});
  EXPECT_EQ(report(anna, {region_id{77}, page_index{0}}), codes{ec::missing});
  EXPECT_EQ(anna.commit({{"b", granted}}), codes{ec::ok});
  EXPECT_EQ(in.table->counts().retired, 0u);
  in.expect_sound();
}

TEST_F(failing_memory, AWritersPageIsItsOwnNoLonger) {
  auto page = anna.grant()[0];
  cut(page.page);
  EXPECT_EQ(report(anna, page.page), codes{ec::ok});
  expect_retired(page.page);
  EXPECT_EQ(anna.commit({{"a", page}}), codes{ec::gone});
}

TEST_F(failing_memory, APageOfAnotherSessionIsRetiredAsItComesBack) {
  auto page = anna.grant()[0];
  worker ben{in};
  cut(page.page);
  EXPECT_EQ(report(ben, page.page), codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::granted) << "anna may be writing it";
  EXPECT_EQ(anna.close(), ec::ok);
  expect_retired(page.page);
}

TEST_F(failing_memory, APageInQuarantineIsRetiredWhenItsWriterIsProvenDead) {
  auto page = anna.grant()[0];
  worker ben{in};
  cut(page.page);
  EXPECT_EQ(report(ben, page.page), codes{ec::ok});
  anna.disconnect();
  in.advance(std::chrono::milliseconds{in.pool.env->options.lease_ms} + 1s);
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
  anna.die();
  in.advance(1s);
  expect_retired(page.page);
}

TEST_F(failing_memory, AFreePageIsNotLookedAtAndRetiredByWhoeverIsGrantedItNext) {
  auto page = anna.grant()[0];
  EXPECT_EQ(worker::codes(anna.ask_of<net::codes_reply>(anna.session,
                                                        net::give_back_request{net::encode_grants(std::vector{page})})),
            codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  cut(page.page);
  EXPECT_EQ(report(anna, page.page), codes{ec::missing}) << "a page may have no storage yet";
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  EXPECT_EQ(anna.grant()[0].page, page.page);
  EXPECT_EQ(report(anna, page.page), codes{ec::ok});
  expect_retired(page.page);
  std::filesystem::resize_file(in.pool.env->options.pool, 8 * MiB);
  EXPECT_EQ(usable(), 7u);
}

TEST_F(failing_memory, APinnedEntryIsAMissAtOnceAndItsPageGoesWithTheLastPin) {
  auto page = anna.put({"a"})[0];
  anna.pin({"a"});
  cut(page.page);
  EXPECT_EQ(report(anna, page.page), codes{ec::ok});
  EXPECT_FALSE(in.visible("a"));
  EXPECT_EQ(in.state_of(page.page), page_state::committed);
  EXPECT_EQ(anna.unpin({"a"}), codes{ec::ok});
  expect_retired(page.page);
}

TEST_F(failing_memory, APageThatAViewKeepsIsRetiredAfterIt) {
  auto page = anna.put({"a"})[0];
  auto views = anna.view({"a"});
  EXPECT_EQ(anna.remove({"a"}), codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  cut(page.page);
  EXPECT_EQ(report(anna, page.page), codes{ec::ok});
  EXPECT_EQ(in.state_of(page.page), page_state::evicting);
  anna.end_views(views);
  expect_retired(page.page);
}

TEST_F(failing_memory, ARetiredPageStaysSoOverARestart) {
  auto pages = anna.put({"a", "b"});
  cut(pages[1].page);
  EXPECT_EQ(report(anna, pages[1].page), codes{ec::ok});
  anna.die();
  in.run();
  std::filesystem::resize_file(in.pool.env->options.pool, 8 * MiB);
  in.restart();
  expect_retired(pages[1].page);
  EXPECT_TRUE(in.visible("a"));
  EXPECT_EQ(usable(), 7u) << "a goes, the retired one does not come back";
}

TEST_F(failing_memory, AStepIsOpenedWithoutThePagesThatFailedInIt) {
  auto behave = [](std::uint64_t at) -> region_preparer_actor::behavior_type {
    return {[at](const prepare_pages& m) {
              return prepared{ec::ok, {{m.offset + at, 4096}}};
            },
            [](const prepare_device&) { return prepared_device{}; }, [](const save_devices&) { return outcome{}; }};
  };
  auto fake = in.system->spawn(behave, MiB + 4096);  // in the second page of each
  auto table = std::make_shared<page_table>(8 * MiB, 2 * MiB);
  environment_ptr env = in.pool.env;
  auto manager =
    in.system->spawn<pool_manager>(env, table, shown_regions{}, in.shards, fake, false, std::vector<page_ref>{});
  auto granted = in.ask<granted_pages>(manager, grant_pages{session_id{1}, MiB, 2});
  EXPECT_EQ(granted.code, ec::ok);
  for (const auto& g : granted.grants)
    EXPECT_EQ(g.page.page, page_index{0});
  EXPECT_GE(table->counts().retired, 1u);
  EXPECT_EQ(in.pool.descriptor({granted.grants.at(0).page.region, page_index{1}})->state, page_state::retired);
  caf::anon_send_exit(manager, caf::exit_reason::kill);
  caf::anon_send_exit(fake, caf::exit_reason::kill);
}

// A device that does not look at its file's size: its mappings are as those of memory that fails later.
class blind_device final : public cxl::device {
public:
  explicit blind_device(const std::string& path) : path_(path) {
    inner_ = maru::test::must(cxl::open_device({path, 8 * 4096, true}));
  }
  std::string kind() const override { return "blind"; }
  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return inner_->size(); }
  std::uint64_t align() const override { return inner_->align(); }
  bool survives_reboot() const override { return false; }
  bool holds_metadata() const override { return false; }
  status reserve(std::uint64_t, std::uint64_t) override { return {}; }
  status release(std::uint64_t, std::uint64_t) override { return {}; }
  status sync() override { return {}; }
  result<cxl::mapping> map(std::uint64_t offset, std::uint64_t size, cxl::access mode) const override {
    auto made = inner_->map(offset, size, mode);
    std::filesystem::resize_file(path_, 5 * 4096);
    return made;
  }

private:
  std::string path_;
  std::unique_ptr<cxl::device> inner_;
};

TEST(PageMemory, WhatFailsAsItIsMadePresentIsToldUnitByUnit) {
  maru::test::temp_folder folder;
  blind_device device{folder / "device"};
  auto failed = make_present(device, 2 * 4096, 6 * 4096);
  ASSERT_TRUE(failed) << to_string(failed.error());
  EXPECT_EQ(*failed, (std::vector<cxl::failed_piece>{{5 * 4096, 4096}, {6 * 4096, 4096}, {7 * 4096, 4096}}));
}

}  // namespace
}  // namespace maru::actors
