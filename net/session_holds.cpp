#include "net/session_holds.hpp"

#include <algorithm>

#include "base/coarse_clock.hpp"

namespace maru::net {

void session_holds::add_key(const key_hash& hash, cxl::held_pages::position held, std::uint64_t slot) {
  auto& p = part_of(hash);
  auto now = coarse_now();
  std::lock_guard lock{p.mutex};
  auto& one = p.pins[hash];
  if (one.count > 0 && one.held != held)
    p.elsewhere.emplace_back(hash, std::exchange(one, {}));
  one.held = held;
  one.slot = slot;
  one.taken = now;
  ++one.count;
}

std::optional<std::uint64_t> session_holds::drop_key(const key_hash& hash) {
  auto& p = part_of(hash);
  std::lock_guard lock{p.mutex};
  auto end_one = [this](pin& one) {
    table_->drop(one.held);
    release(1);
    return --one.count == 0;
  };
  if (auto at = p.pins.find(hash); at != p.pins.end()) {
    auto slot = at->second.slot;
    if (end_one(at->second))
      p.pins.erase(at);
    return slot;
  }
  auto old = std::find_if(p.elsewhere.rbegin(), p.elsewhere.rend(), [&](const auto& e) { return e.first == hash; });
  if (old == p.elsewhere.rend())
    return std::nullopt;
  auto slot = old->second.slot;
  if (end_one(old->second))
    p.elsewhere.erase(std::next(old).base());
  return slot;
}

void session_holds::end(const pin& one) {
  for (std::uint32_t i = 0; i < one.count; ++i)
    table_->drop(one.held);
  release(one.count);
}

std::size_t session_holds::drop_keys_of(std::chrono::steady_clock::time_point before) {
  std::size_t dropped = 0;
  auto end_old = [&](const auto& item) {
    if (item.second.taken >= before)
      return false;
    end(item.second);
    return true;
  };
  for (auto& p : parts_) {
    std::lock_guard lock{p.mutex};
    dropped += std::erase_if(p.pins, end_old) + std::erase_if(p.elsewhere, end_old);
  }
  return dropped;
}

bool session_holds::has_keys() const {
  return std::any_of(parts_.begin(), parts_.end(), [](const part& p) {
    std::lock_guard lock{p.mutex};
    return !p.pins.empty() || !p.elsewhere.empty();
  });
}

}  // namespace maru::net
