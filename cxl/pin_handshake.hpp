// How a reader pins a page and an evictor takes it away, without a message between them: each writes first and looks at
// what the other one wrote second, with a full fence in between, so at least one of them sees the other (Dekker's
// handshake; E. W. Dijkstra, "Cooperating sequential processes", 1965).
//
//   reader (a worker)                         evictor (marud)
//   slot := page                              state := evicting, of each victim
//   fence                                     fence
//   state as before? read the bytes,          page in any slot of any table? state := committed: step back
//   then slot := 0                            else: forget the entry, state := free with the next generation
//   else: slot := 0, ask by message
//
// Written over a `Words` policy, so that tests/cxl/handshake_model_test.cpp runs these very lines through every
// interleaving, with stores that stay in a store buffer as long as the fences let them. docs/fast-path.md has the argument.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/kill_point.hpp"

namespace maru::cxl {

// The words of memory that processes share. 64-bit atomics are free of locks, and so of addresses, on all our machines.
struct shared_words {
  using word = std::atomic_ref<std::uint64_t>;
  static_assert(word::is_always_lock_free);
  // ThreadSanitizer knows no fences, but sees none of the loads that this one is for either: they are the kernel's.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
  // The slot names the page: where a worker may die.
  static void named() { kill_point(kill_at::pin_named); }
  static void full_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
#pragma GCC diagnostic pop
};

// Reader: names the page in its slot; true where the page's state word is still `expected` then, and so the page stays
// until end_pin. REQUIRES: the slot is free, and this session's alone to write.
template <class Words = shared_words>
bool take_pin(typename Words::word slot, std::uint64_t page, typename Words::word state, std::uint64_t expected) {
  // Both sequentially consistent: they are in one total order with the evictor's fence, and the load is after the store.
  slot.store(page, std::memory_order_seq_cst);
  Words::named();
  if (state.load(std::memory_order_seq_cst) == expected)
    return true;
  slot.store(0, std::memory_order_release);
  return false;
}

// Evictor, of each victim; then a full fence, then it looks at the tables.
template <class Word>
void announce(Word state, std::uint64_t evicting) {
  state.store(evicting, std::memory_order_release);
}

// Reader: its last load of the page's bytes is before this.
template <class Words = shared_words>
void end_pin(typename Words::word slot) {
  slot.store(0, std::memory_order_release);
}

}  // namespace maru::cxl
