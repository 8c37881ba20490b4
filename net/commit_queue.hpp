// Commits of many threads in few messages.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/bounds.hpp"
#include "net/link.hpp"

namespace maru::net {

// The commits that go to one session. One goes out at once while fewer than `apart` messages are under way; those that come
// meanwhile are joined into the next message, which goes out when
//   - one under way is answered: whoever hears its own answer first sends it;
//   - the last one was sent `delay_max` ago: the caller whose commit is the first in it sends it, or whoever comes next;
//   - it is full: the caller whose commit finds no room sends it;
//   - a commit comes that must not wait, or a caller gives up that is in it.
// Every caller has a call of its own, which ends with the codes of its own items: its deadline, its doubts and its sending
// again are its own affair.
// Concurrency: all members from any thread, while the sender lives; those of a call from one. No thread of its own.
// Limits: marud answers a message when the last of its items is done, so a caller may wait for another's item. With one
// message under way, two threads would take turns: at most 60 % of the commits that they do apart. So it is two.
class commit_queue : public std::enable_shared_from_this<commit_queue> {
public:
  // False where the link is down: nothing was sent, and the receiver hears nothing.
  using sender = std::function<bool(commit_request, std::shared_ptr<receiver>)>;
  enum class pace { may_wait, at_once };

  commit_queue(sender send, std::shared_ptr<job_queue> late_jobs,
               std::chrono::steady_clock::duration delay_max = bounds::commit_delay_max,
               std::size_t apart = bounds::commits_apart)
      : send_(std::move(send)), late_jobs_(std::move(late_jobs)), delay_max_(delay_max), apart_(apart) {}

  // Takes a request of `items` items. may_wait: REQUIRES that the call is waited for, or abandoned, next. Null where the
  // link is down: nothing was sent. Where it turns out later that it is, the call ends as not `sent`.
  std::shared_ptr<call> send(const commit_request& request, std::size_t items, pace how);

private:
  class part;
  struct share {
    std::shared_ptr<call> caller;
    std::size_t items = 0;
  };
  // What waits to be sent.
  struct message {
    commit_request request;
    std::vector<share> shares;
    std::size_t items = 0;
    bool has_room_for(const commit_request& more, std::size_t n) const;
  };
  // Splits an answer among the callers.
  struct splitter;

  // These two want the mutex held, by the caller.
  message take();
  bool may_send() const { return under_way_ < apart_; }
  // Sends what was taken; nothing where it is empty. False where the link is down.
  bool dispatch(message m);
  // What waits goes out where it may / where it is still the one with this number.
  void go_on();
  void hurry(std::uint64_t number);
  void answered();

  const sender send_;
  const std::shared_ptr<job_queue> late_jobs_;
  const std::chrono::steady_clock::duration delay_max_;
  const std::size_t apart_;

  std::mutex mutex_;
  message waiting_;
  std::uint64_t number_ = 0;  // of the message that waits
  std::size_t under_way_ = 0;
  time_point last_sent_{};
};

}  // namespace maru::net
