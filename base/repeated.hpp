// A thread that does one thing again and again.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace maru {

// Calls a function at once and then every interval, until it is destroyed: that waits for a call which is under way.
class repeated {
public:
  repeated(std::chrono::microseconds interval, std::function<void()> call)
      : thread_([this, interval, call = std::move(call)](const std::stop_token& stopped) {
          std::unique_lock lock{mutex_};
          do
            call();
          while (!wake_.wait_for(lock, stopped, interval, [&] { return stopped.stop_requested(); }));
        }) {}

private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace maru
