// A mutex that is waited for until a deadline: std::timed_mutex on the steady clock, but of parts that GCC 12's
// ThreadSanitizer knows. It does not see pthread_mutex_clocklock, and takes the unlock after it for a fault.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace maru::net {

// What std::unique_lock asks of a mutex that is locked with a deadline.
class deadline_mutex {
public:
  bool try_lock_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    if (!free_again_.wait_until(lock, deadline, [this] { return !taken_; }))
      return false;
    taken_ = true;
    return true;
  }

  void unlock() {
    {
      std::lock_guard lock(mutex_);
      taken_ = false;
    }
    free_again_.notify_one();
  }

private:
  std::mutex mutex_;
  std::condition_variable free_again_;
  bool taken_ = false;
};

}  // namespace maru::net
