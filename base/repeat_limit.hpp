// Which lines of a log are shown when one event comes again and again: the first few of a window; the others are counted,
// and the count is told when the window is over.
//
// Concurrency: one thread at a time. Time comes in by argument.
// Limits: past bounds::log_events_max different names all further ones share one window.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bounds.hpp"

namespace maru {

class repeat_limit {
public:
  using time_point = std::chrono::steady_clock::time_point;

  struct withheld {
    std::string name;
    int level = 0;  // the most serious one
    std::uint64_t count = 0;
  };

  // Whether to show a line of this name now. Where not, it is counted.
  bool admit(std::string_view name, int level, time_point now) {
    auto at = windows_.find(name);
    if (at == windows_.end()) {
      if (windows_.size() >= bounds::log_events_max)
        name = others;
      at = windows_.try_emplace(std::string{name}, window{now}).first;
    }
    auto& w = at->second;
    if (w.shown < bounds::log_burst) {
      ++w.shown;
      return true;
    }
    w.level = std::max(w.level, level);
    ++w.count;
    return false;
  }

  // Ends the windows that are over, all of them with `everything`, and tells what was not shown in them.
  std::vector<withheld> end_windows(time_point now, bool everything = false) {
    std::vector<withheld> out;
    for (auto at = windows_.begin(); at != windows_.end();) {
      if (!everything && now - at->second.begin < bounds::log_window) {
        ++at;
        continue;
      }
      if (at->second.count > 0)
        out.push_back({at->first, at->second.level, at->second.count});
      at = windows_.erase(at);
    }
    return out;
  }

private:
  struct window {
    time_point begin;
    std::uint64_t shown = 0, count = 0;
    int level = 0;
  };
  static constexpr std::string_view others = "others";

  std::map<std::string, window, std::less<>> windows_;
};

}  // namespace maru
