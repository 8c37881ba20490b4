#include "cxl/kernel_files.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <system_error>
#include <tuple>

namespace maru::cxl {

namespace fs = std::filesystem;

namespace {

template <class T>
std::optional<T> number_in(std::string_view text, int base) {
  T value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (code != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> read_line(const fs::path& file) {
  std::ifstream in{file};
  std::string line;
  if (!std::getline(in, line))
    return std::nullopt;
  return line;
}

std::optional<std::uint64_t> read_number(const fs::path& file) {
  auto line = read_line(file);
  if (!line)
    return std::nullopt;
  bool hex = line->starts_with("0x");
  return number_in<std::uint64_t>(std::string_view{*line}.substr(hex ? 2 : 0), hex ? 16 : 10);
}

int read_node(const fs::path& file) {
  auto line = read_line(file);
  return line ? number_in<int>(*line, 10).value_or(-1) : -1;
}

std::string link_name(const fs::path& link) {
  std::error_code none;
  return fs::read_symlink(link, none).filename().string();
}

std::vector<std::string> names_in(const fs::path& folder, std::string_view prefix) {
  std::vector<std::string> names;
  std::error_code none;
  for (fs::directory_iterator entry{folder, none}, end; !none && entry != end; entry.increment(none))
    if (auto name = entry->path().filename().string(); name.starts_with(prefix))
      names.push_back(std::move(name));
  std::sort(names.begin(), names.end(),
            [](const auto& a, const auto& b) { return std::tuple(a.size(), a) < std::tuple(b.size(), b); });
  return names;
}

}  // namespace maru::cxl
