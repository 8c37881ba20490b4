// The instructions are described in the Arm Architecture Reference Manual for A-profile architecture (DDI 0487), chapter
// "The AArch64 Application Level Memory Model", section "Caches and memory hierarchy", and in "AArch64 System Register
// Descriptions" (CTR_EL0, DC CVAC, DC CIVAC). Linux lets programs use them (SCTLR_EL1.UCI and UCT), and gives the smallest
// line of all cores where they differ.
// Limits: they reach the point of coherency of this host. A cache behind it, as some systems have one in front of their
// memory controllers, is not reached by any instruction; whether there is one before the CXL port, its maker must say.
#if defined(__aarch64__)

#include <cstdint>
#include <cstring>

#include "cxl/cache_instructions.hpp"

namespace maru::cxl {

namespace {

// CTR_EL0.DminLine, bits 19 to 16: the smallest line of all data caches, as log2 of words of 4 bytes.
std::size_t smallest_line() {
  std::uint64_t type;
  asm("mrs %0, ctr_el0" : "=r"(type));
  return std::size_t{4} << (type >> 16 & 0xf);
}

const std::size_t line_bytes = smallest_line();

void clean(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    asm volatile("dc cvac, %0" : : "r"(line) : "memory");
}

void clean_and_invalidate(const std::byte* line, const std::byte* end) {
  for (; line < end; line += line_bytes)
    asm volatile("dc civac, %0" : : "r"(line) : "memory");
}

// STNP is a hint only, and what it stored must be cleaned as well: plain stores are as good.
void copy_and_clean(std::byte* to, const std::byte* from, std::size_t size) {
  std::memcpy(to, from, size);
  clean(to, to + size);
}

}  // namespace

// No program may invalidate without writing back first (DC IVAC), which would throw away what others of the host stored.
const std::optional<cache_instructions>& cache_instructions::of_this_processor() {
  static const std::optional<cache_instructions> have =
    cache_instructions{smallest_line(),
                       {{"dc cvac", &clean}, {"dc civac", &clean_and_invalidate}},
                       {{"dc civac", &clean_and_invalidate}},
                       {{"memcpy, dc cvac", &copy_and_clean}}};
  return have;
}

// DC by address is ordered after older stores to the same line, and done once a DSB is; nothing after the DSB begins
// before that. SY: what waits for it is outside of this host's shareability domains.
void finish_write_backs() { asm volatile("dsb sy" : : : "memory"); }
void finish_drops() { asm volatile("dsb sy" : : : "memory"); }

}  // namespace maru::cxl

#endif
