#include "net/session_holds.hpp"

#include <time.h>

#include <algorithm>

namespace maru::net {

namespace {

// The steady clock to some milliseconds, at a fourth of its cost.
std::chrono::steady_clock::time_point coarse_now() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::steady_clock::time_point{std::chrono::seconds{now.tv_sec}
                                               + std::chrono::nanoseconds{now.tv_nsec}};
}

}  // namespace

void session_holds::add_key(const key_hash& hash, cxl::held_pages::position held, std::uint64_t slot) {
  auto& p = part_of(hash);
  auto now = coarse_now();
  std::lock_guard lock{p.mutex};
  // While a key is pinned it stays at its page: the position is the same each time.
  auto& one = p.pins[hash];
  one.held = held;
  one.slot = slot;
  one.taken = now;
  ++one.count;
}

std::optional<std::uint64_t> session_holds::drop_key(const key_hash& hash) {
  auto& p = part_of(hash);
  std::lock_guard lock{p.mutex};
  auto at = p.pins.find(hash);
  if (at == p.pins.end())
    return std::nullopt;
  auto slot = at->second.slot;
  table_->drop(at->second.held);
  release(1);
  if (--at->second.count == 0)
    p.pins.erase(at);
  return slot;
}

std::size_t session_holds::drop_keys_of(std::chrono::steady_clock::time_point before) {
  std::size_t dropped = 0;
  for (auto& p : parts_) {
    std::lock_guard lock{p.mutex};
    dropped += std::erase_if(p.pins, [&](const auto& item) {
      const auto& old = item.second;
      if (old.taken >= before)
        return false;
      for (std::uint32_t i = 0; i < old.count; ++i)
        table_->drop(old.held);
      release(old.count);
      return true;
    });
  }
  return dropped;
}

bool session_holds::has_keys() const {
  return std::any_of(parts_.begin(), parts_.end(), [](const part& p) {
    std::lock_guard lock{p.mutex};
    return !p.pins.empty();
  });
}

}  // namespace maru::net
