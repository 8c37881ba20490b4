// The instructions are described in the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2 (CLFLUSH,
// CLFLUSHOPT, CLWB, MFENCE, MOVNTDQ, SFENCE); how to find out which there are in volume 2A, CPUID, leaf 7: EBX bit 23 is
// CLFLUSHOPT, bit 24 CLWB. AMD's manual (volume 3) has the same.
#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "cxl/cache_instructions.hpp"

namespace maru::cxl {

namespace {

constexpr std::size_t line_bytes = 64;

void clflush(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    _mm_clflush(line);
}

__attribute__((target("clflushopt"))) void clflushopt(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    _mm_clflushopt(const_cast<std::byte*>(line));
}

__attribute__((target("clwb"))) void clwb(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    _mm_clwb(const_cast<std::byte*>(line));
}

// Non-temporal stores go to memory past the caches, and a line that was in a cache leaves it (volume 1, section
// "Caching of Temporal vs. Non-Temporal Data": all but processors before x86-64). Linux relies on it for persistent
// memory, too: arch/x86/lib/usercopy_64.c, __memcpy_flushcache.
void copy_by_16(std::byte* to, const std::byte* from, std::size_t size) {
  for (auto* end = to + size; to < end; to += line_bytes, from += line_bytes) {
    auto* lane = reinterpret_cast<__m128i*>(to);
    auto* source = reinterpret_cast<const __m128i*>(from);
    auto a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1), c = _mm_loadu_si128(source + 2),
         d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(lane, a);
    _mm_stream_si128(lane + 1, b);
    _mm_stream_si128(lane + 2, c);
    _mm_stream_si128(lane + 3, d);
  }
}

__attribute__((target("avx"))) void copy_by_32(std::byte* to, const std::byte* from, std::size_t size) {
  for (auto* end = to + size; to < end; to += line_bytes, from += line_bytes) {
    auto* lane = reinterpret_cast<__m256i*>(to);
    auto* source = reinterpret_cast<const __m256i*>(from);
    auto a = _mm256_loadu_si256(source), b = _mm256_loadu_si256(source + 1);
    _mm256_stream_si256(lane, a);
    _mm256_stream_si256(lane + 1, b);
  }
}

__attribute__((target("avx512f"))) void copy_by_64(std::byte* to, const std::byte* from, std::size_t size) {
  for (auto* end = to + size; to < end; to += line_bytes, from += line_bytes)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
}

// The least time that it takes to write dirty lines back.
std::chrono::nanoseconds least_time(void (*write_back)(const std::byte*, const std::byte*)) {
  constexpr int tries = 8;
  alignas(line_bytes) std::array<std::byte, 64 * line_bytes> lines;
  auto least = std::chrono::nanoseconds::max();
  for (int i = 0; i < tries; ++i) {
    std::memset(lines.data(), i, lines.size());
    auto begun = std::chrono::steady_clock::now();
    write_back(lines.data(), lines.data() + lines.size());
    _mm_sfence();
    least = std::min<std::chrono::nanoseconds>(least, std::chrono::steady_clock::now() - begun);
  }
  return least;
}

// CLWB leaves the line to this host's readers, so it is better than CLFLUSHOPT. But there are processors on which it drops
// the line all the same and takes eight times as long (Cascade Lake, see bench/README.md). CPUID does not tell, so it is
// tried.
bool clwb_pays() { return least_time(&clwb) <= 2 * least_time(&clflushopt); }

cache_instructions ask_cpuid() {
  constexpr unsigned clflushopt_bit = 1u << 23, clwb_bit = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0)
    b = 0;
  cache_instructions out{line_bytes, {{"clflush", &clflush}}, {{"clflush", &clflush}}, {{"movntdq", &copy_by_16}}};
  auto best = [](auto& list, auto one) { list.insert(list.begin(), one); };
  if (b & clflushopt_bit) {
    best(out.write_back, line_action{"clflushopt", &clflushopt});
    best(out.drop, line_action{"clflushopt", &clflushopt});  // CLWB would not do: it may keep the line
  }
  if (b & clwb_bit)
    out.write_back.insert(out.write_back.begin() + (b & clflushopt_bit && !clwb_pays() ? 1 : 0), {"clwb", &clwb});
  if (__builtin_cpu_supports("avx"))
    best(out.copy, line_copy{"vmovntdq ymm", &copy_by_32});
  if (__builtin_cpu_supports("avx512f"))
    best(out.copy, line_copy{"vmovntdq zmm", &copy_by_64});
  return out;
}

}  // namespace

const std::optional<cache_instructions>& cache_instructions::of_this_processor() {
  static const std::optional<cache_instructions> have = ask_cpuid();
  return have;
}

// CLWB and CLFLUSHOPT are ordered after older stores to the same line, and by SFENCE before whatever tells of the
// commit. So are non-temporal stores, also those that a large memcpy makes.
void finish_write_backs() { _mm_sfence(); }

// CLFLUSHOPT is ordered by MFENCE with loads before and after it.
void finish_drops() { _mm_mfence(); }

}  // namespace maru::cxl

#endif
