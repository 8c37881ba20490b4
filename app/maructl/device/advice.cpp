#include "app/maructl/device/advice.hpp"

#include <nlohmann/json.hpp>

#include "base/bounds.hpp"

namespace maru::ctl {

namespace {

// "2M" and "1G", as mount takes them; in bytes where it is neither.
std::string page_text(std::uint64_t bytes) {
  if (bytes % bounds::GiB == 0)
    return std::to_string(bytes / bounds::GiB) + "G";
  return bytes % bounds::MiB == 0 ? std::to_string(bytes / bounds::MiB) + "M" : std::to_string(bytes);
}

std::string reserve_pages(std::uint64_t page_bytes) {
  return "echo NUMBER > /sys/kernel/mm/hugepages/hugepages-" + std::to_string(page_bytes / bounds::KiB)
         + "kB/nr_hugepages";
}

std::string file_in(const std::string& folder) { return "--pool=" + folder + "/maru/pool --pool-size=SIZE"; }

}  // namespace

std::string to_devdax_mode(const cxl::dax_bus_device& device) {
  return "daxctl reconfigure-device --mode=devdax --force " + device.name;
}

advice advise(const cxl::dax_bus_device& device) {
  switch (device.mode) {
    case cxl::dax_mode::devdax: return {"--pool=" + device.path, {}};
    case cxl::dax_mode::system_ram:
    case cxl::dax_mode::unbound: return {{}, to_devdax_mode(device)};
    case cxl::dax_mode::other: break;
  }
  return {{}, "it belongs to the driver " + device.driver};
}

advice advise(const cxl::pmem_disk& disk) {
  if (disk.mounted_dax)
    return {};
  if (!disk.mounted_at.empty())
    return {{}, "it is mounted at " + disk.mounted_at + " without dax=always"};
  return {{}, "mount -o dax=always " + disk.path + " /mnt/" + disk.name + " (a new disk: mkfs.ext4 before)"};
}

advice advise(const cxl::memory_mount& mount) {
  switch (mount.kind) {
    case cxl::mount_kind::fsdax: return {file_in(mount.path) + " --durability=host", {}};
    case cxl::mount_kind::hugetlbfs:
      if (mount.free && *mount.free == 0)
        return {{}, reserve_pages(mount.align)};
      break;
    case cxl::mount_kind::tmpfs: break;
  }
  return {file_in(mount.path), {}};
}

advice advise(const cxl::huge_page_pool& pool) {
  return {{}, "mount -t hugetlbfs -o pagesize=" + page_text(pool.page_bytes) + " none /mnt/huge"};
}

advice advise(const cxl::numa_node& node, const std::string& shm) {
  if (shm.empty())
    return {{}, "mount -t tmpfs -o huge=always,mpol=bind:" + std::to_string(node.id) + " maru /mnt/maru"};
  return {file_in(shm) + " --numa-node=" + std::to_string(node.id), {}};
}

advice advise(const nlohmann::json& contents, const std::string& path, const advice& of_the_kind) {
  if (contents.is_null())
    return of_the_kind;
  auto state = contents.at("state").get<std::string>();
  if (state == "unreadable" || contents.at("served") == true)
    return {};
  if (state == "pool" && contents.at("index") != 0)
    return {"--devices=" + path, {}};
  if (state == "missing" && cxl::is_device_path(path))
    return {{}, "there is no such device; maructl device list shows those that are there"};
  if (state == "foreign" || state == "damaged" || state == "other_version")
    return {{}, "maructl device format " + path};
  return of_the_kind;
}

}  // namespace maru::ctl
