// Keys as people and JSON write them. A key is opaque bytes: one that is plain visible text is written as it is,
// any other as "hex:" and its digits. Both forms are read back.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace maru::ctl {

// The key that a command line means. `bad_option`: empty, over 1024 bytes, or "hex:" before something else.
result<std::string> parse_key(std::string_view text);
// What parse_key reads back.
std::string show_key(std::string_view key);

}  // namespace maru::ctl
