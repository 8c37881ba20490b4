// Takes samples of a marud, whether or not it is there: a lost connection is opened again at the next look.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "app/maructl/command_line.hpp"
#include "app/maructl/questions.hpp"
#include "app/maructl/top/sample.hpp"
#include "base/error.hpp"

namespace maru::ctl {

// Concurrency: one thread. REQUIRES: the command outlives it.
class looker {
public:
  explicit looker(const command& c) : command_(&c) {}
  // Waits for as long as the command's timeout, for each of its questions.
  result<sample> look();

private:
  result<sample> ask_all();

  const command* command_;
  std::optional<questions> connection_;
};

// Looks at every interval on a thread of its own, and hands each result over on that thread.
class sampler {
public:
  sampler(const command& c, std::function<void(result<sample>)> found);
  // False: it still waits for an answer of marud, and so would the destructor.
  bool stop_within(std::chrono::milliseconds patience);
  ~sampler() = default;
  sampler(const sampler&) = delete;

private:
  void run(const std::stop_token& stopped);

  std::chrono::milliseconds interval_;
  looker looker_;
  std::function<void(result<sample>)> found_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool ended_ = false;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace maru::ctl
