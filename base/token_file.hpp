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

// What a client shows: the first of `file`, else `token`; where it is given neither, the first of the file that
// MARU_TOKEN_FILE names, else of MARU_TOKEN, else "".
result<std::string> client_token(const std::string& token, const std::string& file);

}  // namespace maru
