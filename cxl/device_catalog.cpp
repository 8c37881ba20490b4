#include "cxl/device_catalog.hpp"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/bounds.hpp"
#include "base/size.hpp"
#include "cxl/kernel_files.hpp"
#include "cxl/mount_table.hpp"

namespace maru::cxl {

namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t sector_bytes = 512;  // in which sysfs counts, whatever the device has
constexpr std::string_view system_folders[] = {"/run", "/dev", "/sys", "/proc", "/tmp", "/var/run"};

// "bind:1" names one node; "bind:0-1", "interleave:0,1" and "default" do not.
int one_node(std::string_view policy) {
  auto list = policy.substr(std::min(policy.find(':') + 1, policy.size()));
  int node = -1;
  auto [end, code] = std::from_chars(list.data(), list.data() + list.size(), node);
  bool alone = policy.find(':') != policy.npos && code == std::errc{} && end == list.data() + list.size();
  return alone ? node : -1;
}

// With dax=inode it depends on a mark of each file: such a mount is not taken for one.
bool is_dax(const mount_entry& entry) {
  auto dax = entry.option("dax");
  return dax && (dax->empty() || *dax == "always");
}

// Size and free bytes as the file system tells them; a tmpfs without a limit has no size.
void ask_space(const fs::path& root, memory_mount& mount) {
  struct statvfs now = {};
  if (::statvfs((root.string() + mount.path).c_str(), &now) != 0 || now.f_blocks == 0)
    return;
  mount.size = std::uint64_t{now.f_blocks} * now.f_frsize;
  mount.free = std::uint64_t{now.f_bavail} * now.f_frsize;
}

// Block devices are told by their numbers: a mount may name them by a link.
std::vector<pmem_disk> pmem_disks(const fs::path& root, const std::vector<mount_entry>& table) {
  auto folder = root / "sys/block";
  std::vector<pmem_disk> disks;
  auto add = [&](const fs::path& entry, const std::string& name, int node) {
    auto numbers = read_line(entry / "dev").value_or("");
    auto sectors = read_number(entry / "size").value_or(0);
    pmem_disk disk{name, "/dev/" + name, sectors * sector_bytes, node, {}, false};
    for (const auto& mount : table)
      if (mount.device == numbers)
        disk.mounted_at = mount.path, disk.mounted_dax = is_dax(mount);
    disks.push_back(std::move(disk));
  };
  for (const auto& name : names_in(folder, "pmem")) {
    auto node = read_node(folder / name / "device/target_node");
    if (node < 0)
      node = read_node(folder / name / "device/numa_node");
    auto partitions = names_in(folder / name, name + "p");
    if (partitions.empty())
      add(folder / name, name, node);
    for (const auto& partition : partitions)
      add(folder / name / partition, partition, node);
  }
  return disks;
}

memory_mount fsdax_mount(const fs::path& root, const mount_entry& entry, const std::vector<pmem_disk>& disks) {
  memory_mount mount;
  mount.kind = mount_kind::fsdax;
  mount.path = entry.path;
  mount.source = entry.source;
  mount.align = bounds::layout_align;
  ask_space(root, mount);
  for (const auto& disk : disks)
    if (disk.mounted_at == entry.path)
      mount.node = disk.node;
  return mount;
}

// Its pages come from the kernel's store of that size; a mount may be allowed less of it.
memory_mount hugetlb_mount(const mount_entry& entry, const std::vector<huge_page_pool>& pools) {
  memory_mount mount;
  mount.kind = mount_kind::hugetlbfs;
  mount.path = entry.path;
  auto page = parse_size(entry.option("pagesize").value_or(""));
  mount.align = page ? *page : 0;
  auto pool = std::find_if(pools.begin(), pools.end(), [&](const auto& p) { return p.page_bytes == mount.align; });
  if (pool == pools.end())
    return mount;
  auto limit = parse_size(entry.option("size").value_or(""));
  mount.size = std::min(pool->total * pool->page_bytes, limit ? *limit : UINT64_MAX);
  mount.free = std::min(pool->available * pool->page_bytes, limit ? *limit : UINT64_MAX);
  return mount;
}

memory_mount tmpfs_mount(const fs::path& root, const mount_entry& entry) {
  memory_mount mount;
  mount.kind = mount_kind::tmpfs;
  mount.path = entry.path;
  mount.huge = entry.option("huge").value_or("");
  if (mount.huge == "never")
    mount.huge.clear();
  mount.policy = entry.option("mpol").value_or("");
  mount.node = one_node(mount.policy);
  mount.align =
    mount.huge.empty() ? static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : std::uint64_t{bounds::layout_align};
  ask_space(root, mount);
  return mount;
}

bool is_systems_own(const std::string& path) {
  if (path == "/dev/shm" || path.starts_with("/dev/shm/"))
    return false;
  return std::any_of(std::begin(system_folders), std::end(system_folders), [&](std::string_view folder) {
    return path == folder || path.starts_with(std::string{folder} + "/");
  });
}

}  // namespace

std::string_view to_string(mount_kind kind) {
  switch (kind) {
    case mount_kind::fsdax: return "fsdax";
    case mount_kind::hugetlbfs: return "hugetlbfs";
    case mount_kind::tmpfs: break;
  }
  return "tmpfs";
}

device_catalog read_device_catalog(const fs::path& root) {
  auto table = mount_table(root);
  device_catalog catalog;
  catalog.dax = dax_bus_devices(root);
  catalog.disks = pmem_disks(root, table);
  catalog.huge_pages = huge_page_pools(root);
  catalog.nodes = numa_nodes(root);
  for (const auto& entry : table) {
    if (!entry.writable())
      continue;
    if (entry.type == "hugetlbfs")
      catalog.mounts.push_back(hugetlb_mount(entry, catalog.huge_pages));
    else if (entry.type == "tmpfs" && !is_systems_own(entry.path))
      catalog.mounts.push_back(tmpfs_mount(root, entry));
    else if (is_dax(entry))
      catalog.mounts.push_back(fsdax_mount(root, entry, catalog.disks));
  }
  std::stable_sort(catalog.mounts.begin(), catalog.mounts.end(),
                   [](const auto& a, const auto& b) { return a.kind < b.kind; });
  return catalog;
}

bool is_device_path(std::string_view path) { return path.starts_with("/dev/dax") || path.starts_with("/dev/pmem"); }

}  // namespace maru::cxl
