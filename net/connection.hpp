// A client's session with marud, kept up: opened, renewed, resumed after a loss.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/server_address.hpp"
#include "net/client.hpp"
#include "net/holdings.hpp"
#include "net/job_queue.hpp"
#include "net/runtime.hpp"
#include "net/session.hpp"

namespace maru::net {

// Operation: the client's housekeeping thread calls tend() when it says so and whenever the queue wakes it; that is
// where messages about the session itself are sent and waited for. Callers only read the state and wait for it.
// Lease: it counts from the sending of the last answered renew (or hello). Once it is over, marud may do with our
// pages and pins what it likes, so nothing new is handed out until it is renewed (`usable`).
// Concurrency: as marked.
class connection {
public:
  // `recall` is called on the housekeeping thread with the number of unused grants that marud wants back.
  connection(client_options options, server_address server, std::shared_ptr<runtime> owner, holdings& held,
             std::shared_ptr<job_queue> jobs, std::function<void(const session&, std::size_t)> recall, pool_mapper map);

  // -- any thread
  bool forked() const { return runtime_->forked(); }
  // The last session, connected or not; null before the first and after the end.
  session_ptr latest() const;
  // The session if it is connected, else null.
  session_ptr now() const;
  // Of the latest session; 0 where there is none. Cheap: changes with each new connection only.
  std::uint64_t wire_number() const { return wire_number_.load(std::memory_order_acquire); }
  // Waits for a connected session. `session_over`: closed, or forked. `unavailable`: none by the deadline.
  result<session_ptr> wait(time_point deadline) const;
  // True while the lease runs for some time yet, by a clock that is cheap and some milliseconds late.
  bool usable_now() const;
  // Waits until pages and views may be handed out: immediately while the lease runs.
  status usable(time_point deadline) const;
  // Waits for the first session. Also returns at an error that trying again would not mend.
  status wait_open(time_point deadline) const;
  // This session is no good any more (as an answer told): a new connection is due.
  void lose(const session& bad);
  // No more calls of users: waiting ones end with `session_over`. The session itself goes on until finish().
  void begin_close();
  bool closing() const { return closing_; }

  // -- housekeeping thread
  // Connects, renews, notices losses. Returns when to call again at the latest.
  time_point tend();
  // Ends the session.
  void finish(time_point deadline);

private:
  void attempt();
  result<session_ptr> open_session(const std::shared_ptr<link>& wire, time_point deadline);
  result<session_ptr> settle_in(const std::shared_ptr<link>& wire, const session_ptr& previous, hello_reply& reply,
                                const holdings::declaration& declared, time_point deadline);
  void renew(const session_ptr& s);
  void drop_ended_lives();
  void lease_runs_until(time_point t);
  bool lease_runs() const;

  const client_options options_;
  const server_address server_;
  const std::shared_ptr<runtime> runtime_;
  holdings& held_;
  const std::shared_ptr<job_queue> jobs_;
  const std::function<void(const session&, std::size_t)> recall_;
  const pool_mapper map_pool_;

  mutable std::mutex mutex_;
  // Whose pins by key the caller may still rely on, and since when they are over. Until the client closes, or they are too
  // old (session_life::pin_age_max).
  struct ended_life {
    std::shared_ptr<const session_life> life;
    time_point since;
  };
  std::vector<ended_life> ended_lives_;
  mutable std::condition_variable changed_;
  session_ptr current_;
  std::shared_ptr<link> trying_;  // while attempt() runs
  error last_error_;
  std::atomic<bool> closing_{false};
  std::atomic<std::uint64_t> wire_number_{0};
  std::atomic<time_point::rep> lease_until_{0};

  // Of the housekeeping thread
  time_point next_attempt_{};
  std::chrono::milliseconds back_off_{};
  time_point renew_due_{};
  std::optional<time_point> renew_sent_;
  bool told_leaving_ = false;
};

}  // namespace maru::net
