// How a reader pins a page and an evictor takes it away, without a message between them: each writes first and looks at
// what the other one wrote second, with a full fence in between, so at least one of them sees the other (Dekker's
// handshake; E. W. Dijkstra, "Cooperating sequential processes", 1965).
//
//   reader (a worker)                         evictor (marud)
//   take_pin: slot := page                    announce: state := evicting, of each victim
//             fence                           settle:   fence
//   state as before? read the bytes,          read all slots of all tables
//   end_pin:  slot := 0                       conclude: the pins that were not seen are over
//   else: slot := 0, ask by message           page in any slot? state := committed: step back
//                                             else: forget the entry, state := free with the next generation
//
// Written over a `Words` policy, so that tests/cxl/handshake_model_test.cpp runs these very lines through every
// interleaving, over memory that is as weak as x86, Arm and C++20 allow. docs/fast-path.md has the argument.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/kill_point.hpp"

namespace maru::cxl {

// The words of memory that processes share. 64-bit atomics are free of locks, and so of addresses, on all our machines.
struct shared_words {
  using word = std::atomic_ref<std::uint64_t>;
  static_assert(word::is_always_lock_free);
  // The slot names the page: where a worker may die.
  static void named() { kill_point(kill_at::pin_named); }

  // ThreadSanitizer has the fences made, but does not follow what they order, which GCC warns of. Nothing that it could
  // take for a race hangs on them in marud, which reads the slots from files; a test that reads them in place for it
  // loads with acquire order.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
  static void full_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
  static void acquire_fence() { std::atomic_thread_fence(std::memory_order_acquire); }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
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

// Reader: its last load of the page's bytes is before this.
template <class Words = shared_words>
void end_pin(typename Words::word slot) {
  slot.store(0, std::memory_order_release);
}

// Evictor: marks a victim; `evicting` is its state word with that state. Nobody who looks at the word from now on pins.
template <class Words = shared_words>
void announce(typename Words::word state, std::uint64_t evicting) {
  state.store(evicting, std::memory_order_release);
}

// Evictor: after the last victim of a batch was announced and before the first slot is read. A pin of a victim either
// is in its slot for all reads from here on, or fails.
template <class Words = shared_words>
void settle() {
  Words::full_fence();
}

// Evictor: after the last slot was read and before anything is done to a victim that no slot named: what those who held
// it have read is read.
template <class Words = shared_words>
void conclude() {
  Words::acquire_fence();
}

}  // namespace maru::cxl
