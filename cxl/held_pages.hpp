// Which pages a session holds, written by its worker into the session's own file (the one whose lock proves that the worker
// lives) and read by marud: before a page is evicted or reused, to count pins, and after a restart. So a worker that maps
// the pool pins without a message, and what it has pinned survives a marud that is killed.
//
// Form:  [header: 4 KiB] [use log: 64 KiB] [level 0: 32 KiB] [level 1: 64 KiB] ... [level 5]
// A level is an array of lines of 64 bytes, each of eight slots; a slot is one word that names a page and how it is held, or
// 0. A page has one line in each level, chosen by its hash: marud reads a line a level, not the table. A level is used where
// the line of the one before is full. Pins of one page are counted in the process: the slot is there once.
// All words are little-endian 64-bit atomics. An empty file holds nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/spin_lock.hpp"
#include "base/types.hpp"
#include "base/unique_fd.hpp"
#include "base/uuid.hpp"
#include "cxl/pin_handshake.hpp"

namespace maru::cxl {

// A page, and whether a pin by key holds it (its entry stays) or views do (its bytes stay).
struct page_hold {
  page_ref page;
  bool by_view = false;
  friend bool operator==(const page_hold&, const page_hold&) = default;

  std::uint64_t word() const { return (std::uint64_t{by_view} << 63) | packed(page); }
  static page_hold of(std::uint64_t word) { return {unpacked(word & ~(std::uint64_t{1} << 63)), word >> 63 != 0}; }
};

// What a worker did without marud, since its session began.
struct local_counts {
  std::uint64_t hits = 0, misses = 0;  // of lookups
  std::uint64_t asked = 0;             // keys that it had to ask for by message all the same
  std::uint64_t damaged = 0;           // of those: what lay in the pool made no sense
};

// The form of the file.
class held_pages_file {
public:
  static constexpr std::size_t header_bytes = 4096;
  static constexpr std::size_t log_entries = 16384;  // 4 bytes each
  static constexpr std::size_t slots_per_line = 8, lines_first = 512, levels_max = 6;
  static constexpr std::size_t line_bytes = 64;
  static constexpr std::size_t counter_lines = 8;  // threads count in different ones

  static constexpr std::size_t level_lines(std::size_t level) { return lines_first << level; }
  static constexpr std::size_t level_offset(std::size_t level) {
    return header_bytes + log_entries * sizeof(std::uint32_t)
           + lines_first * line_bytes * ((std::size_t{1} << level) - 1);
  }
  static constexpr std::size_t file_bytes(std::size_t levels) { return level_offset(levels); }
  // The line of a page in a level. Pages that share one share those of all levels before.
  static std::size_t line_of(page_ref page, std::size_t level);

protected:
  // Offsets in the header, each on a line of its own.
  static constexpr std::size_t nonce_at = 0, levels_at = 16, log_head_at = line_bytes, counters_at = 2 * line_bytes;
  // In the use log: the slot of a page's descriptor, +1; with this bit where a view of it was dropped.
  static constexpr std::uint32_t dropped_bit = std::uint32_t{1} << 31;
};

// The worker's side.
// Concurrency: all members from any thread.
// Limits: 258,048 pages held at the same time, and 2^32 - 1 pins of one of them. The file takes its storage step by
// step, ahead of the stores; where there is none left a page finds no place: it is pinned by message then.
class held_pages : public held_pages_file {
public:
  // The file must be there; what it holds is dropped. `io`: it cannot be opened or mapped. `unknown_contents`: it is no
  // session's.
  static result<std::unique_ptr<held_pages>> open(const std::string& path);
  ~held_pages();
  held_pages(const held_pages&) = delete;

  // What marud looks for here, to know that both see the same file.
  void write_nonce(const uuid& nonce);

  // Where a page is held from now on; `none` where there is no place for it.
  using position = std::uint32_t;
  static constexpr position none = UINT32_MAX;
  // Holds a page that a message pinned already.
  position add(const page_hold& hold);
  // Holds a page, if its state word still is `expected` then: from then on it is not reused. `refused` where it is not.
  static constexpr position refused = UINT32_MAX - 1;
  position pin(const page_hold& hold, std::atomic_ref<std::uint64_t> state, std::uint64_t expected);
  // Ends one hold. REQUIRES: add() or pin() gave the position and it was not dropped since, or `none`.
  void drop(position at);

  // Notes that the pages of these descriptor slots were used, the last one most recently.
  void log_use(std::span<const std::uint64_t> slots);
  // Notes that a view of a page was dropped. Views that are dropped one after the other, from first to last, count as
  // used in the reverse order.
  void log_drop(std::uint64_t slot);
  // The views that are dropped from here on are of another request than those before.
  void log_request();

  void count(const local_counts& more);

private:
  // What the process knows of the line of level 0 and those behind it.
  struct alignas(line_bytes) line_guard : spin_lock {};
  held_pages(unique_fd fd, std::byte* memory);
  std::atomic_ref<std::uint64_t> word(std::size_t offset) const;
  // Slots are numbered through all levels.
  std::atomic_ref<std::uint64_t> slot_word(position at) const;
  std::uint32_t& count_of(position at) const;
  line_guard& guard_of(page_ref page) const { return (*guards_)[line_of(page, 0)]; }
  bool grow(std::size_t levels);
  // The slot that has the hold, or a free one; `none` where there is neither. REQUIRES: the page's guard is held.
  position find(const page_hold& hold);
  void append(std::span<const std::uint32_t> entries);

  unique_fd fd_;
  std::byte* memory_;
  std::mutex grow_mutex_;
  std::atomic<std::size_t> levels_{0};
  std::unique_ptr<std::array<line_guard, lines_first>> guards_;
  std::array<std::unique_ptr<std::uint32_t[]>, levels_max> counts_;  // of each slot: how many pins
};

// marud's side. It reads through the file descriptor: a worker that truncates its file must not kill marud.
// Concurrency: all members from any thread.
class held_pages_reader : public held_pages_file {
public:
  // `io`: the file cannot be opened.
  static result<held_pages_reader> open(const std::string& path);
  // Of a file that is there and cannot be opened.
  static held_pages_reader unreadable() { return held_pages_reader{unique_fd{}}; }

  // False where the worker's memory is not this file.
  bool has_nonce(const uuid& nonce) const;

  // Sets what is held of these pages (see kinds); leaves the rest. False where the file cannot be read: then all of them
  // may be. For the handshake the caller has marked the pages, and a full fence is behind it.
  struct kinds {
    bool by_key = false, by_view = false;
    bool any() const { return by_key || by_view; }
  };
  bool look_up(std::span<const page_ref> pages, std::span<kinds> out) const;
  // All that is held, in no order.
  std::vector<page_hold> all() const;

  // The descriptor slots that were used since `cursor`, in the order of their use, of the newest `max` entries of the log;
  // moves the cursor. The slots are a worker's word: anything below 2^31.
  std::vector<std::uint64_t> uses_since(std::uint64_t& cursor, std::size_t max) const;

  local_counts counts() const;

private:
  explicit held_pages_reader(unique_fd fd) : fd_(std::move(fd)) {}
  // False on an error of the file; what is beyond its end reads as zeros.
  bool read(std::uint64_t offset, std::span<std::byte> out) const;
  std::uint64_t word(std::uint64_t offset) const;

  unique_fd fd_;
};

}  // namespace maru::cxl
