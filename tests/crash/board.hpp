// What the workers of a crash test know of every key: memory in a file, shared by the workers and the test, so that it
// outlives any of them. A worker writes what it is about to do before it asks marud, and what marud answered before it
// goes on.
//
// Keys come in slots. A slot belongs to one worker: only that one puts and removes its keys, so what was acknowledged
// decides what must be found; everybody reads. A slot's key has an incarnation: once a key was removed, the slot may go
// on with the next one, and the removed one must never be found again, whatever its page holds by then.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "tests/support/random_run.hpp"
#include "tests/system/content.hpp"

namespace maru::test {

inline constexpr std::uint32_t crash_workers = 4, crash_slots = 20'000, crash_page_bytes = 4096;

enum class expected : std::uint8_t {
  absent,    // removed, and that was acknowledged; or never put
  present,   // put, and that was acknowledged
  in_doubt,  // something is under way, or its answer never came
};

// A slot at one moment. Two that are equal, of two moments, say that nothing was done to the slot in between.
struct slot_word {
  std::uint64_t changes : 38;
  std::uint64_t incarnation : 24;
  std::uint64_t state_bits : 2;

  expected state() const { return static_cast<expected>(state_bits); }
  bool operator==(const slot_word&) const = default;
};
static_assert(sizeof(slot_word) == sizeof(std::uint64_t));

inline std::string key_of(std::uint32_t slot, std::uint64_t incarnation) {
  return "slot" + std::to_string(slot) + "#" + std::to_string(incarnation);
}

// From one byte to a whole page; both often.
inline std::size_t size_of(std::uint32_t slot, std::uint64_t incarnation) {
  auto n = mixed(slot + incarnation * crash_slots);
  switch (n % 8) {
    case 0: return 1;
    case 1: return crash_page_bytes;
    default: return 1 + (n >> 8) % crash_page_bytes;
  }
}

// The bytes of a key, all of which follow from it: a torn page is seen.
inline std::string bytes_of(std::uint32_t slot, std::uint64_t incarnation) {
  return content_of(key_of(slot, incarnation), size_of(slot, incarnation));
}

// Concurrency: any thread of any process; `set` for a slot by its worker alone.
class board {
public:
  // Makes the file, or maps the one that is there.
  explicit board(const std::string& path);
  ~board();
  board(const board&) = delete;
  board& operator=(const board&) = delete;

  slot_word at(std::uint32_t slot) const { return memory_->slots[slot].load(); }
  void set(std::uint32_t slot, std::uint64_t incarnation, expected state) {
    auto changes = at(slot).changes + 1;
    memory_->slots[slot].store({changes, incarnation, static_cast<std::uint64_t>(state)});
  }

  using counter = std::atomic<std::uint64_t>;
  struct counters {
    counter puts, removes, reads, hits;  // keys
    counter lost;                        // acknowledged, not removed, and not found: evicted
    counter views_checked, pins_checked;
    counter sessions_lost;
    std::array<counter, static_cast<std::size_t>(ec::last_) + 1> errors;
  };
  counters& counts() { return memory_->counts; }
  void count_error(ec code) { ++memory_->counts.errors[static_cast<std::size_t>(code)]; }

private:
  struct memory {
    std::array<std::atomic<slot_word>, crash_slots> slots;
    counters counts;
  };
  memory* memory_;
};

// What a read of a slot's key told, held against the board as it was before and after it. Empty: all is well.
//   wrong bytes: never right. An acknowledged key that is missing: right only where `evicts`.
//   A removed key that is there: never right.
std::string contradiction(std::uint32_t slot, slot_word before, slot_word after, std::uint64_t incarnation, bool hit,
                          bool evicts);

}  // namespace maru::test
