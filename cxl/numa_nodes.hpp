// NUMA nodes of this machine. One without CPUs is memory of its own: CXL memory in system-ram mode shows itself so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace maru::cxl {

struct numa_node {
  int id = 0;
  bool has_cpus = false;
  std::uint64_t size = 0;      // bytes
  std::uint64_t free = 0;      // bytes
  std::uint32_t distance = 0;  // to the nearest node with CPUs, 10 is its own; 0: not known
};

// By id, as the sysfs below `root` has them. A node without memory is left out.
std::vector<numa_node> numa_nodes(const std::filesystem::path& root);

}  // namespace maru::cxl
