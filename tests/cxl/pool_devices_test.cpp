// Goal: of a pool's further devices nothing is lost that could come back, and nothing is made where it should not be. Method:
// real files that are moved away, cut, brought back and given in other ways than they were before.
#include <fstream>

#include "tests/cxl/pool_fixture.hpp"

namespace maru::cxl {
namespace {

namespace fs = std::filesystem;
using bounds::MiB;

class pool_devices : public pool_fixture {
protected:
  std::string second() { return folder / "second"; }
  device_spec of_second(std::uint64_t size = 4 * MiB) { return {second(), size}; }

  pool_options durable() {
    auto o = options(4 * MiB);
    o.contents_survive_reboot = true;
    return o;
  }
  // A pool of two devices, and what RocksDB would know of it.
  known_pool make(const pool_options& first) {
    auto o = first;
    o.more = {of_second()};
    auto p = must_open(o);
    overwrite(second(), 0, std::vector<std::byte>(4096, std::byte{0x55}));
    return {p->super().pool, p->super().incarnation, p->known_devices()};
  }
  void move(const std::string& from, const std::string& to) {
    for (const auto* tail : {"", ".meta"})
      fs::rename(from + tail, to + tail);
  }
  std::byte first_byte() { return bytes_of(second(), 0, 1)[0]; }
};

TEST_F(pool_devices, ADurableOneThatIsNotThereStopsTheOpenAndKeepsWhatItHeld) {
  auto known = make(durable());
  move(second(), folder / "away");
  expect_refused(pool::open(durable(), known), ec::missing, {second(), "not there", "--without-devices=" + second()});
  EXPECT_FALSE(fs::exists(second())) << "no empty one is made in its place";
  move(folder / "away", second());
  auto p = must_open(durable(), known);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->members().size(), 2u);
  EXPECT_FALSE(p->members()[1]->contents_lost());
  EXPECT_EQ(first_byte(), std::byte{0x55});
}

TEST_F(pool_devices, ADurableOneWhoseDataAloneIsNotThereStopsTheOpenToo) {
  auto known = make(durable());
  fs::rename(second(), folder / "away");
  expect_refused(pool::open(durable(), known), ec::missing, {second(), "--without-devices"});
  fs::rename(folder / "away", second());
  EXPECT_FALSE(must_open(durable(), known)->members()[1]->contents_lost());
}

TEST_F(pool_devices, ADurableFirstOneThatIsNotThereStopsTheOpenUnlessItIsFormatted) {
  auto known = make(durable());
  move(data(), folder / "away");
  expect_refused(pool::open(durable(), known), ec::missing, {data(), "--format"});
  EXPECT_FALSE(fs::exists(data()));
  move(folder / "away", data());
  EXPECT_EQ(must_open(durable(), known)->how(), opened_as::opened);
  fs::remove(data());
  auto o = durable();
  o.format_foreign = true;
  EXPECT_EQ(must_open(o, known)->how(), opened_as::contents_lost);
}

TEST_F(pool_devices, OneThatWasServedWithoutStopsNoOpen) {
  auto known = make(durable());
  move(second(), folder / "away");
  auto o = durable();
  o.without = {second()};
  ASSERT_TRUE(must_open(o, known));
  move(folder / "away", second());
  auto p = must_open(durable(), known);  // killed before the state said that the device is no more
  ASSERT_TRUE(p);
  ASSERT_EQ(p->left_out().size(), 1u);
  EXPECT_NE(p->left_out()[0].why.error().message.find("device add"), std::string::npos);
}

TEST_F(pool_devices, OneThatWasCutShortIsLeftOut) {
  auto known = make(options(4 * MiB));
  fs::resize_file(second(), 2 * MiB);
  auto p = must_open(options(4 * MiB), known);
  ASSERT_TRUE(p);
  ASSERT_EQ(p->left_out().size(), 1u);
  EXPECT_NE(p->left_out()[0].why.error().message.find("cut to 2 MiB of 4 MiB"), std::string::npos)
    << p->left_out()[0].why.error().message;
}

TEST_F(pool_devices, ADurableOneThatWasCutShortStopsTheOpen) {
  auto known = make(durable());
  fs::resize_file(second(), 2 * MiB);
  expect_refused(pool::open(durable(), known), ec::missing, {"cut to", "--without-devices"});
}

TEST_F(pool_devices, ARefusalLeavesNoLockBesideWhatIsSomebodys) {
  std::ofstream{second()} << "somebody's";
  auto o = options(4 * MiB);
  o.path = second();
  expect_refused(pool::open(o, {}), ec::unknown_contents);
  auto p = must_open(options(4 * MiB));
  for (const auto& path : {second(), folder.path().string()})
    EXPECT_FALSE(p->prepare_device({path, 4 * MiB})) << path;
  EXPECT_EQ(p->prepare_device({folder / "none" + "/x", 4 * MiB}).code(), ec::missing);
  p.reset();
  for (const auto& path : {second() + ".lock", folder.path().string() + ".lock", folder / "none"})
    EXPECT_FALSE(fs::exists(path)) << path;
}

TEST_F(pool_devices, NoFileIsMadeWhereADeviceIsMissing) {
  auto o = options(4 * MiB);
  o.path = "/dev/dax99.9";
  expect_refused(pool::open(o, {}), ec::missing, {"maructl device list"});
  EXPECT_EQ(must_open(options(4 * MiB))->prepare_device({o.path, 4 * MiB}).code(), ec::missing);
  EXPECT_FALSE(fs::exists(o.path));
}

TEST_F(pool_devices, AnUnknownPoolIsOpenedWithAllOfThemWhereThatIsAskedFor) {
  make(options(4 * MiB));
  auto o = options(4 * MiB);
  o.all_devices = true;
  expect_refused(pool::open(o, {}), ec::bad_option, {"2 devices", "--devices"});
  o.more = {{second()}};
  auto p = must_open(o);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->members().size(), 2u);
  EXPECT_FALSE(p->members()[1]->contents_lost());
  p.reset();
  o.more.clear();
  o.without = {second()};
  EXPECT_EQ(must_open(o)->members().size(), 1u);
}

