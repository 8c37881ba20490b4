// Tells whether a file was written or replaced since it was read last, so that what it holds is taken up while running.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace maru {

// All zeros for a file that is not there. Links are followed: of files that are swapped by a link, as Kubernetes does
// it, the one behind it counts.
struct file_stamp {
  std::uint64_t device = 0, inode = 0;
  std::int64_t size = 0, changed_s = 0, changed_ns = 0;

  friend bool operator==(const file_stamp&, const file_stamp&) = default;
};

inline file_stamp stamp_of(const std::string& path) {
  struct stat s = {};
  if (::stat(path.c_str(), &s) != 0)
    return {};
  return {s.st_dev, s.st_ino, s.st_size, s.st_ctim.tv_sec, s.st_ctim.tv_nsec};
}

}  // namespace maru
