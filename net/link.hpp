// A client's connection to marud: requests out, replies in. Hides CAF from the rest of the client.
#pragma once

#include <caf/actor_control_block.hpp>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>

#include "base/error.hpp"
#include "base/server_address.hpp"
#include "net/job_queue.hpp"
#include "net/protocol.hpp"
#include "net/tls_options.hpp"

namespace caf {
class message;
}

namespace maru::net {

class runtime;

// Which reply answers a request.
template <class Request>
struct answer_to;
template <>
struct answer_to<hello> {
  using type = hello_reply;
};
template <>
struct answer_to<grant_request> {
  using type = grant_reply;
};
template <>
struct answer_to<give_back_request> {
  using type = codes_reply;
};
template <>
struct answer_to<commit_request> {
  using type = codes_reply;
};
template <>
struct answer_to<lookup_request> {
  using type = found_reply;
};
template <>
struct answer_to<exists_request> {
  using type = codes_reply;
};
template <>
struct answer_to<unpin_request> {
  using type = codes_reply;
};
template <>
struct answer_to<remove_request> {
  using type = codes_reply;
};
template <>
struct answer_to<report_request> {
  using type = codes_reply;
};
template <>
struct answer_to<renew_request> {
  using type = renew_reply;
};
template <>
struct answer_to<regions_request> {
  using type = regions_reply;
};
template <>
struct answer_to<show_region_request> {
  using type = show_region_reply;
};
template <>
struct answer_to<usage_request> {
  using type = usage_reply;
};
template <>
struct answer_to<attach_request> {
  using type = codes_reply;
};
template <>
struct answer_to<close_request> {
  using type = close_reply;
};
template <class Request>
using reply_of = typename answer_to<Request>::type;

// The last one is the front door, the answer to connecting.
using any_reply = std::variant<std::monostate, hello_reply, grant_reply, codes_reply, found_reply, renew_reply,
                               regions_reply, show_region_reply, usage_reply, close_reply, caf::strong_actor_ptr>;

// How a call ended. ok: `reply` is what was asked for. unavailable: the connection or the session went away, the
// request may or may not have been served; not, where it was never `sent`. version_mismatch: the other side does not know
// the message.
struct outcome {
  ec code = ec::unavailable;
  any_reply reply;
  bool sent = true;
};

// Who is told how a request ended: once, by the I/O thread or by whoever shuts the link down.
struct receiver {
  virtual ~receiver() = default;
  virtual void finish(outcome o) = 0;
};

// A request under way.
// Concurrency: one waiter.
class call : public receiver {
public:
  using late_handler = std::function<void(outcome&)>;

  explicit call(std::shared_ptr<job_queue> late_jobs) : late_jobs_(std::move(late_jobs)) {}

  bool done() const;
  // False where the time came first.
  virtual bool wait_until(time_point deadline);
  // REQUIRES: done().
  outcome& result() { return outcome_; }
  // Nobody waits any more: `late` is run on the housekeeping thread with the outcome, at once or when it comes.
  // It must not own anything that owns the client.
  virtual void abandon(late_handler late);

  void finish(outcome o) override;

private:
  void hand_over();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  outcome outcome_;
  late_handler late_;
  std::shared_ptr<job_queue> late_jobs_;
};

// Requests go from the caller's thread straight to CAF's I/O thread, and replies from there straight to the waiting
// caller: no scheduled actor in between, since each would cost a thread switch.
// Concurrency: all members from any thread, but connect() and adopt() from one.
// Limits: never reconnects; the client makes a new link.
class link {
public:
  link(std::shared_ptr<runtime> owner, std::shared_ptr<job_queue> late_jobs);
  ~link();
  link(const link&) = delete;
  link& operator=(const link&) = delete;

  // Connects to marud's front door. Errors: see dial(); `unavailable` also where what answers is no marud.
  status connect(const server_address& server, const tls_options& tls, time_point deadline);
  // From here on requests go to this session, and the link is down when it is.
  void adopt(const session_actor& session);
  bool up() const;

  // Sends to the session (hello: to the front door). Null where the link is down: nothing was sent.
  template <class Request>
  std::shared_ptr<call> send(Request request);
  // The same for who is not a call. False where the link is down: nothing was sent, and `to` hears nothing.
  template <class Request>
  bool send(Request request, std::shared_ptr<receiver> to);
  // Sends without a waiter; `late` is run on the housekeeping thread. False where the link is down: it never is.
  template <class Request>
  bool post(Request request, call::late_handler late) {
    auto sent = send(std::move(request));
    if (sent)
      sent->abandon(std::move(late));
    return sent != nullptr;
  }

  // Fails everything under way, and every later request. May be called again.
  void shut_down();

private:
  struct core;
  void disconnect();
  using decoder = bool (*)(caf::message&, any_reply&);
  bool send_to(const caf::strong_actor_ptr& target, caf::message&& content, decoder decode,
               std::shared_ptr<receiver> to);

  std::shared_ptr<runtime> runtime_;
  std::shared_ptr<core> core_;
  std::once_flag disconnected_;
  caf::strong_actor_ptr companion_;
  caf::strong_actor_ptr door_;
  caf::strong_actor_ptr session_;
};

}  // namespace maru::net
