#include "cxl/serving_beat.hpp"

#include <atomic>
#include <cstring>
#include <thread>

#include "cxl/visibility.hpp"

namespace maru::cxl {

namespace {

std::atomic_ref<std::uint64_t> count_in(std::span<std::byte> line) {
  return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(line.data())};
}

}  // namespace

void serving_beat::write(std::uint64_t count) {
  count_in(line_).store(count, std::memory_order_release);
  between_hosts().publish(line_);
}

std::uint64_t serving_beat::read() const {
  between_hosts().acquire(line_);
  return count_in(line_).load(std::memory_order_acquire);
}

void serving_beat::beat(const lock_identity& lock) {
  auto next = read() + 1;
  std::memcpy(line_.data() + sizeof next, &lock, sizeof lock);
  write(next == 0 ? 1 : next);
}

lock_identity serving_beat::lock() const {
  lock_identity found;
  between_hosts().acquire(line_);
  std::memcpy(&found, line_.data() + sizeof(std::uint64_t), sizeof found);
  return found;
}

void serving_beat::end() { write(0); }

bool serving_beat::goes_on() const {
  auto first = read();
  auto until = std::chrono::steady_clock::now() + serving_beat_patience;
  while (first != 0 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(serving_beat_interval / 10);
    if (read() != first)
      return true;
  }
  return false;
}

}  // namespace maru::cxl
