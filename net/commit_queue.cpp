#include "net/commit_queue.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace maru::net {

// One caller's call.
class commit_queue::part final : public call {
public:
  part(commit_queue& queue, std::shared_ptr<job_queue> late_jobs) : call(std::move(late_jobs)), queue_(queue) {}

  bool wait_until(time_point deadline) override {
    if (due_ && !call::wait_until(std::min(deadline, *due_)))
      queue_.hurry(number_);
    if (!call::wait_until(deadline))
      return false;
    queue_.go_on();
    return true;
  }

  // Where nobody waits any more nobody may look after the message either.
  void abandon(late_handler late) override {
    queue_.hurry(number_);
    call::abandon(std::move(late));
  }

  void joins(std::uint64_t number, std::optional<time_point> due) {
    number_ = number;
    due_ = due;
  }

private:
  commit_queue& queue_;            // alive: who has the call has the session
  std::uint64_t number_ = 0;       // of its message
  std::optional<time_point> due_;  // of a message that began with this part and waits
};

struct commit_queue::splitter final : receiver {
  splitter(std::shared_ptr<commit_queue> queue, std::vector<share> shares)
      : queue_(std::move(queue)), shares_(std::move(shares)) {}

  void finish(outcome o) override {
    queue_->answered();
    auto* reply = o.code == ec::ok ? &std::get<codes_reply>(o.reply) : nullptr;
    std::size_t items = 0, at = 0;
    for (auto& s : shares_)
      items += s.items;
    if (reply && reply->codes.size() != items)
      reply->codes.clear();  // it makes no sense, for none of them
    for (auto& s : shares_) {
      outcome own{o.code, {}, o.sent};
      if (reply)
        own.reply = codes_reply{reply->code, reply->codes.substr(std::min(at, reply->codes.size()), s.items)};
      at += s.items;
      s.caller->finish(std::move(own));
    }
  }

private:
  std::shared_ptr<commit_queue> queue_;
  std::vector<share> shares_;
};

bool commit_queue::message::has_room_for(const commit_request& more, std::size_t n) const {
  return items + n <= bounds::batch_items_max && request.items.size() + more.items.size() <= bounds::message_bytes_max;
}

std::shared_ptr<call> commit_queue::send(const commit_request& request, std::size_t items, pace how) {
  auto own = std::make_shared<part>(*this, late_jobs_);
  message full, next;
  {
    std::lock_guard lock(mutex_);
    if (!waiting_.has_room_for(request, items))
      full = take();
    bool first = waiting_.shares.empty();
    waiting_.request.items += request.items;
    waiting_.items += items;
    waiting_.shares.push_back({own, items});
    auto due = last_sent_ + delay_max_;
    own->joins(number_, first ? std::optional{due} : std::nullopt);
    if (how == pace::at_once || may_send() || std::chrono::steady_clock::now() >= due)
      next = take();
  }
  dispatch(std::move(full));
  return dispatch(std::move(next)) ? own : nullptr;
}

commit_queue::message commit_queue::take() {
  if (waiting_.shares.empty())
    return {};
  ++number_;
  ++under_way_;
  last_sent_ = std::chrono::steady_clock::now();
  return std::exchange(waiting_, {});
}

bool commit_queue::dispatch(message m) {
  if (m.shares.empty())
    return true;
  auto to = std::make_shared<splitter>(shared_from_this(), std::move(m.shares));
  if (send_(std::move(m.request), to))
    return true;
  to->finish({ec::unavailable, {}, false});
  return false;
}

void commit_queue::go_on() {
  message next;
  {
    std::lock_guard lock(mutex_);
    if (may_send())
      next = take();
  }
  dispatch(std::move(next));
}

void commit_queue::hurry(std::uint64_t number) {
  message next;
  {
    std::lock_guard lock(mutex_);
    if (number == number_)
      next = take();
  }
  dispatch(std::move(next));
}

void commit_queue::answered() {
  std::lock_guard lock(mutex_);
  --under_way_;
}

}  // namespace maru::net
