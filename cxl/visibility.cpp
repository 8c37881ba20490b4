#include "cxl/visibility.hpp"

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace maru::cxl {

// GCC warns that ThreadSanitizer does not understand fences. There is nothing here for it to miss: the other side is
// another process, which it cannot see.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

void hardware_visibility::publish(std::span<const std::byte>) const {
  std::atomic_thread_fence(std::memory_order_release);
}

void hardware_visibility::acquire(std::span<const std::byte>) const {
  std::atomic_thread_fence(std::memory_order_acquire);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

// The instructions are described in the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A
// (CLFLUSH, CLFLUSHOPT, CLWB) and 2B (MFENCE, SFENCE); how to find out which there are in volume 2A, CPUID, leaf 7:
// EBX bit 23 is CLFLUSHOPT, bit 24 CLWB. AMD's manual (volume 3) has the same.
#if defined(__x86_64__)

namespace {

constexpr std::uintptr_t line_bytes = 64;

void flush(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    _mm_clflush(line);
}

__attribute__((target("clflushopt"))) void flush_unordered(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    _mm_clflushopt(const_cast<std::byte*>(line));
}

__attribute__((target("clwb"))) void write_back(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    _mm_clwb(const_cast<std::byte*>(line));
}

template <class Loop>
void for_each_line(std::span<const std::byte> bytes, Loop loop) {
  if (!bytes.empty())
    loop(bytes.data() - reinterpret_cast<std::uintptr_t>(bytes.data()) % line_bytes, bytes.data() + bytes.size());
}

}  // namespace

std::optional<software_visibility::instructions> software_visibility::of_this_cpu() {
  constexpr unsigned clflushopt = 1u << 23, clwb = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
    return instructions{};
  return instructions{(b & clflushopt) != 0, (b & clwb) != 0};
}

software_visibility::software_visibility(instructions have)
    : write_back_(have.clwb         ? &maru::cxl::write_back
                  : have.clflushopt ? &flush_unordered
                                    : &flush),
      invalidate_(have.clflushopt ? &flush_unordered : &flush) {}

// CLWB and CLFLUSHOPT are ordered after older stores to the same line, and by SFENCE before whatever tells of the
// commit. SFENCE covers non-temporal stores too, which a large memcpy makes.
void software_visibility::publish(std::span<const std::byte> bytes) const {
  for_each_line(bytes, write_back_);
  _mm_sfence();
}

// The first fence keeps the flushes after the load of the answer that told of the chunk, the second keeps the reader's
// loads after the flushes; CLFLUSHOPT alone is ordered with neither. CLWB would not do: it may keep the line.
void software_visibility::acquire(std::span<const std::byte> bytes) const {
  _mm_mfence();
  for_each_line(bytes, invalidate_);
  _mm_mfence();
}

#else

std::optional<software_visibility::instructions> software_visibility::of_this_cpu() { return std::nullopt; }
software_visibility::software_visibility(instructions) : write_back_(nullptr), invalidate_(nullptr) {}
void software_visibility::publish(std::span<const std::byte>) const {}
void software_visibility::acquire(std::span<const std::byte>) const {}

#endif

std::string_view to_string(coherence mode) { return mode == coherence::software ? "software" : "hardware"; }

result<std::shared_ptr<const visibility>> make_visibility(coherence mode) {
  if (mode == coherence::hardware)
    return std::shared_ptr<const visibility>{std::make_shared<hardware_visibility>()};
  auto have = software_visibility::of_this_cpu();
  if (!have)
    return {ec::invalid, "failed to make software visibility: it is there for x86-64 only, use a pool with hardware"};
  return std::shared_ptr<const visibility>{std::make_shared<software_visibility>(*have)};
}

}  // namespace maru::cxl
