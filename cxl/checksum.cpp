#include "cxl/checksum.hpp"

#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

namespace maru::cxl {

// The plain entry point is compiled for the least of processors: 18 GB/s where the dispatching one does 80.
std::uint64_t payload_checksum(std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  auto sum = XXH3_64bits_dispatch(bytes.data(), bytes.size());
#else
  auto sum = XXH3_64bits(bytes.data(), bytes.size());
#endif
  return sum == 0 ? 1 : sum;
}

}  // namespace maru::cxl