TEST_F(pool_devices, NoBlankOnePassesForOneThatIsAskedFor) {
  make(options(4 * MiB));
  move(second(), folder / "away");
  auto o = options(4 * MiB);
  o.all_devices = true;
  o.more = {of_second()};  // its mount is not there, say
  expect_refused(pool::open(o, {}), ec::bad_option, {"2 devices", "1 were found"});
}

TEST_F(pool_devices, ADurableOneKeepsItsChunksWhereTheHostWasBootedAndTheStateIsLost) {
  make(durable());
  for (const auto& path : {data(), second()})
    edit_superblock(path + ".meta", [](superblock& sb) { sb.boot_id = random_uuid(); });
  auto o = durable();
  o.all_devices = true;
  o.more = {{second()}};
  auto p = must_open(o);
  ASSERT_TRUE(p);
  EXPECT_FALSE(p->members()[1]->contents_lost());
  EXPECT_TRUE(p->rebooted());
}

TEST_F(pool_devices, APoolThatIsNotApprovedStaysAsItWas) {
  auto known = make(options(4 * MiB));
  auto o = options(4 * MiB);
  o.approve = [](const pool& p) {
    return status{ec::unknown_contents, "failed to approve " + to_string(p.super().pool)};
  };
  expect_refused(pool::open(o, {}), ec::unknown_contents);
  auto p = must_open(options(4 * MiB), known);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->epoch(), 2u);
  EXPECT_EQ(p->members().size(), 2u) << "it was not served without the second one";
  EXPECT_FALSE(p->members()[1]->contents_lost());
}

TEST_F(pool_devices, ADurableOneThatIsEmptyOrWithoutItsMetadataStopsTheOpen) {
  auto known = make(durable());
  fs::resize_file(second(), 0);
  expect_refused(pool::open(durable(), known), ec::missing, {"--without-devices"});
  fs::resize_file(second(), 4 * MiB);
  fs::rename(meta(), folder / "away");
  expect_refused(pool::open(durable(), known), ec::missing, {"metadata", "--format"});
  fs::rename(folder / "away", meta());
  EXPECT_EQ(must_open(durable(), known)->members().size(), 2u);
}

TEST_F(pool_devices, WhatWasGivenUpIsNotTakenInAgain) {
  auto known = make(options(4 * MiB));
  auto o = options(4 * MiB);
  o.more = {{second()}};
  o.without = {second()};
  EXPECT_EQ(must_open(o, known)->members().size(), 1u);
}

TEST_F(pool_devices, WhatWasGivenUpComesBackEmpty) {
  auto known = make(options(4 * MiB));
  auto o = options(4 * MiB);
  o.without = {second()};
  auto p = must_open(o, known);
  known.more = p->known_devices();
  p.reset();
  o.without.clear();
  o.more = {{second()}};
  p = must_open(o, known);
  ASSERT_EQ(p->members().size(), 2u);
  EXPECT_TRUE(p->members()[1]->contents_lost()) << "workers of before may have written there";
}

TEST_F(pool_devices, TheFirstOneIsNoFurtherOneToo) {
  auto o = options(4 * MiB);
  o.more = {{data()}};
  expect_refused(pool::open(o, {}), ec::bad_option, {"further"});
}

TEST_F(pool_devices, AFileThatIsToBeMadeNeedsASize) {
  auto o = options(4 * MiB);
  o.more = {{second()}};
  auto p = must_open(o);
  ASSERT_TRUE(p);
  ASSERT_EQ(p->left_out().size(), 1u);
  EXPECT_NE(p->left_out()[0].why.error().message.find("size=SIZE"), std::string::npos);
  EXPECT_EQ(p->prepare_device({second()}).code(), ec::bad_option);
}

}  // namespace
}  // namespace maru::cxl
