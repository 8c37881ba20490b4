#include "cxl/mount_table.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/text_list.hpp"

namespace maru::cxl {

namespace {

// Blanks and backslashes in names come as a backslash and three octal digits.
std::string unescape(std::string_view text) {
  auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto code = text.substr(i, 4);
    if (code.size() == 4 && code[0] == '\\' && std::all_of(code.begin() + 1, code.end(), octal)) {
      out += static_cast<char>((code[1] - '0') * 64 + (code[2] - '0') * 8 + (code[3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// "25 24 0:23 / /dev/shm rw,relatime shared:4 - tmpfs tmpfs rw,size=1024k"
std::optional<mount_entry> parse(const std::string& line) {
  std::istringstream words{line};
  std::string id, parent, subtree, word;
  mount_entry entry;
  words >> id >> parent >> entry.device >> subtree >> entry.path >> entry.mount_options;
  while (words >> word && word != "-") {}
  if (!(words >> entry.type >> entry.source))
    return std::nullopt;
  words >> entry.options;
  entry.path = unescape(entry.path);
  entry.source = unescape(entry.source);
  return entry;
}

}  // namespace

bool mount_entry::writable() const {
  for (auto list : {mount_options, options})
    for (auto word : split_list(list))
      if (word == "ro")
        return false;
  return true;
}

// A list of nodes has commas of its own (mpol=bind:0,2): what begins with a digit belongs to the option before.
std::optional<std::string> mount_entry::option(std::string_view name) const {
  std::optional<std::string> value;
  for (auto word : split_list(options)) {
    if (value && !word.empty() && word[0] >= '0' && word[0] <= '9') {
      *value += "," + std::string{word};
      continue;
    }
    if (value)
      return value;
    auto equals = std::min(word.find('='), word.size());
    if (word.substr(0, equals) == name)
      value = word.substr(std::min(equals + 1, word.size()));
  }
  return value;
}

std::vector<mount_entry> mount_table(const std::filesystem::path& root) {
  std::vector<mount_entry> table;
  std::ifstream in{root / "proc/self/mountinfo"};
  for (std::string line; std::getline(in, line);) {
    auto entry = parse(line);
    if (!entry)
      continue;
    std::erase_if(table, [&](const mount_entry& before) { return before.path == entry->path; });
    table.push_back(std::move(*entry));
  }
  return table;
}

}  // namespace maru::cxl
