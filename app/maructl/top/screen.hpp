// What `maructl top` shows: a pure function of what is known, for any size of terminal.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/maructl/top/cells.hpp"
#include "app/maructl/top/sample.hpp"

namespace maru::ctl {

// What sparklines show. A gap (NaN) stands for a time without an answer.
class history {
public:
  static constexpr std::size_t samples_max = 512;

  void add(const sample& now, const change& since);
  void add_gap();

  std::deque<double> hit_rate, stored, in_flight, pins, evicted;
  std::map<std::string, std::deque<double>> p99;  // by operation
};

enum class session_order { requests, committed, pins, grants };
inline constexpr std::size_t session_order_count = 4;

struct top_view {
  std::string server;         // where marud listens
  std::string clock;          // the time of day
  std::optional<sample> now;  // none: it never answered
  change since;               // to `now`
  history past;
  std::string trouble;           // why there is no answer; empty: there is one
  double silent_s = 0;           // for so long
  std::optional<double> back_s;  // marud was started again, and has answered since so many seconds
  session_order order = session_order::requests;
};

struct screen_size {
  std::size_t columns = 80, rows = 24;
};

// At most `rows` lines of at most `columns` cells; the most important lines are the first ones. `footer`: with the line
// that names the keys, at the bottom.
std::vector<std::string> draw(const top_view& view, screen_size size, look l, bool footer);

}  // namespace maru::ctl
