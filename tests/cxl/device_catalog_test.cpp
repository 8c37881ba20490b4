// Goal: what a machine has to hold a pool is found, and described as the kernel describes it; a machine that has none of
// it, or shows it in another form, is no error. Method: machines made of files, in the forms of Linux 6.1 and 6.12, and
// the machine that the test runs on.
#include "cxl/device_catalog.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/bounds.hpp"
#include "cxl/file_rights.hpp"
#include "cxl/kernel_files.hpp"
#include "cxl/mount_table.hpp"
#include "tests/cxl/fake_machine.hpp"

namespace maru::cxl {
namespace {

using bounds::GiB;
using bounds::KiB;
using bounds::MiB;

TEST(DaxDevices, AreReadWithSizeAlignmentNodeAndMode) {
  fake_machine machine;
  machine.add_dax("dax10.0", "platform/hmem.1", "536870912", "device_dax", "3");
  machine.add_dax("dax0.0", "platform/hmem.0", "1073741824", "kmem", "1");
  machine.add_dax("dax1.0", "platform/hmem.2", "2097152", "", "-1");
  auto found = dax_bus_devices(machine.root());
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].path, "/dev/dax0.0");
  EXPECT_EQ(found[0].size, GiB);
  EXPECT_EQ(found[0].mode, dax_mode::system_ram);
  EXPECT_EQ(found[1].name, "dax1.0");
  EXPECT_EQ(found[1].mode, dax_mode::unbound);
  EXPECT_EQ(found[1].node, -1);
  EXPECT_EQ(found[2].name, "dax10.0") << "after dax1.0";
  EXPECT_EQ(found[2].align, 2 * MiB);
  EXPECT_EQ(found[2].node, 3);
  EXPECT_EQ(found[2].driver, "device_dax");
  EXPECT_EQ(found[2].mode, dax_mode::devdax);
}

TEST(DaxDevices, SayWhoMadeThem) {
  fake_machine machine;
  machine.add_dax("dax0.0", "platform/hmem.0", "4096", "");
  machine.add_dax("dax1.0", "LNXSYSTM:00/ACPI0012:00/ndbus0/region0/dax1.0", "4096", "");
  machine.add_dax("dax2.0", "platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0", "4096", "");
  machine.add_dax("dax3.0", "virtual/something", "4096", "");
  auto found = dax_bus_devices(machine.root());
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].origin, "hmem");
  EXPECT_EQ(found[1].origin, "nvdimm");
  EXPECT_EQ(found[2].origin, "cxl");
  EXPECT_EQ(found[3].origin, "something");
}

TEST(DaxDevices, OfSeveralRangesHaveAllOfThem) {
  fake_machine machine;
  machine.add_dax("dax0.0", "platform/hmem.0", "1073741824", "device_dax");
  machine.add_range("platform/hmem.0/dax0.0", 0, "0x100000000", "0x11fffffff", "0");
  machine.add_range("platform/hmem.0/dax0.0", 1, "0x140000000", "0x15fffffff", "0x20000");
  auto found = dax_bus_devices(machine.root());
  ASSERT_EQ(found.size(), 1u);
  ASSERT_EQ(found[0].ranges.size(), 2u);
  EXPECT_EQ(found[0].ranges[0].start, 4 * GiB);
  EXPECT_EQ(found[0].ranges[0].end, 4 * GiB + 512 * MiB - 1);
  EXPECT_EQ(found[0].ranges[1].start, 5 * GiB);
  EXPECT_EQ(found[0].ranges[1].page_offset, 0x20000u);
}

TEST(DaxDevices, CountRangesThatMayNotBeRead) {
  fake_machine machine;
  machine.add_dax("dax0.0", "platform/hmem.0", "1073741824", "device_dax");
  std::filesystem::create_directories(machine.root() / "sys/devices/platform/hmem.0/dax0.0/mapping0");
  auto found = dax_bus_devices(machine.root());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].range_count, 1u);
  EXPECT_TRUE(found[0].ranges.empty());
}

