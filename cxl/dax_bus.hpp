// The devices of the kernel's dax bus: memory that is set apart for mapping. Read from sysfs alone, so that a device that
// nobody may open (in system-ram mode, or of another user's) is told of, too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace maru::cxl {

enum class dax_mode : std::uint8_t {
  devdax,      // bound to device_dax: it can be mapped
  system_ram,  // bound to kmem: ordinary memory of a NUMA node; open gives ENXIO
  unbound,     // no driver has it
  other,       // a driver that this version does not know
};
std::string_view to_string(dax_mode mode);

// A stretch of physical memory that the device is made of. A device of several has them one after the other.
struct dax_range {
  std::uint64_t start = 0;        // physical address of the first byte
  std::uint64_t end = 0;          // and of the last one
  std::uint64_t page_offset = 0;  // where in the device it begins, in pages of the system
};

struct dax_bus_device {
  std::string name;         // dax0.0
  std::string path;         // /dev/dax0.0
  std::uint64_t size = 0;   // bytes
  std::uint64_t align = 0;  // bytes; offsets and lengths of mappings are multiples of it
  int node = -1;            // NUMA node of the memory; -1: not known
  dax_mode mode = dax_mode::unbound;
  std::string driver;  // "device_dax", "kmem", ...; empty: none
  std::string origin;  // who made it: "hmem" (memory that firmware reserved), "cxl", "nvdimm", or a device's name
  std::size_t range_count = 0;
  std::vector<dax_range> ranges;  // empty unless root asks
};

// All devices with memory, by name, as the sysfs below `root` has them: "/" on the machine.
std::vector<dax_bus_device> dax_bus_devices(const std::filesystem::path& root);

}  // namespace maru::cxl
