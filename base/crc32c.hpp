// CRC-32C (Castagnoli, RFC 3720), by libisal with the processor's instruction where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace maru {

// Checksum of `size` bytes at `data`.
std::uint32_t crc32c(const void* data, std::size_t size);

}  // namespace maru
