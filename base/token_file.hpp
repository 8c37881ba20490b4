// The secrets that workers show at the door, as files and environment variables hold them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace maru {

inline constexpr std::size_t tokens_max = 64;

// The first word of each line; a line that is empty or begins with # is none, and what follows the word is a remark.
// `source` names them in errors, which never repeat what was read. `bad_option`: none, too many, or one of more than
// bounds::name_bytes_max bytes.
result<std::vector<std::string>> parse_tokens(std::string_view text, const std::string& source);

// The same of a file. `bad_option`: also where it cannot be read.
result<std::vector<std::string>> read_tokens(const std::string& path);

// Where a client has its token from: the first of a file, which is read anew each time, or a text.
struct token_source {
  std::string file, text;

  // Where neither is given: the file that MARU_TOKEN_FILE names, else MARU_TOKEN.
  token_source or_environment() const;
  // "" where there is none. `bad_option`: see parse_tokens.
  result<std::string> read() const;
};

}  // namespace maru
