// What this machine offers to hold a pool: devices of the dax bus, persistent memory, mounts in memory, NUMA nodes. Read
// from sysfs and procfs alone; what lies on a device is the matter of inspection.hpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cxl/dax_bus.hpp"
#include "cxl/huge_pages.hpp"
#include "cxl/numa_nodes.hpp"

namespace maru::cxl {

// A block device of persistent memory: what FS-DAX file systems lie on.
struct pmem_disk {
  std::string name;          // pmem0
  std::string path;          // /dev/pmem0
  std::uint64_t size = 0;    // bytes
  int node = -1;             // NUMA node; -1: not known
  std::string mounted_at;    // empty: nowhere
  bool mounted_dax = false;  // for direct access: files there are the memory itself
};

enum class mount_kind : std::uint8_t { fsdax, hugetlbfs, tmpfs };
std::string_view to_string(mount_kind kind);

// A folder whose files are memory.
struct memory_mount {
  mount_kind kind = mount_kind::tmpfs;
  std::string path;
  std::string source;                 // of fsdax: the block device
  std::optional<std::uint64_t> size;  // bytes; empty: not limited, or not known
  std::optional<std::uint64_t> free;  // bytes
  std::uint64_t align = 0;            // bytes: the size of its pages, at best
  std::string huge;                   // of tmpfs: "always", "within_size", "advise"; empty: "never"
  std::string policy;                 // of tmpfs: "bind:1"; empty: the process's own
  int node = -1;                      // the one NUMA node of its memory; -1: several, or not known
};

struct device_catalog {
  std::vector<dax_bus_device> dax;
  std::vector<pmem_disk> disks;
  std::vector<memory_mount> mounts;  // by kind, then as the kernel has them
  std::vector<huge_page_pool> huge_pages;
  std::vector<numa_node> nodes;
};

// Reads what is below `root`. What cannot be read is left out: nothing here is an error.
// Of tmpfs mounts only those that could hold a pool: writable, and none of the system's own (/run, /dev and the like).
device_catalog read_device_catalog(const std::filesystem::path& root = "/");

// True for a path that is a device's or nothing's: where no device has it, no file is to be made there.
bool is_device_path(std::string_view path);

}  // namespace maru::cxl
