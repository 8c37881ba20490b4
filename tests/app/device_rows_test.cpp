// Goal: each device and place of a machine is one row with the options that fit it, or what comes first, and pools are
// found in the mounts that hold them. Method: machines made of files, rows compared field by field, the text of the
// table line by line.
#include "app/maructl/device/rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/maructl/device/advice.hpp"
#include "app/maructl/device/pool_files.hpp"
#include "app/maructl/device/show.hpp"
#include "base/bounds.hpp"
#include "tests/cxl/fake_machine.hpp"

namespace maru::ctl {
namespace {

using bounds::GiB;
using bounds::MiB;
using cxl::fake_machine;
using nlohmann::json;

class device_rows_test : public ::testing::Test {
protected:
  // As `maructl device list` does, of devices that are all blank.
  json rows() {
    return device_rows(cxl::read_device_catalog(machine.root()), machine.root(), [this](const std::string& path) {
      looked.push_back(path);
      return json{{"state", "blank"}, {"served", false}};
    });
  }
  json row(const std::string& path) {
    for (const auto& r : rows())
      if (r.at("path") == path)
        return r;
    ADD_FAILURE() << "no row of " << path;
    return json::object();
  }

  fake_machine machine;
  std::vector<std::string> looked;
};

TEST_F(device_rows_test, DeviceThatCanBeMappedIsLookedAtAndServedAsItIs) {
  machine.add_dax("dax0.0", "platform/hmem.0", "1073741824", "device_dax");
  machine.add_range("platform/hmem.0/dax0.0", 0, "0x100000000", "0x13fffffff", "0x0");
  machine.write("dev/dax0.0", "");
  auto r = row("/dev/dax0.0");
  EXPECT_EQ(r["kind"], "devdax");
  EXPECT_EQ(r["size"], GiB);
  EXPECT_EQ(r["align"], 2 * MiB);
  EXPECT_EQ(r["node"], 1);
  EXPECT_EQ(r["mode"], "devdax");
  EXPECT_EQ(r["origin"], "hmem");
  EXPECT_EQ(r["ranges"], json::array({{{"start", 4 * GiB}, {"end", 5 * GiB - 1}, {"page_offset", 0}}}));
  EXPECT_NE(r["access"], "");
  EXPECT_EQ(r["contents"]["state"], "blank");
  EXPECT_EQ(r["options"], "--pool=/dev/dax0.0");
  EXPECT_EQ(r["first"], "");
}

TEST_F(device_rows_test, DeviceInSystemRamModeIsNotTouchedAndTheCommandThatChangesItIsNamed) {
  machine.add_dax("dax0.0", "platform/hmem.0", "1073741824", "kmem");
  machine.add_dax("dax1.0", "platform/hmem.1", "1073741824", "");
  machine.add_dax("dax2.0", "platform/hmem.2", "1073741824", "fsdev_dax");
  auto r = row("/dev/dax0.0");
  EXPECT_EQ(r["mode"], "system-ram");
  EXPECT_EQ(r["options"], "");
  EXPECT_EQ(r["first"], "daxctl reconfigure-device --mode=devdax --force dax0.0");
  EXPECT_TRUE(r["contents"].is_null());
  EXPECT_EQ(row("/dev/dax1.0")["first"], "daxctl reconfigure-device --mode=devdax --force dax1.0");
  EXPECT_EQ(row("/dev/dax2.0")["first"], "it belongs to the driver fsdev_dax");
  EXPECT_TRUE(looked.empty()) << "opening it would fail";
}

TEST_F(device_rows_test, PoolsAreFoundInTheirMounts) {
  machine.add_mount("/dev/shm", "tmpfs", "tmpfs", "rw");
  for (auto file : {"dev/shm/one", "dev/shm/one.meta", "dev/shm/one.lock", "dev/shm/maru/pool",
                    "dev/shm/maru/pool.meta", "dev/shm/other", "dev/shm/too/deep/pool", "dev/shm/too/deep/pool.meta"})
    machine.write(file, "x");
  auto all = rows();
  ASSERT_EQ(all.size(), 3u) << all.dump(1);
  EXPECT_EQ(all[0]["path"], "/dev/shm");
  EXPECT_EQ(all[0]["options"], "--pool=/dev/shm/maru/pool --pool-size=SIZE");
  EXPECT_EQ(all[1]["path"], "/dev/shm/maru/pool");
  EXPECT_EQ(all[1]["in"], "/dev/shm");
  EXPECT_EQ(all[1]["options"], "--pool=/dev/shm/maru/pool");
  EXPECT_EQ(all[2]["path"], "/dev/shm/one");
  EXPECT_EQ(looked, (std::vector<std::string>{"/dev/shm/maru/pool", "/dev/shm/one"}));
}

TEST_F(device_rows_test, FilesOfHugePagesHaveTheirMetadataInside) {
  machine.add_huge_pages("2048", "10", "10", "0");
  machine.add_mount("/mnt/huge", "hugetlbfs", "none", "rw,pagesize=2M");
  machine.write("mnt/huge/pool", "x");
  machine.write("mnt/huge/pool.locks/session", "x");
  auto all = rows();
  ASSERT_EQ(all.size(), 2u) << all.dump(1);
  EXPECT_EQ(all[0]["free"], 20 * MiB);
  EXPECT_EQ(all[1]["path"], "/mnt/huge/pool");
}

TEST_F(device_rows_test, HugePagesAreToldOfWithoutAMountAndWithoutPages) {
  machine.add_huge_pages("1048576", "2", "2", "0");
  machine.add_huge_pages("2048", "0", "0", "0");
  machine.add_mount("/mnt/huge", "hugetlbfs", "none", "rw,pagesize=2M");
  auto all = rows();
  ASSERT_EQ(all.size(), 2u) << all.dump(1);
  EXPECT_EQ(all[0]["first"], "echo NUMBER > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
  EXPECT_EQ(all[0]["options"], "");
  EXPECT_EQ(all[1]["path"], "");
  EXPECT_EQ(all[1]["size"], 2 * GiB);
  EXPECT_EQ(all[1]["first"], "mount -t hugetlbfs -o pagesize=1G none /mnt/huge");
}

TEST_F(device_rows_test, PersistentMemoryIsADiskUntilItIsMountedForDirectAccess) {
  machine.write("sys/block/pmem0/dev", "259:0\n");
  machine.write("sys/block/pmem0/size", "1048576\n");
  EXPECT_EQ(row("/dev/pmem0")["first"], "mount -o dax=always /dev/pmem0 /mnt/pmem0 (a new disk: mkfs.ext4 before)");
  machine.add_mount("/mnt/pmem0", "ext4", "/dev/pmem0", "rw", "259:0");
  EXPECT_EQ(row("/dev/pmem0")["first"], "it is mounted at /mnt/pmem0 without dax=always");
  machine.add_mount("/mnt/pmem0", "ext4", "/dev/pmem0", "rw,dax=always", "259:0");
  auto all = rows();
  ASSERT_EQ(all.size(), 1u) << all.dump(1);
  EXPECT_EQ(all[0]["kind"], "fsdax");
  EXPECT_EQ(all[0]["options"], "--pool=/mnt/pmem0/maru/pool --pool-size=SIZE --durability=host");
}

TEST_F(device_rows_test, NodeWithoutCpusIsAPlaceForAFileOfItsOwn) {
  machine.add_node(0, "0-1", "1048576", "10 22");
  machine.add_node(1, "", "524288", "22 10");
  EXPECT_EQ(row("node1")["first"], "mount -t tmpfs -o huge=always,mpol=bind:1 maru /mnt/maru");
  machine.add_mount("/dev/shm", "tmpfs", "tmpfs", "rw");
  auto r = row("node1");
  EXPECT_EQ(r["kind"], "node");
  EXPECT_EQ(r["size"], 512 * MiB);
  EXPECT_EQ(r["mode"], "distance 22");
  EXPECT_EQ(r["access"], "");
  EXPECT_EQ(r["options"], "--pool=/dev/shm/maru/pool --pool-size=SIZE --numa-node=1");
  auto all = rows();
  EXPECT_TRUE(std::none_of(all.begin(), all.end(), [](const json& one) { return one["path"] == "node0"; }))
    << "a node with CPUs is ordinary memory";
}

TEST_F(device_rows_test, RowOfOneFileIsOfTheMountThatItLiesIn) {
  machine.add_mount("/mnt", "tmpfs", "tmpfs", "rw,mpol=bind:3");
  machine.add_mount("/mnt/p", "ext4", "/dev/pmem0", "rw,dax=always", "259:0");
  machine.add_dax("dax0.0", "platform/hmem.0", "1073741824", "kmem");
  machine.write("mnt/p/maru/deep/pool", "12345");
  auto of = [&](const std::string& path) {
    return device_row(cxl::read_device_catalog(machine.root()), machine.root(), path, [](const std::string&) {
      return json{{"state", "blank"}, {"served", false}};
    });
  };
  EXPECT_EQ(of("/mnt/p/maru/deep/pool")["kind"], "fsdax");
  EXPECT_EQ(of("/mnt/p/maru/deep/pool")["size"], 5);
  EXPECT_EQ(of("/mnt/pool")["kind"], "tmpfs");
  EXPECT_EQ(of("/mnt/pool")["node"], 3);
  EXPECT_TRUE(of("/mnt/pool")["size"].is_null()) << "it is not there yet";
  EXPECT_EQ(of("/mntx")["kind"], "file");
  EXPECT_EQ(of("/dev/dax0.0")["mode"], "system-ram");
}

TEST_F(device_rows_test, TableHasALineADeviceAndPoolsBelowTheirMount) {
  machine.add_dax("dax0.0", "platform/hmem.0", "1073741824", "kmem");
  machine.add_huge_pages("2048", "10", "10", "0");
  machine.add_mount("/mnt/huge", "hugetlbfs", "none", "rw,pagesize=2M");
  machine.write("mnt/huge/pool", "");
  auto all = rows();
  for (auto& r : all)
    r["access"] = "a";
  EXPECT_EQ(
    show_devices(all),
    "path              kind         size    free  align  node  mode        access  contents  options of marud, or "
    "what comes first\n"
    "/dev/dax0.0       devdax      1 GiB          2 MiB     1  system-ram  a                 first: daxctl "
    "reconfigure-device --mode=devdax --force dax0.0\n"
    "/mnt/huge         hugetlbfs  20 MiB  20 MiB  2 MiB                    a                 "
    "--pool=/mnt/huge/maru/pool --pool-size=SIZE\n"
    "  /mnt/huge/pool  hugetlbfs     0 B          2 MiB                    a       blank     "
    "--pool=/mnt/huge/pool\n");
  EXPECT_EQ(show_devices(json::array()), "nothing on this machine can hold a pool\n");
}

TEST(PoolFiles, OfAFolderWithVeryManyEntriesAreSomeAndNotAll) {
  fake_machine machine;
  for (int i = 0; i < 1100; ++i)
    machine.write("many/" + std::to_string(i), "");
  EXPECT_EQ(pool_files(machine.root() / "many", true).size(), 1024u);
  EXPECT_TRUE(pool_files(machine.root() / "none", true).empty());
}

}  // namespace
}  // namespace maru::ctl
