// Checksum of a chunk's bytes: XXH3 with 64 bits (xxHash by Yann Collet), by the widest vector instructions that the
// processor has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace maru::cxl {

// Never 0, which stands for "none" wherever a checksum is kept.
std::uint64_t payload_checksum(std::span<const std::byte> bytes);

}  // namespace maru::cxl
