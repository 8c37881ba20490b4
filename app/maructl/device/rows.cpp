#include "app/maructl/device/rows.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/maructl/device/advice.hpp"
#include "app/maructl/device/pool_files.hpp"
#include "cxl/file_rights.hpp"

namespace maru::ctl {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

template <class T>
json known(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

json node_or_null(int node) { return node >= 0 ? json(node) : json(); }

// A row with what every kind has.
class row {
public:
  row(const fs::path& root, const std::string& path, std::string_view kind) {
    out_ = {{"path", path},    {"kind", kind}, {"size", nullptr}, {"free", nullptr},    {"align", nullptr},
            {"node", nullptr}, {"mode", ""},   {"access", ""},    {"contents", nullptr}};
    if (path.starts_with('/'))
      if (auto rights = cxl::rights_of(below(root, path)))
        out_["access"] = cxl::to_string(*rights);
  }
  row& add(const char* name, json value) {
    out_[name] = std::move(value);
    return *this;
  }
  json with(const advice& a) {
    out_["options"] = a.options;
    out_["first"] = a.first;
    return std::move(out_);
  }

private:
  json out_;
};

json dax_row(const cxl::dax_device& device, const fs::path& root, const look_at& look) {
  auto ranges = json::array();
  for (const auto& range : device.ranges)
    ranges.push_back({{"start", range.start}, {"end", range.end}, {"page_offset", range.page_offset}});
  row out{root, device.path, "devdax"};
  out.add("size", device.size)
    .add("align", device.align)
    .add("node", node_or_null(device.node))
    .add("mode", std::string{cxl::to_string(device.mode)})
    .add("driver", device.driver)
    .add("origin", device.origin)
    .add("range_count", device.range_count)
    .add("ranges", std::move(ranges));
  if (device.mode == cxl::dax_mode::devdax)
    out.add("contents", look(device.path));
  return out.with(advise(device));
}

json disk_row(const cxl::pmem_disk& disk, const fs::path& root) {
  return row{root, disk.path, "pmem"}
    .add("size", disk.size)
    .add("node", node_or_null(disk.node))
    .add("mode", disk.mounted_at.empty() ? "not mounted" : "without dax")
    .with(advise(disk));
}

std::string mode_of(const cxl::memory_mount& mount) {
  std::string mode = mount.huge.empty() ? "" : "huge=" + mount.huge;
  if (!mount.policy.empty())
    mode += (mode.empty() ? "mpol=" : ",mpol=") + mount.policy;
  return mode;
}

// The mount, then the pools in it.
void add_mount(const cxl::memory_mount& mount, const fs::path& root, const look_at& look, json& rows) {
  auto kind = cxl::to_string(mount.kind);
  rows.push_back(row{root, mount.path, kind}
                   .add("size", known(mount.size))
                   .add("free", known(mount.free))
                   .add("align", mount.align)
                   .add("node", node_or_null(mount.node))
                   .add("mode", mode_of(mount))
                   .with(advise(mount)));
  auto folder = below(root, mount.path);
  for (const auto& file : pool_files(folder, mount.kind == cxl::mount_kind::hugetlbfs)) {
    auto path = (fs::path{mount.path} / fs::path{file}.lexically_relative(folder)).string();
    std::error_code none;
    rows.push_back(row{root, path, kind}
                     .add("in", mount.path)
                     .add("size", fs::file_size(file, none))
                     .add("align", mount.align)
                     .add("node", node_or_null(mount.node))
                     .add("contents", look(path))
                     .with({"--pool=" + path, {}}));
  }
}

json node_row(const cxl::numa_node& node, const fs::path& root, const std::string& shm) {
  return row{root, "node" + std::to_string(node.id), "node"}
    .add("size", node.size)
    .add("free", node.free)
    .add("node", node.id)
    .add("mode", "distance " + std::to_string(node.distance))
    .with(advise(node, shm));
}

bool is_mounted(const cxl::device_catalog& catalog, const cxl::huge_page_pool& pool) {
  return std::any_of(catalog.mounts.begin(), catalog.mounts.end(), [&](const auto& mount) {
    return mount.kind == cxl::mount_kind::hugetlbfs && mount.align == pool.page_bytes;
  });
}

}  // namespace

fs::path below(const fs::path& root, const std::string& path) { return root / fs::path{path}.relative_path(); }

json device_rows(const cxl::device_catalog& catalog, const fs::path& root, const look_at& look) {
  auto rows = json::array();
  for (const auto& device : catalog.dax)
    rows.push_back(dax_row(device, root, look));
  for (const auto& disk : catalog.disks)
    if (!disk.mounted_dax)
      rows.push_back(disk_row(disk, root));
  for (const auto& mount : catalog.mounts)
    add_mount(mount, root, look, rows);
  for (const auto& pool : catalog.huge_pages)
    if (pool.total > 0 && !is_mounted(catalog, pool))
      rows.push_back(row{root, "", "hugetlbfs"}
                       .add("size", pool.total * pool.page_bytes)
                       .add("free", pool.available * pool.page_bytes)
                       .add("align", pool.page_bytes)
                       .add("mode", "not mounted")
                       .with(advise(pool)));
  auto shm = std::find_if(catalog.mounts.begin(), catalog.mounts.end(), [](const auto& mount) {
    return mount.kind == cxl::mount_kind::tmpfs && mount.policy.empty();
  });
  for (const auto& node : catalog.nodes)
    if (!node.has_cpus)
      rows.push_back(node_row(node, root, shm == catalog.mounts.end() ? "" : shm->path));
  return rows;
}

}  // namespace maru::ctl
