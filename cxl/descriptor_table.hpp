// The page descriptors of a device, in shared memory. Each line has one writer at a time (the protocol between the
// actors sees to that); a reader, in marud or in a worker that maps the metadata, sees a line's fields before its word.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "cxl/layout.hpp"

namespace maru::cxl {

// A view of the descriptor lines; does not own the memory.
// Concurrency: different slots from different threads freely; one slot from one thread at a time.
class descriptor_table {
public:
  descriptor_table() = default;
  // `base` is 64-byte aligned and holds `slots` lines.
  descriptor_table(std::byte* base, std::uint64_t slots) : base_(base), slots_(slots) {}

  std::uint64_t slots() const { return slots_; }

  // The descriptor of a slot; empty where its crc does not fit (torn or damaged). All zeros reads as free,
  // generation 0. REQUIRES: slot < slots().
  std::optional<descriptor> read(std::uint64_t slot) const;

  // Has the line on its way when it is read soon.
  void prefetch(std::uint64_t slot) const { __builtin_prefetch(line(slot)); }

  // The generation and state in the word, whatever the crc says.
  page_state raw_state(std::uint64_t slot) const;
  generation raw_generation(std::uint64_t slot) const;

  // The word as an atomic, for the handshake of pin_handshake.hpp, and what it reads for this descriptor.
  std::atomic_ref<std::uint64_t> state_word(std::uint64_t slot) const;
  static std::uint64_t word_of(const descriptor& d);

  // Writes fields and crc, then the word with release order.
  void write(std::uint64_t slot, const descriptor& d);

  // Changes the state alone: one store. REQUIRES: the slot was written before (an all-zero line has no crc that fits).
  void set_state(std::uint64_t slot, page_state state);

  // Marks pages as on their way out, before it is looked who holds them: who looks has a full fence in front of that. See
  // pin_handshake.hpp. REQUIRES: as set_state.
  void announce_eviction(std::span<const std::uint64_t> slots);

  // For tests that damage a line.
  std::byte* line(std::uint64_t slot) const { return base_ + slot * descriptor_bytes; }

private:
  std::byte* base_ = nullptr;
  std::uint64_t slots_ = 0;
};

}  // namespace maru::cxl
