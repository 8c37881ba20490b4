// What lies on a device, found out without changing anything there.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "cxl/serving_beat.hpp"
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
  std::uint64_t bytes = 0;           // of the device or file
  std::uint64_t metadata_bytes = 0;  // that are there
  std::uint64_t data_bytes = 0;      // there is room for, behind metadata that lies inside
  bool data_blank = true;            // both ends of it are zeros
  head top;
};

// `invalid`: neither file nor Device-DAX device, or one that cannot be opened now; the message says why. `memory_failed`: what
// says what it is cannot be read.
result<inspection> inspect(const std::string& path);

// Bytes of storage that a file has; 0 where there is none.
std::uint64_t allocated_bytes(const std::string& path);

// The serving lock, as a beat names it.
lock_identity lock_identity_of(const std::string& path);

// Where the device with this UUID is: at `path`, or, for one whose metadata lies inside, at another Device-DAX node (their
// numbers change from boot to boot, and from host to host). Empty: nowhere.
std::string find_device(const uuid& device, const std::string& path);

// The same for the first device of a pool.
std::string find_first_device(const uuid& pool, const std::string& path);

// True where a marud serves an inspected device that the serving lock here does not keep out: one of another host, or of a
// container with a node of its own of the same device. Blocks for up to serving_beat_patience where the last marud was such a
// one, and did not end in order. `memory_failed`, and what opening it may give.
result<bool> is_served_elsewhere(const inspection& found);

// True where a process holds the serving lock. `io`: nobody can tell.
result<bool> is_served(const std::string& path);

// Chunks that the descriptors of an inspected pool say are committed. REQUIRES: its head is valid.
result<std::uint64_t> committed_chunks(const inspection& found);

}  // namespace maru::cxl
