#pragma once

#include <cstdio>
#include <string>

namespace maru::bench {

// printf into a string: for lines of tables and reports, at most 511 bytes of it.
template <class... Args>
std::string format(const char* pattern, Args... args) {
  char text[512];
  std::snprintf(text, sizeof text, pattern, args...);
  return text;
}

}  // namespace maru::bench
