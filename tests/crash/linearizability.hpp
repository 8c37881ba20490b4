// Did the answers that clients got of one key make sense? Given when each call began and ended and what it was answered,
// is there an order of the calls, in which each takes effect at one moment between its begin and its end, that one
// client alone could have seen?
//
// Method: the search of Wing and Gong ("Testing and verifying concurrent objects", JPDC 1993): take as the next call any
// that began before every other one left has ended; with the memory of Lowe ("Testing for linearizability", CCPE 2017):
// the same set of calls that leads to the same state a second time is not searched again. Calls on different keys are
// independent, so each key is a history of its own (locality, Herlihy and Wing 1990).
// Concurrency: none. Limits: exponential in the number of calls under way at one time; those without an answer count.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace maru::test {

enum class verb { commit, read, pin, unpin, remove, restart };

// One call on the key. A call without an answer (its error left it open) may have taken effect or not, once.
struct call {
  static constexpr auto never = std::numeric_limits<std::uint64_t>::max();

  verb what = verb::read;
  std::uint64_t tag = 0;     // whose bytes: those written by a commit; those seen by a read or pin, 0 where not seen
  std::optional<ec> answer;  // ok; exists, missing, pinned
  std::uint64_t invoked = 0, returned = never;
  std::string who = {};
};

inline std::string to_string(const call& c) {
  static constexpr const char* names[] = {"commit", "read", "pin", "unpin", "remove", "restart"};
  return "[" + std::to_string(c.invoked) + ", " + (c.returned == call::never ? "..." : std::to_string(c.returned))
         + "] " + c.who + " " + names[static_cast<int>(c.what)] + " " + std::to_string(c.tag) + " -> "
         + (c.answer ? std::string{to_string(*c.answer)} : "?");
}

class key_history {
public:
  // `evicts`: the entry may vanish by itself whenever it is not pinned.
  explicit key_history(bool evicts = false) : evicts_(evicts) {}

  void add(call c) { calls_.push_back(std::move(c)); }

  // Empty where the history is linearizable; else the calls, with those marked that fitted before it got stuck.
  std::string violation() {
    std::stable_sort(calls_.begin(), calls_.end(), [](const call& a, const call& b) { return a.invoked < b.invoked; });
    done_.assign(calls_.size(), false);
    best_.clear();
    seen_.clear();
    if (search({}, 0, 0))
      return {};
    std::string out;
    for (std::size_t i = 0; i < calls_.size(); ++i)
      out += (best_[i] ? "  fits  " : "        ") + to_string(calls_[i]) + "\n";
    return out;
  }

private:
  struct state {
    std::uint64_t tag = 0;     // of the entry; 0: absent
    std::uint64_t buried = 0;  // of one whose removal was not answered: a restart may find it again
    unsigned pins = 0;
    friend auto operator<=>(const state&, const state&) = default;
  };

  // The states that a call with this answer can lead to; none where it could not be answered so.
  static std::vector<state> after(const call& c, state s) {
    bool known = c.answer.has_value();
    bool wanted = c.tag == 0 || c.tag == s.tag;
    switch (c.what) {
      case verb::commit:
        if (known && *c.answer == ec::exists)
          return s.tag != 0 ? std::vector{s} : std::vector<state>{};
        return s.tag == 0 ? std::vector{state{c.tag, 0, s.pins}} : std::vector<state>{};
      case verb::read:
      case verb::pin:
        if (known && *c.answer == ec::missing)
          return s.tag == 0 ? std::vector{s} : std::vector<state>{};
        if (s.tag == 0 || !wanted)
          return {};
        s.pins += c.what == verb::pin ? 1 : 0;
        return {s};
      case verb::unpin:
        if (s.pins == 0)
          return {};
        --s.pins;
        return {s};
      case verb::remove:
        if (known && *c.answer == ec::missing)
          return s.tag == 0 ? std::vector{s} : std::vector<state>{};
        if (s.tag == 0 || (s.pins > 0) != (known && *c.answer == ec::pinned))
          return {};
        if (s.pins > 0)
          return {s};
        return {state{0, known ? 0 : s.tag, 0}};
      case verb::restart: break;
    }
    std::vector<state> out = {{s.tag, 0, s.pins}};
    if (s.tag == 0 && s.buried != 0)
      out.push_back({s.buried, 0, s.pins});
    return out;
  }

  // `first`: all calls before it are done. `latest`: when the last one of those that are done began.
  bool search(state s, std::size_t first, std::uint64_t latest) {
    while (first < calls_.size() && done_[first])
      ++first;
    auto limit = call::never;  // no call may be passed over once it has ended
    bool open = false;
    for (auto i = first; i < calls_.size() && calls_[i].invoked < limit; ++i)
      if (!done_[i] && calls_[i].answer) {
        open = true;
        limit = std::min(limit, calls_[i].returned);
      }
    if (!open)
      return true;
    if (!seen_.emplace(done_, s).second)
      return false;
    note_progress();
    for (auto i = first; i < calls_.size() && calls_[i].invoked < limit; ++i) {
      const auto& c = calls_[i];
      if (done_[i] || c.returned < latest)
        continue;
      auto next = after(c, s);
      if (evicts_ && s.tag != 0 && s.pins == 0)
        for (const auto& n : after(c, {}))
          next.push_back(n);
      done_[i] = true;
      for (const auto& n : next)
        if (search(n, first, std::max(latest, c.invoked)))
          return true;
      done_[i] = false;
    }
    return false;
  }

  void note_progress() {
    if (best_.empty() || std::count(done_.begin(), done_.end(), true) > std::count(best_.begin(), best_.end(), true))
      best_ = done_;
  }

  bool evicts_;
  std::vector<call> calls_;
  std::vector<bool> done_, best_;
  std::set<std::pair<std::vector<bool>, state>> seen_;
};

}  // namespace maru::test
