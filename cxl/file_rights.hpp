// Who may do what with a file or device node, in names that people and udev's rules use.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace maru::cxl {

struct file_rights {
  unsigned mode = 0;  // 0660
  std::string owner;  // a name, or the number where it has none
  std::string group;
};

// Empty where the file is not there, or may not be looked at.
std::optional<file_rights> rights_of(const std::filesystem::path& path);

// "rw-rw---- root:maru", as ls writes them.
std::string to_string(const file_rights& rights);

}  // namespace maru::cxl
