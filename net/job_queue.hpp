// Work that other threads leave for a client's housekeeping thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

namespace maru::net {

using time_point = std::chrono::steady_clock::time_point;

// Concurrency: push and wake from any thread, take from one.
class job_queue {
public:
  using job = std::function<void()>;

  void push(job j) {
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(j));
      woken_ = true;
    }
    changed_.notify_one();
  }

  // Ends the wait of take(). Cheap where it is about to end anyway.
  void wake() {
    {
      std::lock_guard lock(mutex_);
      if (woken_)
        return;
      woken_ = true;
    }
    changed_.notify_one();
  }

  // Waits for jobs, a wake or the time; returns the jobs in order.
  std::vector<job> take(time_point until) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, until, [this] { return woken_; });
    woken_ = false;
    std::vector<job> jobs;
    jobs.swap(jobs_);
    return jobs;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<job> jobs_;
  bool woken_ = false;
};

}  // namespace maru::net
