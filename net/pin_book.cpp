#include "net/pin_book.hpp"

#include <algorithm>
#include <iterator>

namespace maru::net {

pin_book::counts& pin_book::entry_of(const key_hash& hash) {
  auto [at, first] = entries_.try_emplace(hash);
  if (first && record_)
    at->second.slot = record_->add(hash);
  return at->second;
}

pin_book::entries::iterator pin_book::erase(entries::iterator at) {
  if (record_)
    record_->drop(at->second.slot);
  return entries_.erase(at);
}

void pin_book::add_pin(const key_hash& hash) {
  ++entry_of(hash).pins;
  ++size_;
}

void pin_book::add_view(const key_hash& hash) {
  ++entry_of(hash).views;
  ++size_;
}

bool pin_book::drop(const key_hash& hash, std::uint32_t counts::*which) {
  auto it = entries_.find(hash);
  if (it == entries_.end() || it->second.*which == 0)
    return false;
  --(it->second.*which);
  --size_;
  if (it->second.pins == 0 && it->second.views == 0)
    erase(it);
  return true;
}

bool pin_book::drop_pin(const key_hash& hash) { return drop(hash, &counts::pins); }

bool pin_book::drop_view(const key_hash& hash) { return drop(hash, &counts::views); }

std::vector<key_hash> pin_book::all() const {
  std::vector<key_hash> hashes;
  hashes.reserve(size_);
  for (auto& [hash, n] : entries_)
    hashes.insert(hashes.end(), std::size_t{n.pins} + n.views, hash);
  return hashes;
}

bool pin_book::has_pins() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const auto& e) { return e.second.pins > 0; });
}

std::vector<key_hash> pin_book::drop_all_pins() {
  std::vector<key_hash> dropped;
  for (auto it = entries_.begin(); it != entries_.end();) {
    dropped.insert(dropped.end(), it->second.pins, it->first);
    it->second.pins = 0;
    it = it->second.views == 0 ? erase(it) : std::next(it);
  }
  size_ -= dropped.size();
  return dropped;
}

}  // namespace maru::net
