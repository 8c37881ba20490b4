// A lock for sections of a few instructions, one byte in size.
#pragma once

#include <sched.h>

#include <atomic>

namespace maru {

// What std::lock_guard asks of a mutex. Spins, and gives the core away now and then: the holder may have lost its own.
class spin_lock {
public:
  void lock() {
    while (taken_.exchange(true, std::memory_order_acquire))
      for (int spins = 1; taken_.load(std::memory_order_relaxed); ++spins)
        if (spins % spins_before_yield == 0)
          ::sched_yield();
  }
  void unlock() { taken_.store(false, std::memory_order_release); }

private:
  static constexpr int spins_before_yield = 100;
  std::atomic<bool> taken_{false};
};

}  // namespace maru
