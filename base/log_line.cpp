#include "base/log_line.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/log_level.hpp"

namespace maru::log {

namespace {

constexpr std::array<int, 5> priorities = {7, 7, 6, 4, 3};  // syslog's, in the order of log_level_words

// "2026-01-31T12:00:05.123Z"
std::string time_text(std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  auto ms = duration_cast<milliseconds>(time.time_since_epoch()).count();
  auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char day[32] = {}, out[48] = {};
  std::strftime(day, sizeof day, "%FT%T", &parts);
  std::snprintf(out, sizeof out, "%s.%03dZ", day, static_cast<int>(ms % 1000));
  return out;
}

// Bytes of the UTF-8 character at the front; 0: there is none.
std::size_t character_bytes(std::string_view s) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  auto first = byte(0);
  std::size_t n = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (n == 0 || n > s.size() || (first >= 0x80 && first < 0xc2))
    return 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xc0) != 0x80)
      return 0;
  bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  bool outside = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || outside ? 0 : n;
}

// Nothing that ends a line, moves a terminal's cursor, or is no text: such bytes come out as \xNN.
std::string printable(std::string_view s) {
  std::string out;
  while (!s.empty()) {
    auto n = character_bytes(s);
    auto first = static_cast<unsigned char>(s[0]);
    bool control = n == 1 ? first < 0x20 || first == 0x7f : n == 2 && first == 0xc2 && (s[1] & 0xe0) == 0x80;
    if (n == 0 || control) {
      n = std::max<std::size_t>(n, 1);
      for (char c : s.substr(0, n)) {
        char hex[8];
        std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(c));
        out += hex;
      }
    } else {
      out += s.substr(0, n);
    }
    s.remove_prefix(n);
  }
  return out;
}

}  // namespace

std::string text_line(const line_parts& p, bool journal) {
  auto rank = static_cast<std::size_t>(p.level);
  auto out = journal ? fmt::format("<{}>", priorities[rank])
                     : fmt::format("{} {:<5} ", time_text(p.time), log_level_words[rank]);
  out += printable(p.name);
  if (p.session != 0 && !p.worker.empty())
    out += fmt::format(" [session {}, worker {}]", p.session, printable(p.worker));
  else if (p.session != 0)
    out += fmt::format(" [session {}]", p.session);
  else if (!p.worker.empty())
    out += fmt::format(" [worker {}]", printable(p.worker));
  if (!p.name.empty())
    out += ": ";
  return out + printable(p.text) + "\n";
}

std::string json_line(const line_parts& p) {
  nlohmann::ordered_json o;
  o["time"] = time_text(p.time);
  o["level"] = log_level_words[static_cast<std::size_t>(p.level)];
  if (!p.name.empty())
    o["event"] = printable(p.name);
  if (p.session != 0)
    o["session"] = p.session;
  if (!p.worker.empty())
    o["worker"] = printable(p.worker);
  o["message"] = printable(p.text);
  if (p.withheld != 0)
    o["withheld"] = p.withheld;
  return o.dump() + "\n";
}

}  // namespace maru::log