TEST(DaxDevices, WithoutMemoryAreLeftOut) {
  fake_machine machine;
  machine.add_dax("dax0.1", "platform/hmem.0", "0", "");
  machine.add_dax("dax0.2", "platform/hmem.0", "much", "");
  EXPECT_TRUE(dax_bus_devices(machine.root()).empty());
}

TEST(MountTable, HasNamesOptionsAndWhatHidesWhat) {
  fake_machine machine;
  machine.add_mount("/mnt/one", "tmpfs", "tmpfs", "rw,size=64k,mpol=bind:0,2-3,huge=always");
  machine.add_mount("/mnt/a\\040b", "ext4", "/dev/pmem0", "ro,dax=always", "259:0");
  machine.add_mount("/mnt/one", "tmpfs", "later", "rw");
  auto table = mount_table(machine.root());
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table[0].path, "/mnt/a b");
  EXPECT_EQ(table[0].device, "259:0");
  EXPECT_FALSE(table[0].writable());
  EXPECT_EQ(table[1].source, "later");
  EXPECT_TRUE(table[1].writable());
}

TEST(MountTable, OptionsWithCommasInThemStayWhole) {
  mount_entry entry;
  entry.options = "rw,mpol=bind:0,2-3,huge=always,dax";
  EXPECT_EQ(entry.option("mpol"), "bind:0,2-3");
  EXPECT_EQ(entry.option("huge"), "always");
  EXPECT_EQ(entry.option("dax"), "");
  EXPECT_EQ(entry.option("size"), std::nullopt);
  entry.options = "rw,mpol=bind:0,2";
  EXPECT_EQ(entry.option("mpol"), "bind:0,2") << "also as the last one";
  entry.options = "";
  EXPECT_EQ(entry.option("mpol"), std::nullopt);
}

TEST(MountTable, LinesInAnotherFormAreLeftOut) {
  fake_machine machine;
  machine.write("proc/self/mountinfo", "\nnonsense\n1 2 3 4 /x rw\n1 2 0:3 / /y rw - \n1 2 0:3 / /z ro - tmpfs t\n");
  auto table = mount_table(machine.root());
  ASSERT_EQ(table.size(), 1u);
  EXPECT_EQ(table[0].path, "/z");
  EXPECT_FALSE(table[0].writable()) << "by the options of the mount alone";
}

TEST(NumaNodes, WithoutCpusAreToldFromOthersAndKnowTheirDistance) {
  fake_machine machine;
  machine.add_node(0, "0-3", "1048576", "10 21 17");
  machine.add_node(1, "4-7", "1048576", "21 10 28");
  machine.add_node(2, "", "524288", "17 28 10");
  machine.add_node(5, "", "0", "40 40 40 10");
  machine.write("sys/devices/system/node/online", "0-2,5\n");
  auto nodes = numa_nodes(machine.root());
  ASSERT_EQ(nodes.size(), 3u) << "node5 has no memory";
  EXPECT_TRUE(nodes[0].has_cpus);
  EXPECT_EQ(nodes[0].distance, 10u);
  EXPECT_FALSE(nodes[2].has_cpus);
  EXPECT_EQ(nodes[2].id, 2);
  EXPECT_EQ(nodes[2].size, 512 * MiB);
  EXPECT_EQ(nodes[2].free, MiB);
  EXPECT_EQ(nodes[2].distance, 17u) << "to node0, the nearer one";
}

TEST(HugePages, PromisedOnesAreNotAvailable) {
  fake_machine machine;
  machine.add_huge_pages("1048576", "2", "2", "0");
  machine.add_huge_pages("2048", "100", "60", "50");
  auto pools = huge_page_pools(machine.root());
  ASSERT_EQ(pools.size(), 2u);
  EXPECT_EQ(pools[0].page_bytes, 2 * MiB);
  EXPECT_EQ(pools[0].total, 100u);
  EXPECT_EQ(pools[0].available, 10u);
  EXPECT_EQ(pools[1].page_bytes, GiB);
}

