#include "base/crc32c.hpp"

#include <isa-l/crc.h>

namespace maru {

std::uint32_t crc32c(const void* data, std::size_t size) {
  // libisal leaves the initial value and the final complement to the caller.
  auto* bytes = const_cast<unsigned char*>(static_cast<const unsigned char*>(data));
  return ~crc32_iscsi(bytes, static_cast<int>(size), 0xffffffffu);
}

}  // namespace maru
