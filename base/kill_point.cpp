#include "base/kill_point.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>

namespace maru {

namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(kill_at::last_) + 1> names = {
  "region_chosen",        "region_recorded", "after_grant",      "after_descriptors",   "after_record",
  "before_insert",        "inside_bucket",   "before_reply",     "after_announce",      "after_mark_evicting",
  "after_record_deleted", "after_free",      "pin_named",        "pin_checked",         "resume_grants",
  "resume_reply",         "device_adopted",  "device_forgotten", "between_superblocks", "recovery_entry",
  "recovery_page",        "before_repairs",  "after_repairs",
};

kill_at armed_point;
std::uint64_t one_in = 1, seed = 0;
std::atomic<std::uint64_t> reached{0};

bool read_number(std::string_view text, std::uint64_t& out) {
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  return code == std::errc{} && end == text.data() + text.size();
}

// The finalizer of SplitMix64: whether the n-th time is fatal follows from the seed alone.
std::uint64_t draw(std::uint64_t n) {
  n = seed + n * 0x9e3779b97f4a7c15;
  n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
  n = (n ^ n >> 27) * 0x94d049bb133111eb;
  return n ^ n >> 31;
}

}  // namespace

namespace detail {

bool kill_point_armed = false;

void reach_kill_point(kill_at point) {
  if (point == armed_point && draw(1 + reached.fetch_add(1, std::memory_order_relaxed)) % one_in == 0)
    ::kill(::getpid(), SIGKILL);
}

}  // namespace detail

std::string_view to_string(kill_at point) { return names[static_cast<std::size_t>(point)]; }

status arm_kill_point(const char* text) {
  std::string_view all = text ? text : "";
  if (all.empty())
    return {};
  auto colon = std::min(all.find(':'), all.size());
  auto numbers = all.substr(std::min(colon + 1, all.size()));
  auto second = numbers.find(':');
  auto name = std::find(names.begin(), names.end(), all.substr(0, colon));
  bool read = name != names.end() && read_number(numbers.substr(0, second), one_in) && one_in > 0
              && (second == numbers.npos || read_number(numbers.substr(second + 1), seed));
  if (!read)
    return {ec::bad_option, std::string{"failed to arm MARU_KILL_POINT="} + text
                              + ": it is NAME:N or NAME:N:SEED; the names are in base/kill_point.hpp"};
  armed_point = static_cast<kill_at>(name - names.begin());
  detail::kill_point_armed = true;
  return {};
}

}  // namespace maru
