// The identity of a key: SipHash-2-4 with 128 bits of output under the pool's secret (Aumasson and Bernstein 2012;
// libsodium's siphashx24), so that whoever chooses keys cannot make two of them collide.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/types.hpp"

namespace maru {

using hash_secret = std::array<std::uint8_t, 16>;

key_hash hash_key(const hash_secret& secret, std::string_view key);

}  // namespace maru
