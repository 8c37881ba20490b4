// How long a session may act without a word from its worker, and what it is between that and its proven end.
//
//   active --(connection lost)--> suspect --(lease over)--> lapsed --(proof of death)--> ended
//   awaiting_resume (after a restart of marud) --(grace over)--> lapsed; resume leads back to active
//
// A marud that itself stood still (stopped, or starved of CPU) must not declare its workers dead: a gap between two ticks
// extends the lease by as much.
// Concurrency: none; owned by the session.
#pragma once

#include <chrono>
#include <string_view>

namespace maru::actors {

enum class session_state { active, suspect, awaiting_resume, lapsed, ending };

inline std::string_view to_string(session_state s) {
  switch (s) {
    case session_state::active: return "active";
    case session_state::suspect: return "suspect";
    case session_state::awaiting_resume: return "awaiting_resume";
    case session_state::lapsed: return "lapsed";
    case session_state::ending: break;
  }
  return "ending";
}

template <class Clock>
class basic_lease {
public:
  using time_point = typename Clock::time_point;
  using duration = typename Clock::duration;

  basic_lease(time_point now, duration length) : length_(length), end_(now + length), last_tick_(now) {}

  void renew(time_point now) { end_ = now + length_; }
  // Called every `interval`; true when the lease is over.
  bool tick(time_point now, duration interval) {
    auto gap = now - last_tick_ - interval;
    last_tick_ = now;
    if (gap > interval)
      end_ += gap;
    return now >= end_;
  }
  duration left(time_point now) const { return end_ - now; }

private:
  duration length_;
  time_point end_;
  time_point last_tick_;
};

}  // namespace maru::actors
