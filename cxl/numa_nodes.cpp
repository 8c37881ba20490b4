#include "cxl/numa_nodes.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

#include "base/bounds.hpp"
#include "cxl/kernel_files.hpp"

namespace maru::cxl {

namespace {

namespace fs = std::filesystem;

bool is_number(std::string_view text, int& value) {
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc{} && end == text.data() + text.size();
}

// "Node 1 MemTotal:   524288 kB"
void read_memory(const fs::path& entry, numa_node& node) {
  std::ifstream in{entry / "meminfo"};
  for (std::string line; std::getline(in, line);) {
    std::istringstream words{line};
    std::string word, id, name;
    std::uint64_t kib = 0;
    words >> word >> id >> name >> kib;
    if (name == "MemTotal:")
      node.size = kib * bounds::KiB;
    if (name == "MemFree:")
      node.free = kib * bounds::KiB;
  }
}

// Distances to all nodes that are online, in the order of their ids.
std::vector<std::uint32_t> read_distances(const fs::path& entry) {
  std::ifstream in{entry / "distance"};
  std::vector<std::uint32_t> all;
  for (std::uint32_t distance = 0; in >> distance;)
    all.push_back(distance);
  return all;
}

}  // namespace

std::vector<numa_node> numa_nodes(const fs::path& root) {
  auto folder = root / "sys/devices/system/node";
  std::vector<numa_node> nodes;
  for (const auto& name : names_in(folder, "node")) {
    numa_node node;
    if (!is_number(std::string_view{name}.substr(4), node.id))
      continue;
    node.has_cpus = !read_line(folder / name / "cpulist").value_or("").empty();
    read_memory(folder / name, node);
    nodes.push_back(node);
  }
  for (auto& node : nodes) {
    auto distances = read_distances(folder / ("node" + std::to_string(node.id)));
    for (std::size_t i = 0; i < std::min(distances.size(), nodes.size()); ++i)
      if (nodes[i].has_cpus && (node.distance == 0 || distances[i] < node.distance))
        node.distance = distances[i];
  }
  std::erase_if(nodes, [](const numa_node& node) { return node.size == 0; });
  return nodes;
}

}  // namespace maru::cxl
