// What lies on a device, found out without changing anything there.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "cxl/superblock_pair.hpp"

namespace maru::cxl {

// Files beside a device's data, of a pool whose metadata does not lie inside.
std::string metadata_path(const std::string& path);
// The file that whoever serves the device holds locked: one beside it, or a character device itself.
std::string serving_lock_path(const std::string& path);

// Looked at, at both ends of data that nobody knows.
inline constexpr std::size_t data_probe_bytes = 64 * bounds::KiB;

struct inspection {
  std::string path;        // the real one
  bool exists = false;     // the device or file of the data
  bool is_inside = false;  // metadata lies on it, in front of the data
  bool has_metadata = false;
  std::uint64_t bytes = 0;            // of the device or file
  std::uint64_t metadata_bytes = 0;   // that are there
  std::uint64_t data_bytes = 0;       // there is room for, behind metadata that lies inside
  std::uint64_t allocated_bytes = 0;  // storage that the data's file has; a device has all of it
  bool data_blank = true;             // both ends of it are zeros
  head top;
};

// `invalid`: neither file nor Device-DAX device, or one that cannot be opened now; the message says why.
result<inspection> inspect(const std::string& path);

// Where the device with this UUID is: at `path`, or, for one whose metadata lies inside, at another Device-DAX node (their
// numbers change from boot to boot, and from host to host). Empty: nowhere.
std::string find_device(const uuid& device, const std::string& path);

// True where a process holds the serving lock. `io`: nobody can tell.
result<bool> is_served(const std::string& path);

// Chunks that the descriptors of an inspected pool say are committed. REQUIRES: its head is valid.
result<std::uint64_t> committed_chunks(const inspection& found);

}  // namespace maru::cxl
