#include "base/error.hpp"

#include <array>
#include <cstdio>
#include <system_error>

#include "base/types.hpp"

namespace maru {

namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(ec::last_) + 1> names = {
  "ok",
  "missing",
  "exists",
  "pinned",
  "not_pinned",
  "gone",
  "not_granted",
  "busy",
  "too_large",
  "invalid",
  "out_of_memory",
  "session_over",
  "version_mismatch",
  "refused",
  "timeout",
  "unavailable",
  "stopping",
  "io",
  "in_use",
  "unknown_contents",
  "no_space",
  "corrupt",
  "storage_failed",
  "bad_option",
  "memory_failed",
};

}  // namespace

std::string_view to_string(ec code) {
  auto i = static_cast<std::size_t>(code);
  return i < names.size() ? names[i] : "unknown";
}

std::string to_string(const error& e) {
  std::string out{to_string(e.code)};
  if (!e.message.empty())
    out += ": " + e.message;
  return out;
}

error errno_error(std::string_view what, int errnum) {
  return {ec::io, "failed to " + std::string{what} + ": " + std::system_category().message(errnum)};
}

std::string to_string(page_ref page) {
  return std::to_string(value_of(page.region)) + ":" + std::to_string(value_of(page.page));
}

std::string to_string(const key_hash& hash) {
  char text[33];
  std::snprintf(text, sizeof text, "%016lx%016lx", static_cast<unsigned long>(hash.high),
                static_cast<unsigned long>(hash.low));
  return text;
}

}  // namespace maru
