// The keys that reading workers and their adversary share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace maru::test {

inline constexpr std::uint64_t shared_keys = 80;
inline constexpr std::size_t shared_bytes = 4096;
inline std::string shared_key(std::uint64_t n) { return "shared/" + std::to_string(n); }

}  // namespace maru::test
