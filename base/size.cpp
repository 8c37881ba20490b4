#include "base/size.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace maru {

namespace {

struct unit {
  std::string_view name;  // lower case
  double factor;
};

constexpr double k = 1024;
constexpr std::array<unit, 17> units = {{
  {"", 1},
  {"b", 1},
  {"k", k},
  {"kib", k},
  {"kb", 1e3},
  {"m", k* k},
  {"mib", k* k},
  {"mb", 1e6},
  {"g", k* k* k},
  {"gib", k* k* k},
  {"gb", 1e9},
  {"t", k* k* k* k},
  {"tib", k* k* k* k},
  {"tb", 1e12},
  {"ki", k},
  {"mi", k* k},
  {"gi", k* k* k},
}};

}  // namespace

result<std::uint64_t> parse_size(std::string_view text) {
  auto bad = [&] {
    return error{ec::bad_option,
                 "failed to read size '" + std::string{text} + "': write a number and a unit, such as 256MiB"};
  };
  auto digits = text.find_first_not_of("0123456789.");
  auto number = text.substr(0, digits);
  std::string name{digits == text.npos ? std::string_view{} : text.substr(digits)};
  name.erase(0, name.find_first_not_of(' ') == name.npos ? 0 : name.find_first_not_of(' '));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  auto u = std::find_if(units.begin(), units.end(), [&](const unit& x) { return x.name == name; });
  if (u == units.end() || number.empty())
    return bad();
  if (u->factor == 1) {  // plain bytes stay exact
    std::uint64_t exact = 0;
    auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), exact);
    if (code != std::errc{} || end != number.data() + number.size() || exact > INT64_MAX)
      return bad();
    return exact;
  }
  double value = 0;
  auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (code != std::errc{} || end != number.data() + number.size() || value * u->factor >= 9.2e18)
    return bad();
  return static_cast<std::uint64_t>(std::llround(value * u->factor));
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> names = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t i = 0;
  double value = static_cast<double>(bytes);
  while (value >= 1024 && i + 1 < names.size()) {
    value /= 1024;
    ++i;
  }
  char text[48];
  std::snprintf(text, sizeof text, value == std::floor(value) ? "%.0f %s" : "%.2f %s", value, names[i].data());
  return text;
}

}  // namespace maru
