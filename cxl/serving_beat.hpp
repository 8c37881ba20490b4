// Keeps a marud of another host away from a device that both hosts see: a lock is a matter of one kernel. Who serves a device
// counts in a line of its metadata; who wants to, and finds that another host served it last, looks whether that goes on.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cxl/layout.hpp"

namespace maru::cxl {

using namespace std::chrono_literals;

// Where it lies: in the block of the first superblock, behind that.
inline constexpr std::uint64_t serving_beat_offset = 64 * bounds::KiB;
inline constexpr std::size_t serving_beat_bytes = 64;
inline constexpr auto serving_beat_interval = 1s;
// A beat that is late by this is that of somebody who serves no more. A busy machine may be late by several intervals.
inline constexpr auto serving_beat_patience = 10 * serving_beat_interval;

// The file that keeps a second marud away on the host of the one that serves: its device and inode number. A container may have
// another node of the same device, which is another lock.
struct lock_identity {
  std::uint64_t device = 0, inode = 0;
  friend bool operator==(const lock_identity&, const lock_identity&) = default;
};

// Over mapped metadata, which it does not own. The line is written back and read anew whatever the pool's visibility is.
// Concurrency: one thread.
class serving_beat {
public:
  serving_beat() = default;
  // REQUIRES: at least serving_beat_offset + serving_beat_bytes, 64-byte aligned, and writable for beat() and end().
  explicit serving_beat(std::span<std::byte> metadata)
      : line_(metadata.subspan(serving_beat_offset, serving_beat_bytes)) {}

  // Counts one on: somebody serves the device, under this lock. At least every serving_beat_interval.
  void beat(const lock_identity& lock);
  // Nobody does any more.
  void end();
  // The count; 0: it was served by nobody, or ended in order.
  std::uint64_t read() const;
  // Of the last beat.
  lock_identity lock() const;
  // True where it goes on within serving_beat_patience. Blocks as long, unless it reads 0.
  bool goes_on() const;

private:
  void write(std::uint64_t count);
  std::span<std::byte> line_;
};

}  // namespace maru::cxl