TEST(DeviceCatalog, HugetlbfsMountHasPagesOfItsSizeUpToItsLimit) {
  fake_machine machine;
  machine.add_huge_pages("2048", "100", "60", "0");
  machine.add_huge_pages("1048576", "2", "1", "0");
  machine.add_mount("/dev/hugepages", "hugetlbfs", "hugetlbfs", "rw,pagesize=2M");
  machine.add_mount("/mnt/huge1g", "hugetlbfs", "none", "rw,pagesize=1024M");
  machine.add_mount("/mnt/limited", "hugetlbfs", "none", "rw,pagesize=2M,size=4194304");
  auto mounts = read_device_catalog(machine.root()).mounts;
  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_EQ(mounts[0].align, 2 * MiB);
  EXPECT_EQ(mounts[0].size, 200 * MiB);
  EXPECT_EQ(mounts[0].free, 120 * MiB);
  EXPECT_EQ(mounts[1].align, GiB);
  EXPECT_EQ(mounts[1].free, GiB);
  EXPECT_EQ(mounts[2].size, 4 * MiB);
  EXPECT_EQ(mounts[2].free, 4 * MiB);
}

TEST(DeviceCatalog, TmpfsMountTellsHugePagesAndTheNodeItIsBoundTo) {
  fake_machine machine;
  machine.add_mount("/dev/shm", "tmpfs", "tmpfs", "rw");
  machine.add_mount("/mnt/cxl", "tmpfs", "tmpfs", "rw,huge=always,mpol=bind:1");
  machine.add_mount("/mnt/two", "tmpfs", "tmpfs", "rw,mpol=bind:0,2");
  machine.add_mount("/mnt/local", "tmpfs", "tmpfs", "rw,mpol=local");
  auto mounts = read_device_catalog(machine.root()).mounts;
  ASSERT_EQ(mounts.size(), 4u);
  EXPECT_EQ(mounts[0].align, 4 * KiB);
  EXPECT_EQ(mounts[0].node, -1);
  EXPECT_TRUE(mounts[0].free) << "the folder's file system is asked";
  EXPECT_EQ(mounts[1].huge, "always");
  EXPECT_EQ(mounts[1].node, 1);
  EXPECT_EQ(mounts[1].align, 2 * MiB);
  EXPECT_EQ(mounts[2].policy, "bind:0,2");
  EXPECT_EQ(mounts[2].node, -1);
  EXPECT_EQ(mounts[3].node, -1);
}

TEST(DeviceCatalog, MountsOfTheSystemAndReadOnlyOnesAreLeftOut) {
  fake_machine machine;
  for (auto path : {"/run", "/run/user/0", "/dev", "/sys/fs/cgroup", "/tmp", "/var/run"})
    machine.add_mount(path, "tmpfs", "tmpfs", "rw");
  machine.add_mount("/mnt/ro", "tmpfs", "tmpfs", "ro");
  machine.add_mount("/runner", "tmpfs", "tmpfs", "rw");
  auto mounts = read_device_catalog(machine.root()).mounts;
  ASSERT_EQ(mounts.size(), 1u);
  EXPECT_EQ(mounts[0].path, "/runner");
}

