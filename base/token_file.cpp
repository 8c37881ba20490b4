#include "base/token_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/bounds.hpp"
#include "base/or_variable.hpp"

namespace maru {

namespace {

constexpr std::size_t file_bytes_max = tokens_max * (bounds::name_bytes_max + 2);

}  // namespace

result<std::vector<std::string>> parse_tokens(std::string_view text, const std::string& source) {
  auto bad = [&](const std::string& cause) {
    return error{ec::bad_option, "failed to read tokens from " + source + ": " + cause};
  };
  constexpr std::string_view blanks = " \t\r";
  std::vector<std::string> tokens;
  while (!text.empty()) {
    auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
    line = line.substr(0, line.find_first_of(blanks));
    if (line.empty() || line.front() == '#')
      continue;
    if (line.size() > bounds::name_bytes_max)
      return bad("a token has at most " + std::to_string(bounds::name_bytes_max) + " bytes, one has "
                 + std::to_string(line.size()));
    if (tokens.size() == tokens_max)
      return bad("there are more than " + std::to_string(tokens_max));
    tokens.emplace_back(line);
  }
  if (tokens.empty())
    return bad("there is none");
  return tokens;
}

result<std::vector<std::string>> read_tokens(const std::string& path) {
  errno = 0;
  std::ifstream in{path, std::ios::binary};
  std::string text(file_bytes_max + 1, '\0');
  if (in)
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.eof() && in.fail())
    return {ec::bad_option,
            "failed to read tokens from " + path + ": " + (errno != 0 ? std::strerror(errno) : "it is not readable")};
  if (!in.eof())
    return {ec::bad_option, "failed to read tokens from " + path + ": it is too long"};
  text.resize(static_cast<std::size_t>(in.gcount()));
  return parse_tokens(text, path);
}

token_source token_source::or_environment() const {
  if (!file.empty() || !text.empty())
    return *this;
  if (auto named = or_variable({}, "MARU_TOKEN_FILE"); !named.empty())
    return {named, {}};
  return {{}, or_variable({}, "MARU_TOKEN")};
}

result<std::string> token_source::read() const {
  if (file.empty() && text.empty())
    return std::string{};
  auto tokens = file.empty() ? parse_tokens(text, "the token given or MARU_TOKEN") : read_tokens(file);
  if (!tokens)
    return tokens.error();
  return tokens->front();
}

}  // namespace maru
