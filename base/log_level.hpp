// The words of the log's levels, from the least serious one: what --log-level and maructl log-level take.
#pragma once

#include <array>

namespace maru {

inline constexpr std::array<const char*, 6> log_level_words = {"trace", "debug", "info", "warn", "error", "off"};

}  // namespace maru
