// What is mounted where, as /proc/self/mountinfo tells it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace maru::cxl {

struct mount_entry {
  std::string path;           // where it is mounted
  std::string type;           // "tmpfs", "ext4", ...
  std::string source;         // "/dev/pmem0", "tmpfs", ...
  std::string device;         // "259:0": numbers of its block device
  std::string mount_options;  // of this mount: "rw,relatime"
  std::string options;        // of the file system: "rw,size=64k"

  bool writable() const;
  // The value of an option of the file system, "" for one without a value; empty where it is not given.
  std::optional<std::string> option(std::string_view name) const;
};

// In the order of the kernel, without what a later mount on the same place hides. Lines in another form are left out.
std::vector<mount_entry> mount_table(const std::filesystem::path& root);

}  // namespace maru::cxl
