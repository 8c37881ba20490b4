#include "net/connection.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/coarse_clock.hpp"
#include "base/token_file.hpp"
#include "net/records.hpp"

namespace maru::net {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr auto back_off_min = 20ms, back_off_max = 250ms;
constexpr auto close_wait = 500ms;

std::chrono::milliseconds renew_interval(const session& s) {
  return std::min<std::chrono::milliseconds>(s.lease / 4, bounds::renew_interval);
}

// Errors of open that another try would not mend.
bool final_for_open(ec code) {
  return code == ec::refused || code == ec::version_mismatch || code == ec::io || code == ec::unknown_contents
         || code == ec::bad_option || code == ec::invalid || code == ec::too_large;
}

// One code per declared grant. Sent as one blob that may be longer than a batch.
std::vector<ec> decode_kept(std::string_view blob) {
  std::vector<ec> codes;
  for (auto byte : blob)
    codes.push_back(byte == static_cast<char>(ec::ok) ? ec::ok : ec::gone);
  return codes;
}

}  // namespace

connection::connection(client_options options, server_address server, std::shared_ptr<runtime> owner, holdings& held,
                       std::shared_ptr<job_queue> jobs, std::function<void(const session&, std::size_t)> recall,
                       pool_mapper map)
    : options_(std::move(options)),
      server_(std::move(server)),
      runtime_(std::move(owner)),
      held_(held),
      jobs_(std::move(jobs)),
      recall_(std::move(recall)),
      map_pool_(std::move(map)) {}

session_ptr connection::latest() const {
  std::lock_guard lock(mutex_);
  return current_;
}

session_ptr connection::now() const {
  std::lock_guard lock(mutex_);
  return current_ && current_->wire->up() ? current_ : nullptr;
}

result<session_ptr> connection::wait(time_point deadline) const {
  std::unique_lock lock(mutex_);
  auto settled = [this] { return closing_ || (current_ && current_->wire->up()); };
  if (!changed_.wait_until(lock, deadline, settled))
    return {ec::unavailable, "no connection to marud before the deadline"
                               + (last_error_.message.empty() ? "" : "; last try: " + last_error_.message)};
  if (closing_)
    return {ec::session_over, "the client was closed"};
  return current_;
}

bool connection::lease_runs() const { return steady::now().time_since_epoch().count() < lease_until_; }

bool connection::usable_now() const {
  constexpr auto late = 20ms;
  return (coarse_now() + late).time_since_epoch().count() < lease_until_.load(std::memory_order_relaxed) && !closing_;
}

void connection::lease_runs_until(time_point t) {
  {
    std::lock_guard lock(mutex_);
    lease_until_ = t.time_since_epoch().count();
  }
  changed_.notify_all();
}

status connection::usable(time_point deadline) const {
  if (lease_runs() && !closing_)
    return {};
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [this] { return closing_ || lease_runs(); }))
    return {ec::unavailable, "the session's lease ran out and was not renewed before the deadline"};
  if (closing_)
    return {ec::session_over, "the client was closed"};
  return {};
}

status connection::wait_open(time_point deadline) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return current_ || final_for_open(last_error_.code); });
  if (current_)
    return {};
  if (final_for_open(last_error_.code))
    return last_error_;
  auto cause = last_error_.message.empty() ? "no answer from " + options_.server : last_error_.message;
  // What kept the last try from going through is more telling than that time is over.
  auto code = last_error_.code == ec::ok || last_error_.code == ec::timeout ? ec::unavailable : last_error_.code;
  return {code, "failed to open a client within " + std::to_string(options_.timeout.count()) + " ms: " + cause};
}

void connection::lose(const session& bad) {
  bad.wire->shut_down();
  jobs_->wake();
}

void connection::begin_close() {
  std::shared_ptr<link> trying;
  std::vector<ended_life> ended;  // goes without the lock
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    trying = trying_;
    ended = std::exchange(ended_lives_, {});
  }
  if (trying)
    trying->shut_down();
  changed_.notify_all();
  jobs_->wake();
}

