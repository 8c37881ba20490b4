// Architectures whose instructions nobody has written down here yet: their pools have hardware visibility only.
#if !defined(__x86_64__) && !defined(__aarch64__)

#include "cxl/cache_instructions.hpp"

namespace maru::cxl {

const std::optional<cache_instructions>& cache_instructions::of_this_processor() {
  static const std::optional<cache_instructions> none;
  return none;
}

void finish_write_backs() {}
void finish_drops() {}

}  // namespace maru::cxl

#endif
