// Bytes as hexadecimal text, for JSON and for people.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace maru {

std::string to_hex(std::string_view bytes);
// Empty optional for an odd number of digits or anything that is none.
std::optional<std::string> from_hex(std::string_view hex);

}  // namespace maru