// Those whose pins may not be as old as they are.
void connection::drop_ended_lives() {
  std::vector<ended_life> old;
  std::lock_guard lock(mutex_);
  auto kept = std::partition(ended_lives_.begin(), ended_lives_.end(), [now = steady::now()](const ended_life& e) {
    return e.life->pin_age_max.count() == 0 || now - e.since < e.life->pin_age_max;
  });
  old.assign(std::make_move_iterator(kept), std::make_move_iterator(ended_lives_.end()));
  ended_lives_.erase(kept, ended_lives_.end());
}

time_point connection::tend() {
  drop_ended_lives();
  auto s = now();
  if (!s) {
    if (steady::now() >= next_attempt_)
      attempt();
    if (!(s = now()))
      return next_attempt_;
  }
  if (renew_sent_ && steady::now() >= *renew_sent_ + s->lease / 2) {
    lose(*s);
    next_attempt_ = steady::now();
    return next_attempt_;
  }
  if (!renew_sent_ && (steady::now() >= renew_due_ || (closing_ && !told_leaving_)))
    renew(s);
  return renew_sent_ ? *renew_sent_ + s->lease / 2 : renew_due_;
}

void connection::attempt() {
  auto wire = std::make_shared<link>(runtime_, jobs_);
  {
    std::lock_guard lock(mutex_);
    if (closing_) {  // what is left ends with the proof that this process let go of it
      next_attempt_ = steady::now() + back_off_max;
      return;
    }
    trying_ = wire;
  }
  auto opened = open_session(wire, steady::now() + options_.timeout);
  if (!opened)
    wire->shut_down();
  {
    std::lock_guard lock(mutex_);
    trying_.reset();
    if (opened)
      current_ = *opened;
    last_error_ = opened ? error{} : opened.error();
  }
  changed_.notify_all();
  if (opened) {
    back_off_ = {};
    renew_sent_.reset();
    renew_due_ = steady::now() + renew_interval(**opened);
    next_attempt_ = {};
  } else {
    back_off_ = std::clamp<std::chrono::milliseconds>(back_off_ * 2, back_off_min, back_off_max);
    next_attempt_ = steady::now() + back_off_;
  }
}

result<session_ptr> connection::open_session(const std::shared_ptr<link>& wire, time_point deadline) {
  if (auto connected = wire->connect(server_, options_.tls, deadline); !connected)
    return connected.error();
  auto token = token_source{options_.token_file, options_.token}.read();
  if (!token)
    return token.error();
  auto previous = latest();
  auto asked = steady::now();
  auto declared = held_.declare();
  auto reply = greet(*wire, introduce(options_, *token, previous.get(), declared), deadline);
  if (!reply && reply.code() == ec::session_over && previous) {
    previous.reset();
    asked = steady::now();
    declared = held_.declare();
    reply = greet(*wire, introduce(options_, *token, nullptr, declared), deadline);
  }
  if (!reply)
    return reply.error();
  wire->adopt(reply->handle);
  auto opened = settle_in(wire, previous, *reply, declared, deadline);
  if (opened) {
    lease_runs_until(asked + (*opened)->lease);
  } else if (auto closing = wire->send(close_request{})) {
    // Waited for: with the link the whole runtime may go, and the message with it.
    if (!closing->wait_until(std::min(deadline, steady::now() + close_wait)))
      closing->abandon([](outcome&) {});
  }
  return opened;
}

