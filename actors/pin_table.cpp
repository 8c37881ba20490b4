#include "actors/pin_table.hpp"

#include <utility>

namespace maru::actors {

void pin_table::record(session_id session, std::span<const pin_id> pins) {
  auto& h = holders_[session];
  for (const auto& pin : pins)
    ++h.counts[pin];
  add(h, static_cast<std::int64_t>(pins.size()));
}

std::vector<ec> pin_table::release(session_id session, std::span<const pin_id> pins) {
  std::vector<ec> out(pins.size(), ec::not_pinned);
  auto holder_at = holders_.find(session);
  if (holder_at == holders_.end())
    return out;
  auto& h = holder_at->second;
  for (std::size_t i = 0; i < pins.size(); ++i) {
    auto at = h.counts.find(pins[i]);
    if (at == h.counts.end())
      continue;
    if (--at->second == 0)
      h.counts.erase(at);
    add(h, -1);
    out[i] = ec::ok;
  }
  if (h.pins == 0 && !h.dead)
    holders_.erase(holder_at);
  return out;
}

std::vector<pin_id> pin_table::take(session_id session, std::size_t count) {
  std::vector<pin_id> out;
  auto holder_at = holders_.find(session);
  if (holder_at == holders_.end())
    return out;
  auto& h = holder_at->second;
  while (out.size() < count && !h.counts.empty()) {
    auto at = h.counts.begin();
    while (at->second > 0 && out.size() < count) {
      out.push_back(at->first);
      --at->second;
    }
    if (at->second == 0)
      h.counts.erase(at);
  }
  add(h, -static_cast<std::int64_t>(out.size()));
  if (h.counts.empty())
    holders_.erase(holder_at);
  return out;
}

void pin_table::set_dead(session_id session) {
  auto& h = holders_[session];  // also without pins: those of a lookup under way are recorded later
  if (!std::exchange(h.dead, true))
    held_dead_ += h.pins;
}

void pin_table::add(holder& h, std::int64_t more) {
  auto n = static_cast<std::uint64_t>(more);
  h.pins += n;
  pins_ += n;
  held_dead_ += h.dead ? n : 0;
}

bool pin_table::is_dead(session_id session) const {
  auto at = holders_.find(session);
  return at != holders_.end() && at->second.dead;
}

std::uint64_t pin_table::pins_of(session_id session) const {
  auto at = holders_.find(session);
  return at == holders_.end() ? 0 : at->second.pins;
}

}  // namespace maru::actors
