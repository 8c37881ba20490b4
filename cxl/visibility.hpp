// Making a chunk's bytes visible to readers: a contract of its own, with a mode per pool.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>

namespace maru::cxl {

// `hardware`: writer and readers share one coherence domain, so ordering is all that is needed; the messages that
// carry the commit order it across processes too. A `software` mode (cache-line write-back and invalidation between
// hosts without coherence) has the same two calls.

// GCC warns that ThreadSanitizer does not understand fences. There is nothing here for it to miss: the other side is
// another process, which it cannot see.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

// The writer calls this after its last store to a chunk, before it commits.
inline void publish(std::span<const std::byte>) { std::atomic_thread_fence(std::memory_order_release); }

// A reader calls this after its lookup, before its first load from a chunk.
inline void acquire(std::span<const std::byte>) { std::atomic_thread_fence(std::memory_order_acquire); }

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace maru::cxl
