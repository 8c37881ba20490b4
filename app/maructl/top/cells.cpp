#include "app/maructl/top/cells.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace maru::ctl {

namespace {

constexpr const char* escape_of(style s) {
  switch (s) {
    case style::bold: return "\x1b[1m";
    case style::dim: return "\x1b[2m";
    case style::good: return "\x1b[32m";
    case style::busy: return "\x1b[33m";
    case style::bad: return "\x1b[1;31m";
    case style::leaving: return "\x1b[35m";
    case style::bar: return "\x1b[36m";
    default: return "";
  }
}

bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

// The first `count` characters.
std::string_view first(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  while (at < text.size() && (!begins_character(text[at]) || count-- > 0))
    ++at;
  return text.substr(0, at);
}

std::string formatted(const char* format, double value) {
  char out[64];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

}  // namespace

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_character));
}

screen_line& screen_line::add(std::string_view text, style s) {
  auto shown = first(text, room());
  used_ += width_of(shown);
  bool styled = look_.colour && s != style::plain && !shown.empty();
  text_ += styled ? escape_of(s) : "";
  text_ += shown;
  text_ += styled ? "\x1b[0m" : "";
  return *this;
}

screen_line& screen_line::left(std::string_view text, std::size_t width, style s) {
  auto shown = first(text, width);
  add(shown, s);
  return add(std::string(width - width_of(shown), ' '));
}

screen_line& screen_line::right(std::string_view text, std::size_t width, style s) {
  auto shown = first(text, width);
  add(std::string(width - width_of(shown), ' '));
  return add(shown, s);
}

screen_line& screen_line::at_end(std::string_view text, style s) {
  auto width = width_of(text);
  return room() > width ? right(text, room(), s) : *this;
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text)
    if (c >= ' ' && c <= '~')
      out += c;
    else if (begins_character(c))
      out += '?';
  return out;
}

std::string short_number(double value) {
  if (std::isnan(value))
    return "-";
  constexpr std::array units = {"", "k", "M", "G", "T", "P", "E"};
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < units.size(); ++unit)
    value /= 1000;
  if (value >= 999.5)
    return "huge";
  bool whole = value >= 99.95 || (unit == 0 && (value == std::floor(value) || value >= 9.95));
  return formatted(whole ? "%.0f" : "%.1f", value) + units[unit];
}

std::string short_seconds(double seconds) {
  if (std::isnan(seconds))
    return "-";
  if (seconds < 0.0009995)
    return formatted("%.0fus", seconds * 1e6);
  if (seconds < 0.9995)
    return formatted(seconds < 0.09995 ? "%.1fms" : "%.0fms", seconds * 1e3);
  return seconds < 9999.5 ? formatted(seconds < 99.95 ? "%.1fs" : "%.0fs", seconds) : "long";
}

std::string short_size(std::uint64_t bytes) {
  constexpr std::array units = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < units.size(); ++unit)
    value /= 1024;
  return formatted(value >= 99.95 || unit == 0 ? "%.0f" : "%.1f", value) + units[unit];
}

std::string percent(double share) { return std::isnan(share) ? "-" : formatted("%.1f %%", share * 100); }

std::string sparkline(const std::deque<double>& values, std::size_t width, double top, look l) {
  constexpr std::array blocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::array ascii = {"_", ".", "-", "~", "=", "+", "*", "#"};
  auto count = std::min(width, values.size());
  auto begin = values.end() - static_cast<std::ptrdiff_t>(count);
  if (top <= 0)
    for (auto v = begin; v != values.end(); ++v)
      top = std::max(top, std::isnan(*v) ? 0.0 : *v);
  std::string out(width - count, ' ');
  for (auto v = begin; v != values.end(); ++v) {
    if (std::isnan(*v)) {
      out += ' ';
      continue;
    }
    double share = top > 0 ? std::clamp(*v / top, 0.0, 1.0) : 0.0;
    auto step = static_cast<std::size_t>(std::lround(share * static_cast<double>(blocks.size() - 1)));
    out += l.utf8 ? blocks[step] : ascii[step];
  }
  return out;
}

}  // namespace maru::ctl