result<session_ptr> connection::settle_in(const std::shared_ptr<link>& wire, const session_ptr& previous,
                                          hello_reply& reply, const holdings::declaration& declared,
                                          time_point deadline) {
  auto known = latest();
  reply.lock_path = local_path(options_, reply.lock_path);
  bool resumed = previous && previous->id == reply.session;
  auto life = std::make_shared<session_life>();
  if (resumed && previous->life->lock_path == reply.lock_path) {
    life->alive = previous->life->alive;
    life->holds = previous->life->holds;
  } else {
    auto alive = prove_alive(reply.lock_path, deadline);
    if (!alive)
      return alive.error();
    life->alive = *std::move(alive);
    if (life->alive) {
      auto table = cxl::held_pages::open(reply.lock_path);
      if (!table)
        return table.error();
      life->holds = std::make_shared<session_holds>(*std::move(table), reply.pins_max);
    }
  }
  life->lock_path = reply.lock_path;
  if (known && known->life->pool->id == reply.pool && known->life->pool->devices->still(reply.devices)) {
    life->pool = known->life->pool;
    if (auto more = life->pool->devices->know(reply.devices); !more)
      return more.error();
  } else {
    auto pool = map_pool_(options_, reply);
    if (!pool)
      return pool.error();
    life->pool = *std::move(pool);
  }
  auto local = attach_locally(options_, reply, *life->pool->devices, life->holds.get(), *wire, deadline);
  if (local)
    life->local = *std::move(local);
  else
    life->why_not_local = local.error().message;
  auto made = std::make_shared<session>();
  made->wire = wire;
  made->commits = std::make_shared<commit_queue>(
    [to = wire.get()](commit_request request, std::shared_ptr<receiver> asker) {
      return to->send(std::move(request), std::move(asker));
    },
    jobs_);
  made->wire_number = declared.wire;
  made->id = reply.session;
  made->resume_secret = reply.resume_secret;
  std::memcpy(life->secret.data(), reply.secret.data(), life->secret.size());
  made->epoch = reply.epoch;
  made->index_word = reply.index_word;
  made->lease = std::chrono::milliseconds{reply.lease_ms};
  life->page_bytes = reply.page_bytes;
  life->pin_age_max = std::chrono::milliseconds{reply.pin_age_max_ms};
  life->checksums = static_cast<payload_checksums>(reply.checksums);
  // Callers that find the new tenure must find the new session too: both change before this mutex is free.
  std::lock_guard lock(mutex_);
  if (resumed)
    held_.resume(declared, decode_kept(reply.kept));
  else {
    // Pins by key of the session that is over: marud holds them while this process holds that session's lock, and the
    // caller may still read what they cover. So the lock is kept until the client closes.
    bool by_key = held_.start_over(life->holds ? life->holds->table() : nullptr);
    if (known && (by_key || (known->life->holds && known->life->holds->has_keys())))
      ended_lives_.push_back({known->life, steady::now()});
  }
  life->tenure = held_.tenure();
  made->life = std::move(life);
  trying_.reset();  // callers may have it from here on, and close: that is not to cut the link that says farewell
  current_ = made;
  wire_number_.store(made->wire_number, std::memory_order_release);
  return session_ptr{std::move(made)};
}

void connection::renew(const session_ptr& s) {
  auto sent = steady::now();
  auto number = s->wire_number;
  bool leaving = closing_;
  bool posted = s->wire->post(renew_request{s->epoch, leaving}, [this, sent, number](outcome& o) {
    auto now_open = now();
    if (!now_open || now_open->wire_number != number)
      return;
    renew_sent_.reset();
    if (o.code != ec::ok)
      return lose(*now_open);
    auto& reply = std::get<renew_reply>(o.reply);
    auto code = static_cast<ec>(reply.code);
    if (code == ec::busy) {
      renew_due_ = steady::now() + back_off_min;
      return;
    }
    if (code != ec::ok)
      return lose(*now_open);
    if (reply.index_word != now_open->index_word && !closing_)
      return lose(*now_open);  // the pool has other devices: a resume tells which
    auto lease = reply.lease_ms > 0 ? std::chrono::milliseconds{reply.lease_ms} : now_open->lease;
    lease_runs_until(sent + lease);
    renew_due_ = sent + renew_interval(*now_open);
    if (reply.recall > 0)
      recall_(*now_open, reply.recall);
  });
  if (posted) {
    renew_sent_ = sent;
    told_leaving_ = leaving;
  }
}

void connection::finish(time_point deadline) {
  if (auto s = now()) {
    auto sent = s->wire->send(close_request{});
    if (sent && !sent->wait_until(deadline))
      sent->abandon([](outcome&) {});
  }
  session_ptr last;
  {
    std::lock_guard lock(mutex_);
    last = std::exchange(current_, nullptr);
    wire_number_.store(0, std::memory_order_release);
  }
  if (last)
    last->wire->shut_down();
}

}  // namespace maru::net
