// Byte sizes as people write them: "4096", "64KiB", "256MiB", "1.5GiB".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace maru {

// Accepts a decimal number and an optional unit: B, K, KiB, M, MiB, G, GiB, T, TiB (powers of 1024, any case) or
// kB, MB, GB, TB (powers of 1000). `bad_option` for anything else, and for what does not fit 63 bits.
result<std::uint64_t> parse_size(std::string_view text);

// The shortest exact or two-digit form: 67108864 -> "64 MiB".
std::string format_size(std::uint64_t bytes);

inline constexpr std::uint64_t align_up(std::uint64_t n, std::uint64_t align) {
  return (n + align - 1) / align * align;
}
inline constexpr std::uint64_t align_down(std::uint64_t n, std::uint64_t align) { return n / align * align; }

}  // namespace maru
