#include "net/pin_book.hpp"

#include <iterator>

namespace maru::net {

void pin_book::add(const pin_id& pin, page_ref page) {
  auto [at, first] = entries_.try_emplace(pin);
  if (first && table_)
    at->second.held = table_->add({page, pin.by_view()});
  at->second.taken = std::chrono::steady_clock::now();
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
  if (table_)
    table_->drop(at->second.held);
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

std::vector<pin_id> pin_book::drop_keys() { return drop_keys_of(std::chrono::steady_clock::time_point::max()); }

std::vector<pin_id> pin_book::drop_keys_of(std::chrono::steady_clock::time_point before) {
  std::vector<pin_id> dropped;
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (at->first.by_view() || at->second.taken >= before) {
      ++at;
      continue;
    }
    dropped.insert(dropped.end(), at->second.count, at->first);
    at = take(at, at->second.count);
  }
  return dropped;
}

}  // namespace maru::net
