#include "base/config_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

namespace maru {

namespace {

constexpr std::string_view blank = " \t\r";

std::string_view trimmed(std::string_view text) {
  auto first = text.find_first_not_of(blank);
  if (first == text.npos)
    return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

bool is_name(std::string_view text) {
  return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == text.npos;
}

// Takes the value off `text` into `value`; what is wrong with it, or nothing.
std::optional<std::string> take_value(std::string_view text, std::string& value) {
  if (text.empty() || text.front() == '#')
    return "a value is missing after '='";
  if (text.front() == '[' || text.front() == '{')
    return "lists and inline tables are not used here, write one value";
  std::string_view rest;
  if (text.front() == '"' || text.front() == '\'') {
    auto end = text.find(text.front(), 1);
    if (end == text.npos)
      return "the quote is not closed";
    value = text.substr(1, end - 1);
    rest = trimmed(text.substr(end + 1));
  } else {
    auto end = std::min(text.find('#'), text.size());
    value = trimmed(text.substr(0, end));
    if (value.find_first_of(blank) != value.npos)
      return "text after the value, put it in quotes if it belongs to it";
  }
  if (!rest.empty() && rest.front() != '#')
    return "text after the closing quote";
  return std::nullopt;
}

std::optional<std::string> take_line(std::string_view text, config_entry& entry) {
  if (text.front() == '[')
    return "tables are not used here, write name = value";
  auto equals = text.find('=');
  if (equals == text.npos)
    return "there is no '=', write name = value";
  entry.name = trimmed(text.substr(0, equals));
  if (!is_name(entry.name))
    return "'" + entry.name + "' is no option name";
  return take_value(trimmed(text.substr(equals + 1)), entry.value);
}

}  // namespace

result<std::vector<config_entry>> parse_config(std::string_view text, std::string_view source) {
  std::vector<config_entry> entries;
  for (std::size_t line = 1; !text.empty(); ++line) {
    auto end = std::min(text.find('\n'), text.size());
    auto content = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (content.empty() || content.front() == '#')
      continue;
    config_entry entry;
    entry.line = line;
    auto wrong = take_line(content, entry);
    auto twin = std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.name == entry.name; });
    if (!wrong && twin != entries.end())
      wrong = "'" + entry.name + "' was set in line " + std::to_string(twin->line) + " already";
    if (wrong)
      return error{ec::bad_option,
                   "failed to read " + std::string{source} + " line " + std::to_string(line) + ": " + *wrong};
    entries.push_back(std::move(entry));
  }
  return entries;
}

result<std::vector<config_entry>> read_config_file(const std::string& path) {
  auto failed = [&](const char* cause) {
    return error{ec::bad_option, "failed to read configuration " + path + ": " + cause};
  };
  errno = 0;
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return failed(errno != 0 ? std::strerror(errno) : "cannot open it");
  std::string text(config_bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.fail() && !in.eof()))
    return failed("it is not a readable file");
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > config_bytes_max)
    return failed("it is larger than 1 MiB");
  return parse_config(text, path);
}

}  // namespace maru
