// Goal: what lies on a device is called by its right name, and a script can tell by the exit code whether marud could serve
// it. Method: pools made, damaged and served in a temporary folder; texts of contents written by hand.
#include "app/maructl/device/contents.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "app/maructl/device/advice.hpp"
#include "app/maructl/device/show.hpp"
#include "tests/cxl/pool_fixture.hpp"

namespace maru::ctl {
namespace {

using nlohmann::json;

class contents_test : public cxl::pool_fixture {
protected:
  void expect(const char* state, exit_code code) {
    auto found = contents_of(data());
    EXPECT_EQ(found.at("state"), state) << found.dump(1);
    EXPECT_EQ(exit_code_of_contents(found), code) << found.dump(1);
  }
  void overwrite_heads(std::uint64_t magic) {
    for (auto copy : {cxl::superblock_a_offset, cxl::superblock_b_offset})
      overwrite(meta(), copy, std::as_bytes(std::span{&magic, 1}));
  }
};

TEST_F(contents_test, PoolIsToldWithItsFacts) {
  auto known = make_pool();
  expect("pool", exit_code::ok);
  auto found = contents_of(data());
  EXPECT_EQ(found["pool"], to_string(known.pool));
  EXPECT_EQ(found["count"], 1);
  EXPECT_EQ(found["index"], 0);
  EXPECT_EQ(found["data_bytes"], 32 * bounds::MiB);
  EXPECT_EQ(found["slot_bytes"], 64 * bounds::KiB);
  EXPECT_EQ(found["visibility"], "hardware");
  EXPECT_EQ(found["chunks"], 1);
  EXPECT_EQ(found["rebooted"], false);
  EXPECT_EQ(found["damaged_copy"], false);
  EXPECT_EQ(found["served"], false);
  edit_superblock([](cxl::superblock& sb) { sb.boot_id = random_uuid(); });
  EXPECT_EQ(contents_of(data())["rebooted"], true);
  flip(meta(), cxl::superblock_a_offset + 40);
  EXPECT_EQ(contents_of(data())["damaged_copy"], true);
  expect("pool", exit_code::ok);
}

TEST_F(contents_test, ServedPoolIsInUse) {
  auto serving = must_open();
  expect("pool", exit_code::in_use);
  serving.reset();
  expect("pool", exit_code::ok);
}

TEST_F(contents_test, WhatMarudWouldFormatIsNotFound) {
  expect("missing", exit_code::not_found);
  std::ofstream{data()} << std::string(100000, '\0');
  expect("blank", exit_code::not_found);
  make_pool();
  overwrite_heads(cxl::formatting_magic);
  expect("unfinished", exit_code::not_found);
}

TEST_F(contents_test, WhatMarudWouldRefuseIsForeign) {
  std::ofstream{data()} << "a letter";
  expect("foreign", exit_code::foreign);
  std::filesystem::remove(data());
  make_pool();
  for (auto copy : {cxl::superblock_a_offset, cxl::superblock_b_offset})
    flip(meta(), copy + 40);
  expect("damaged", exit_code::foreign);
  std::uint16_t major = 99;
  for (auto copy : {cxl::superblock_a_offset, cxl::superblock_b_offset})
    overwrite(meta(), copy + 8, std::as_bytes(std::span{&major, 1}));
  expect("other_version", exit_code::foreign);
  EXPECT_EQ(contents_of(data())["layout"], 99);
}

TEST_F(contents_test, WhatCannotBeOpenedSaysWhy) {
  auto found = contents_of("/dev/null");
  EXPECT_EQ(found["state"], "unreadable");
  EXPECT_NE(found["why"].get<std::string>().find("/dev/null"), std::string::npos);
  EXPECT_EQ(exit_code_of_contents(found), exit_code::other);
}

json pool_on(const char* path, int index, int count) {
  return {{"path", path},
          {"kind", "devdax"},
          {"mode", "devdax"},
          {"size", 1u << 30},
          {"align", 2u << 20},
          {"node", 1},
          {"access", "rw-rw---- root:maru"},
          {"origin", "hmem"},
          {"driver", "device_dax"},
          {"ranges", {{{"start", 0x100000000}, {"end", 0x13fffffff}, {"page_offset", 0}}}},
          {"options", "--pool=/dev/dax0.0"},
          {"first", ""},
          {"contents",
           {{"state", "pool"},
            {"served", false},
            {"pool", "3f2a1b2c-0000-4000-8000-000000000000"},
            {"device", "11111111-0000-4000-8000-000000000000"},
            {"index", index},
            {"count", count},
            {"data_bytes", 1000u << 20},
            {"slot_bytes", 65536},
            {"region_bytes", 2u << 20},
            {"visibility", "hardware"},
            {"epoch", 3},
            {"rebooted", true},
            {"damaged_copy", true},
            {"data_missing", false},
            {"chunks", 1234}}}};
}

TEST(ShowDevice, TellsAllOfAPool) {
  EXPECT_EQ(show_device(pool_on("/dev/dax0.0", 0, 2)),
            "device      /dev/dax0.0, devdax, mode devdax\n"
            "memory      1 GiB, align 2 MiB, NUMA node 1\n"
            "made by     hmem, driver device_dax, 0x100000000-0x13fffffff\n"
            "access      rw-rw---- root:maru\n"
            "pool        3f2a1b2c-0000-4000-8000-000000000000, device 1 of 2, 11111111-0000-4000-8000-000000000000\n"
            "            1000 MiB for chunks, smallest page 64 KiB, regions of 2 MiB, visibility hardware\n"
            "chunks      1,234 committed\n"
            "last served epoch 3, before the host was booted: with --durability=process the chunks count as lost\n"
            "superblocks one of two is damaged; the next start writes it anew\n"
            "options     --pool=/dev/dax0.0\n");
}

TEST(ShowDevice, LossNamesWhatIsDestroyed) {
  auto row = pool_on("/dev/dax0.0", 1, 2);
  EXPECT_EQ(
    show_loss(row),
    "on /dev/dax0.0 this destroys device 2 of 2 of pool 3f2a1b2c-0000-4000-8000-000000000000, with 1,234 committed "
    "chunks\n");
  row["contents"] = {{"state", "foreign"}, {"served", false}};
  EXPECT_EQ(show_loss(row), "on /dev/dax0.0 this destroys something that is not Maru's\n");
  row["contents"] = {{"state", "blank"}, {"served", false}};
  EXPECT_EQ(show_loss(row), "/dev/dax0.0 is blank: there is nothing to destroy\n");
}

TEST(ShowDevice, ContentsInAFewWordsSayWhichDeviceOfHowManyAndServed) {
  auto contents = pool_on("/dev/dax0.0", 0, 1)["contents"];
  EXPECT_EQ(show_contents(contents), "pool 3f2a1b2c");
  contents["count"] = 2;
  contents["served"] = true;
  EXPECT_EQ(show_contents(contents), "pool 3f2a1b2c, device 1 of 2, served");
  EXPECT_EQ(show_contents({{"state", "unreadable"}, {"why", "w"}}), "unreadable");
  EXPECT_EQ(show_contents(json()), "");
}

TEST(Advice, FollowsWhatLiesOnTheDevice) {
  advice plain{"--pool=/d", {}};
  auto of = [&](json contents) { return advise(contents, "/d", plain); };
  EXPECT_EQ(of({{"state", "blank"}, {"served", false}}).options, "--pool=/d");
  EXPECT_EQ(of({{"state", "pool"}, {"served", false}, {"index", 0}}).options, "--pool=/d");
  EXPECT_EQ(of({{"state", "pool"}, {"served", false}, {"index", 1}}).options, "--devices=/d");
  EXPECT_EQ(of({{"state", "pool"}, {"served", true}, {"index", 0}}).options, "") << "it is served as it is";
  EXPECT_EQ(of({{"state", "foreign"}, {"served", false}}).options, "");
  EXPECT_EQ(of({{"state", "foreign"}, {"served", false}}).first, "maructl device format /d");
}

}  // namespace
}  // namespace maru::ctl
