// Small files in which the kernel tells of itself (sysfs, procfs). Every answer is empty where there is no such file or it
// may not be read: what one kernel shows another does not, and some of it only root may read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace maru::cxl {

// The first line, without its end.
std::optional<std::string> read_line(const std::filesystem::path& file);
// A file of one number, decimal or with 0x before it.
std::optional<std::uint64_t> read_number(const std::filesystem::path& file);
// The same for what may be -1, such as a NUMA node that is not known.
int read_node(const std::filesystem::path& file);
// The last name of where a link leads, such as the driver's of a device.
std::string link_name(const std::filesystem::path& link);
// Names in a folder that begin with `prefix`, shorter ones first: dax2.0 comes before dax10.0.
std::vector<std::string> names_in(const std::filesystem::path& folder, std::string_view prefix = {});

}  // namespace maru::cxl
