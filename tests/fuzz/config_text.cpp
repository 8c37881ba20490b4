// Goal: a configuration file is read as its author meant it or refused by line (base/config_file.hpp). Method: entries
// that were read keep the promises of the header, and are the same when they are written and read again, quoted and
// with comments.
#include <algorithm>
#include <set>

#include "base/config_file.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

constexpr std::string_view name_letters = "abcdefghijklmnopqrstuvwxyz0123456789-";

void hold_entries(const std::vector<config_entry>& entries, std::string_view text) {
  std::set<std::string> names;
  std::size_t line = 0;
  for (const auto& e : entries) {
    must(!e.name.empty() && e.name.find_first_not_of(name_letters) == std::string::npos, "a name is one");
    must(names.insert(e.name).second, "a name comes once");
    must(e.line > line, "entries are in the order of the lines");
    line = e.line;
    must(e.value.find('\n') == std::string::npos, "a value ends with its line");
    must(text.find(e.value) != text.npos, "a value is in the text as it is");
  }
  must(line <= static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1, "a line is one of the text");
}

// Each on the line after the one before, in the quotes that it does not have; empty where it has both.
std::string written(const std::vector<config_entry>& entries) {
  std::string out;
  for (const auto& e : entries) {
    char quote = e.value.find('"') == std::string::npos ? '"' : '\'';
    if (e.value.find(quote) != std::string::npos)
      return {};
    out += "\t" + e.name + " =" + quote + e.value + quote + " # = \"\r\n\n";
  }
  return out;
}

}  // namespace

void try_input(std::string_view text) {
  auto entries = parse_config(text, "SOURCE");
  if (!entries) {
    must(entries.code() == ec::bad_option && entries.error().message.find("SOURCE line ") != std::string::npos,
         "a refusal names the source and the line");
    return;
  }
  hold_entries(*entries, text);
  auto again = parse_config(written(*entries), "SOURCE");
  must(bool{again}, "what is written can be read");
  if (again->empty())
    return;
  must(std::equal(entries->begin(), entries->end(), again->begin(), again->end(),
                  [](const auto& a, const auto& b) { return a.name == b.name && a.value == b.value; }),
       "entries survive");
}

}  // namespace maru::fuzz
