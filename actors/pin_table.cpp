#include "actors/pin_table.hpp"

namespace maru::actors {

void pin_table::record(session_id session, std::span<const pin_id> pins) {
  auto& h = holders_[session];
  for (const auto& pin : pins)
    ++h.counts[pin];
  h.pins += pins.size();
  pins_ += pins.size();
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
    --h.pins;
    --pins_;
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
  h.pins -= out.size();
  pins_ -= out.size();
  if (h.counts.empty())
    holders_.erase(holder_at);
  return out;
}

void pin_table::set_dead(session_id session) {
  if (auto at = holders_.find(session); at != holders_.end())
    at->second.dead = true;
}

std::uint64_t pin_table::pins_held_dead() const {
  std::uint64_t sum = 0;
  for (const auto& [id, h] : holders_)
    sum += h.dead ? h.pins : 0;
  return sum;
}

std::uint64_t pin_table::pins_of(session_id session) const {
  auto at = holders_.find(session);
  return at == holders_.end() ? 0 : at->second.pins;
}

}  // namespace maru::actors
