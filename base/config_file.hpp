// A flat configuration file: one `name = value` a line, comments with #, values bare or in quotes. This is the part
// of TOML that an operator needs here; tables and lists are refused by line instead of being guessed at.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace maru {

struct config_entry {
  std::string name;
  std::string value;     // without quotes
  std::size_t line = 0;  // from 1
};

inline constexpr std::size_t config_bytes_max = 1024 * 1024;

// Entries in the order of the text. `bad_option` names `source` and the line: no '=', a table, a list, an open quote,
// text after the value, or a name that was given before.
result<std::vector<config_entry>> parse_config(std::string_view text, std::string_view source);

// Reads a file of at most config_bytes_max and parses it. `bad_option`: also when it cannot be read.
result<std::vector<config_entry>> read_config_file(const std::string& path);

}  // namespace maru
