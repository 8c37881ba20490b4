#include "cxl/dax_bus.hpp"

#include <array>
#include <string_view>
#include <system_error>
#include <utility>

#include "cxl/kernel_files.hpp"

namespace maru::cxl {

namespace fs = std::filesystem;

namespace {

dax_mode mode_of(std::string_view driver) {
  if (driver.empty())
    return dax_mode::unbound;
  return driver == "device_dax" ? dax_mode::devdax : driver == "kmem" ? dax_mode::system_ram : dax_mode::other;
}

// By the devices above it: ".../hmem.0/dax0.0", ".../ndbus0/region0/dax1.0/dax1.0", ".../region0/dax_region0/dax2.0".
std::string origin_of(const fs::path& entry) {
  constexpr std::array<std::pair<std::string_view, const char*>, 3> known = {
    {{"hmem", "hmem"}, {"ndbus", "nvdimm"}, {"dax_region", "cxl"}}};
  std::error_code none;
  auto place = fs::weakly_canonical(entry, none).parent_path();
  for (const auto& part : place)
    for (const auto& [prefix, origin] : known)
      if (part.string().starts_with(prefix))
        return origin;
  return place.filename().string();
}

void read_ranges(const fs::path& entry, dax_bus_device& device) {
  for (const auto& name : names_in(entry, "mapping")) {
    if (name == "mapping")  // a file, by which ranges are made
      continue;
    ++device.range_count;
    auto start = read_number(entry / name / "start");
    auto end = read_number(entry / name / "end");
    auto page_offset = read_number(entry / name / "page_offset");
    if (start && end && page_offset)
      device.ranges.push_back({*start, *end, *page_offset});
  }
}

}  // namespace

std::string_view to_string(dax_mode mode) {
  switch (mode) {
    case dax_mode::devdax: return "devdax";
    case dax_mode::system_ram: return "system-ram";
    case dax_mode::unbound: return "unbound";
    case dax_mode::other: break;
  }
  return "other";
}

std::vector<dax_bus_device> dax_bus_devices(const fs::path& root) {
  auto bus = root / "sys/bus/dax/devices";
  std::vector<dax_bus_device> found;
  for (const auto& name : names_in(bus, "dax")) {
    auto entry = bus / name;
    dax_bus_device device;
    device.name = name;
    device.path = "/dev/" + name;
    device.size = read_number(entry / "size").value_or(0);
    if (device.size == 0)  // the kernel keeps an empty one at hand, to be given memory by daxctl
      continue;
    device.align = read_number(entry / "align").value_or(0);
    device.node = read_node(entry / "target_node");
    device.driver = link_name(entry / "driver");
    device.mode = mode_of(device.driver);
    device.origin = origin_of(entry);
    read_ranges(entry, device);
    found.push_back(std::move(device));
  }
  return found;
}

}  // namespace maru::cxl
