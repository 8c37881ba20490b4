#include "app/maructl/table.hpp"

#include <algorithm>
#include <cstdio>

namespace maru::ctl {

namespace {

// Code points, not bytes.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
    std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string table::text() const {
  std::vector<std::string> titles;
  for (const auto& c : columns_)
    titles.push_back(c.title);
  std::vector<std::size_t> widths(columns_.size());
  auto measure = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      widths[i] = std::max(widths[i], width(cells[i]));
  };
  measure(titles);
  for (const auto& row : rows_)
    measure(row);

  std::string out;
  auto write = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      std::string pad(widths[i] - width(cells[i]), ' ');
      line += i == 0 ? "" : "  ";
      line += columns_[i].side == align::right ? pad + cells[i] : cells[i] + pad;
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  write(titles);
  for (const auto& row : rows_)
    write(row);
  return out;
}

std::string grouped(std::uint64_t n) {
  auto text = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

std::string duration_text(std::uint64_t ms) {
  auto seconds = ms / 1000;
  char text[64];
  if (ms < 60'000)
    std::snprintf(text, sizeof text, "%.1fs", static_cast<double>(ms) / 1000);
  else if (seconds < 3600)
    std::snprintf(text, sizeof text, "%um %us", static_cast<unsigned>(seconds / 60),
                  static_cast<unsigned>(seconds % 60));
  else if (seconds < 86400)
    std::snprintf(text, sizeof text, "%uh %um", static_cast<unsigned>(seconds / 3600),
                  static_cast<unsigned>(seconds / 60 % 60));
  else
    std::snprintf(text, sizeof text, "%llud %uh", static_cast<unsigned long long>(seconds / 86400),
                  static_cast<unsigned>(seconds / 3600 % 24));
  return text;
}

}  // namespace maru::ctl