TEST(DeviceCatalog, PmemDisksKnowWhereAndHowTheyAreMounted) {
  fake_machine machine;
  machine.write("sys/block/pmem0/dev", "259:0\n");
  machine.write("sys/block/pmem0/size", "1048576\n");
  machine.write("sys/block/pmem0/device/target_node", "2\n");
  machine.write("sys/block/pmem1/dev", "259:1\n");
  machine.write("sys/block/pmem1/size", "2048\n");
  machine.write("sys/block/pmem1/device/numa_node", "0\n");
  machine.write("sys/block/pmem1/pmem1p1/dev", "259:2\n");
  machine.write("sys/block/pmem1/pmem1p1/size", "1024\n");
  machine.write("sys/block/vda/dev", "254:0\n");
  machine.add_mount("/mnt/pmem0", "ext4", "/dev/disk/by-id/one", "rw,dax=always", "259:0");
  machine.add_mount("/mnt/plain", "ext4", "/dev/pmem1p1", "rw", "259:2");
  machine.add_mount("/mnt/inode", "xfs", "/dev/vdb", "rw,dax=inode", "254:16");
  auto catalog = read_device_catalog(machine.root());
  ASSERT_EQ(catalog.disks.size(), 2u);
  EXPECT_EQ(catalog.disks[0].path, "/dev/pmem0");
  EXPECT_EQ(catalog.disks[0].size, 512 * MiB);
  EXPECT_EQ(catalog.disks[0].mounted_at, "/mnt/pmem0");
  EXPECT_TRUE(catalog.disks[0].mounted_dax);
  EXPECT_EQ(catalog.disks[1].path, "/dev/pmem1p1") << "the partition, not the disk around it";
  EXPECT_EQ(catalog.disks[1].size, 512 * KiB);
  EXPECT_EQ(catalog.disks[1].mounted_at, "/mnt/plain");
  EXPECT_FALSE(catalog.disks[1].mounted_dax);
  ASSERT_EQ(catalog.mounts.size(), 1u);
  EXPECT_EQ(catalog.mounts[0].kind, mount_kind::fsdax);
  EXPECT_EQ(catalog.mounts[0].path, "/mnt/pmem0");
  EXPECT_EQ(catalog.mounts[0].node, 2);
}

TEST(DeviceCatalog, MachineThatShowsNothingHasNothing) {
  fake_machine machine;
  auto catalog = read_device_catalog(machine.root());
  EXPECT_TRUE(catalog.dax.empty() && catalog.disks.empty() && catalog.mounts.empty() && catalog.huge_pages.empty()
              && catalog.nodes.empty());
}

TEST(DeviceCatalog, OfThisMachineHasItsMemory) {
  if (!std::filesystem::exists("/sys/devices/system/node"))
    GTEST_SKIP() << "this kernel shows no NUMA nodes";
  auto nodes = read_device_catalog().nodes;
  ASSERT_FALSE(nodes.empty());
  EXPECT_TRUE(nodes[0].has_cpus);
  EXPECT_GE(nodes[0].size, 64 * MiB);
}

TEST(KernelFiles, NumbersAreReadWholeOrNotAtAll) {
  fake_machine machine;
  machine.write("decimal", "12\n");
  machine.write("hex", "0x1f\n");
  machine.write("words", "12 kB\n");
  machine.write("negative", "-1\n");
  machine.write("empty", "");
  EXPECT_EQ(read_number(machine.root() / "decimal"), 12u);
  EXPECT_EQ(read_number(machine.root() / "hex"), 31u);
  for (auto name : {"words", "negative", "empty", "missing"})
    EXPECT_EQ(read_number(machine.root() / name), std::nullopt) << name;
  EXPECT_EQ(read_node(machine.root() / "negative"), -1);
  EXPECT_EQ(read_node(machine.root() / "decimal"), 12);
}

TEST(FileRights, AreShownAsLsShowsThem) {
  fake_machine machine;
  machine.write("dev/dax0.0", "");
  ASSERT_EQ(::chmod((machine.root() / "dev/dax0.0").c_str(), 0640), 0);
  auto rights = rights_of(machine.root() / "dev/dax0.0");
  ASSERT_TRUE(rights);
  EXPECT_EQ(rights->mode, 0640u);
  EXPECT_TRUE(to_string(*rights).starts_with("rw-r----- " + rights->owner + ":")) << to_string(*rights);
  if (::getuid() == 0) {
    EXPECT_EQ(rights->owner, "root");
  }
  EXPECT_FALSE(rights_of(machine.root() / "none"));
}

}  // namespace
}  // namespace maru::cxl
