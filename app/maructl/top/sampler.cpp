#include "app/maructl/top/sampler.hpp"

#include <exception>
#include <utility>

namespace maru::ctl {

result<sample> looker::ask_all() {
  if (!connection_) {
    auto opened = questions::open(*command_);
    if (!opened)
      return opened.error();
    connection_.emplace(*std::move(opened));
  }
  auto status = connection_->ask("status");
  if (!status)
    return status.error();
  auto sessions = connection_->ask("sessions");
  if (!sessions)
    return sessions.error();
  auto metrics = connection_->ask("metrics");
  if (!metrics)
    return metrics.error();
  return read_sample(*status, *sessions, metrics->at("text").get<std::string>());
}

result<sample> looker::look() {
  auto found = [&]() -> result<sample> {
    try {
      return ask_all();
    } catch (const nlohmann::json::exception& e) {
      return {ec::corrupt, "failed to read the answer of marud at " + command_->server + ": " + e.what()};
    }
  }();
  if (!found)
    connection_.reset();
  return found;
}

sampler::sampler(const command& c, std::function<void(result<sample>)> found)
    : interval_(c.interval),
      looker_(c),
      found_(std::move(found)),
      thread_([this](const std::stop_token& stopped) { run(stopped); }) {}

void sampler::run(const std::stop_token& stopped) {
  while (!stopped.stop_requested()) {
    found_(looker_.look());
    std::unique_lock lock{mutex_};
    wake_.wait_for(lock, stopped, interval_, [] { return false; });
  }
  std::lock_guard lock{mutex_};
  ended_ = true;
  wake_.notify_all();
}

bool sampler::stop_within(std::chrono::milliseconds patience) {
  thread_.request_stop();
  std::unique_lock lock{mutex_};
  return wake_.wait_for(lock, patience, [&] { return ended_; });
}

}  // namespace maru::ctl
