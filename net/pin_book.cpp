#include "net/pin_book.hpp"

#include <iterator>

namespace maru::net {

void pin_book::add(const pin_id& pin) {
  auto [at, first] = entries_.try_emplace(pin);
  if (first && record_)
    at->second.slot = record_->add(pin);
  ++at->second.count;
  ++size_;
  keys_ += pin.by_view() ? 0 : 1;
}

// Ends `n` of an entry's pins; the entry behind it.
pin_book::entries::iterator pin_book::take(entries::iterator at, std::uint32_t n) {
  size_ -= n;
  keys_ -= at->first.by_view() ? 0 : n;
  at->second.count -= n;
  if (at->second.count > 0)
    return std::next(at);
  if (record_)
    record_->drop(at->second.slot);
  return entries_.erase(at);
}

bool pin_book::drop(const pin_id& pin) {
  auto at = entries_.find(pin);
  if (at == entries_.end())
    return false;
  take(at, 1);
  return true;
}

std::vector<pin_id> pin_book::all() const {
  std::vector<pin_id> pins;
  pins.reserve(size_);
  for (auto& [pin, e] : entries_)
    pins.insert(pins.end(), e.count, pin);
  return pins;
}

std::vector<pin_id> pin_book::drop_keys() {
  std::vector<pin_id> dropped;
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (at->first.by_view()) {
      ++at;
      continue;
    }
    dropped.insert(dropped.end(), at->second.count, at->first);
    at = take(at, at->second.count);
  }
  return dropped;
}

}  // namespace maru::net
