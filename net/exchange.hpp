// One request of a caller, from sending to its answer.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "base/error.hpp"
#include "net/connection.hpp"
#include "net/link.hpp"

namespace maru::net {

inline std::string failure(const char* what, const std::string& cause) {
  return std::string{"failed to "} + what + ": " + cause;
}

// How a request goes out: by itself.
struct alone {
  template <class Request>
  std::shared_ptr<call> operator()(const session& s, const Request& request) const {
    return s.wire->send(request);
  }
};

// Sends at once where there is a connection; otherwise finish() waits for one. Until the deadline it is sent again: after
// `busy` or `stopping`, with a back-off; after `session_over`, on the session that the client opens next; and when the
// connection was lost before the answer came, on the next one. So every request must bear to be served again: pins and
// grants of an answer that got lost end with its connection, and a commit is answered by its page's state.
// Concurrency: one thread at a time.
template <class Request, class Send = alone>
class exchange {
public:
  // `what` names the request in errors: "look up keys". With a `tenure` the request makes sense in that session only.
  exchange(connection& where, const char* what, Request request, time_point deadline,
           std::optional<std::uint64_t> tenure = std::nullopt, Send how = Send())
      : connection_(where),
        what_(what),
        request_(std::move(request)),
        deadline_(deadline),
        tenure_(tenure),
        send_(std::move(how)) {
    send(connection_.now());
  }

  // True when finish() will not wait. Sends again what marud was too busy for, as finish() does.
  bool ready() {
    if (connection_.forked() || (!call_ && connection_.closing()))
      return true;
    auto now = std::chrono::steady_clock::now();
    if (now >= deadline_)
      return true;
    if (!call_ && now >= again_at_)
      send(connection_.now());
    if (call_)
      return call_->done() && !put_off();
    auto s = connection_.now();
    return s && tenure_ && s->life->tenure != *tenure_;
  }

  // The answer, or why the request as a whole failed.
  result<reply_of<Request>> finish() {
    if (connection_.forked())
      return failed(ec::session_over, "the client was opened by another process");
    for (;;) {
      if (!call_) {
        auto s = connection_.wait(deadline_);
        if (!s)
          return failed(s.code(), s.error().message);
        if (tenure_ && (*s)->life->tenure != *tenure_)
          return failed(ec::gone, "its session is over");
        // Too late to be answered: what was refused would become a doubt.
        if (refused_ != ec::ok && std::chrono::steady_clock::now() >= deadline_)
          return refusal(refused_);
        std::this_thread::sleep_until(again_at_);
        if (!send(*s))
          continue;
      }
      if (!call_->wait_until(deadline_)) {
        in_doubt_ = true;
        return failed(ec::timeout, "marud did not answer before the deadline");
      }
      if (put_off())
        continue;
      auto answered = std::exchange(call_, nullptr);
      auto& o = answered->result();
      if (o.code != ec::ok)
        return failed(o.code, "marud does not know the request");
      auto& reply = std::get<reply_of<Request>>(o.reply);
      auto code = code_of(reply);
      if (code == ec::ok)
        return std::move(reply);
      return refusal(code);
    }
  }

  // The answer came and is void: the next finish() asks again.
  void repeat() { call_ = nullptr; }

  // After finish() failed: the request was sent, and whether it was served is not known.
  bool in_doubt() const { return in_doubt_; }
  time_point deadline() const { return deadline_; }
  // The session that the request was sent to last; may be null.
  const session_ptr& used() const { return used_; }
  const Request& request() const { return request_; }
  // Nobody will call finish() (again). `late` is run on the housekeeping thread with the answer that is still to come,
  // not at all where there is none to come.
  bool abandon(call::late_handler late) {
    auto left = std::exchange(call_, nullptr);
    if (connection_.forked())  // a thread of the parent may have held its lock
      return false;
    if (left)
      left->abandon(std::move(late));
    return left != nullptr;
  }

private:
  bool send(const session_ptr& s) {
    if (!s || (tenure_ && s->life->tenure != *tenure_))
      return false;
    call_ = send_(*s, request_);
    if (call_)
      used_ = s;
    return call_ != nullptr;
  }

  static bool lost(const outcome& o) { return o.code == ec::unavailable; }
  static ec code_of(const reply_of<Request>& reply) {
    return reply.code <= static_cast<std::uint8_t>(ec::last_) ? static_cast<ec>(reply.code) : ec::corrupt;
  }

  // Is the request to be sent once more? Then the call is over. REQUIRES: it is done.
  bool put_off() {
    auto& o = call_->result();
    if (lost(o)) {
      drop_lost();
      return true;
    }
    auto code = o.code == ec::ok ? code_of(std::get<reply_of<Request>>(o.reply)) : ec::ok;
    if (code != ec::busy && code != ec::session_over && code != ec::stopping)
      return false;
    if (code == ec::session_over)
      connection_.lose(*used_);
    auto now = std::chrono::steady_clock::now();
    // A last try that has no time to be answered would turn a refusal into a doubt.
    if (now + 2 * pause_ >= deadline_)
      return false;
    refused_ = code;
    again_at_ = now + pause_;
    pause_ = std::min(pause_ * 2, std::chrono::milliseconds{32});
    call_ = nullptr;
    return true;
  }

  void drop_lost() {
    if (call_->result().sent) {
      in_doubt_ = true;
      refused_ = ec::ok;
    }
    call_ = nullptr;
    if (used_->wire->up())  // an answer that made no sense: not to be asked for in a hot loop
      connection_.lose(*used_);
  }

  error failed(ec code, const std::string& cause) const { return {code, failure(what_, cause)}; }
  error refusal(ec code) const {
    return failed(code, "marud answered " + std::string{to_string(code)}
                          + (code == ec::busy ? " (after a restart: until its sessions of before are back)" : ""));
  }

  connection& connection_;
  const char* what_;
  Request request_;
  time_point deadline_;
  std::optional<std::uint64_t> tenure_;
  Send send_;
  std::shared_ptr<call> call_;
  session_ptr used_;
  std::chrono::milliseconds pause_{1};
  ec refused_ = ec::ok;    // what marud answered, that it is asked for again
  time_point again_at_{};  // not to be sent before
  bool in_doubt_ = false;
};

}  // namespace maru::net
