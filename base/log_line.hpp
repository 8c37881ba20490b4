// A line of the log, from its parts. Plain functions, no I/O.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/log.hpp"

namespace maru::log {

struct line_parts {
  std::chrono::system_clock::time_point time;
  severity level = severity::info;
  std::string_view name;  // of the event; may be empty
  std::uint64_t session = 0;
  std::string_view worker;
  std::string_view text;
  std::uint64_t withheld = 0;  // lines of this event that were not shown
};

// "2026-01-31T12:00:05.123Z warn  lease_over [session 7, worker w1]: its pages are held\n". With `journal`, sd-daemon's
// priority takes the place of time and level: "<4>lease_over [...".
std::string text_line(const line_parts& parts, bool journal = false);

// {"time":...,"level":...,"event":...,"session":...,"worker":...,"message":...,"withheld":...}\n, without what is empty.
std::string json_line(const line_parts& parts);

}  // namespace maru::log
