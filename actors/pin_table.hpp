// Who holds which pins: every pin has an owner and ends with it, and none can be released twice.
//
// Concurrency: none; owned by the pin_ledger. Limits: 2^32 - 1 pins of one session on one key, and on one page.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"

namespace maru::actors {

class pin_table {
public:
  // One more of each pin for `session` (one may occur several times).
  void record(session_id session, std::span<const pin_id> pins);
  // Ends one of each; ok or not_pinned per item.
  std::vector<ec> release(session_id session, std::span<const pin_id> pins);
  // Takes up to `count` pins of the session away, one item per pin; empty when none is left.
  std::vector<pin_id> take(session_id session, std::size_t count);

  // From now on the session's pins count as held by one that may still be copying but has no rights any more. Until `take`
  // finds none left.
  void set_dead(session_id session);

  bool is_dead(session_id session) const;
  std::uint64_t pins() const { return pins_; }
  std::uint64_t pins_held_dead() const { return held_dead_; }
  std::uint64_t pins_of(session_id session) const;

private:
  struct holder {
    std::unordered_map<pin_id, std::uint32_t> counts;
    std::uint64_t pins = 0;
    bool dead = false;
  };
  void add(holder& h, std::int64_t more);

  std::unordered_map<session_id, holder> holders_;
  std::uint64_t pins_ = 0, held_dead_ = 0;
};

}  // namespace maru::actors
