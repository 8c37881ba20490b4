#include "actors/door.hpp"

#include "actors/wire_rows.hpp"

#include <sodium/utils.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/file_lock.hpp"
#include "base/size.hpp"
#include "base/version.hpp"

namespace maru::actors {

namespace {

constexpr auto token_advice = "the token does not fit: give one of those in marud's --token-file";

template <class Array>
std::string bytes_of(const Array& a) {
  return {reinterpret_cast<const char*>(a.data()), a.size()};
}

std::string_view cause_of(metrics::ended_by reason) {
  switch (reason) {
    case metrics::ended_by::close: return "closed by its worker";
    case metrics::ended_by::death: return "its process is gone";
    case metrics::ended_by::lease: return "its lease is over";
    case metrics::ended_by::operator_: return "ended by the operator";
    case metrics::ended_by::shutdown: break;
  }
  return "marud stops";
}

uuid uuid_of(std::string_view bytes) {
  uuid id;
  if (bytes.size() == id.bytes.size())
    std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
  return id;
}

}  // namespace

door::door(caf::actor_config& cfg, environment_ptr env, session_neighbours neighbours, admin_actor admin,
           std::vector<recovered_session> recovered)
    : observed(cfg, env->metrics, metrics::actor::door),
      env_(std::move(env)),
      to_(std::move(neighbours)),
      admin_(std::move(admin)),
      recovered_(std::move(recovered)) {
  harden(this, env_, "door");
  to_.door = this;
}

door::behavior_type door::make_behavior() {
  for (auto& r : std::exchange(recovered_, {})) {
    auto id = r.record.id;
    unsettled_.insert(id);
    auto record = r.record;
    sessions_[id] = {record, spawn_session({std::move(r.record), {}, std::move(r.granted), true})};
  }
  env_->metrics->sessions(sessions_.size());
  return {
    [this](const net::hello& m) { return welcome(m); },
    [this](const net::admin_request& m) { return ask_admin(m); },
    [this](const session_settled& m) { settled(m.session, m.may_touch); },
    [this](const session_ended& m) { ended(m); },
    [this](const end_session& m) { return end(m); },
    [this](const ask_sessions&) { return list(); },
    [this](const drain&) { return drain_sessions(); },
  };
}

session_actor door::spawn_session(session::config config) { return spawn<session>(env_, to_, std::move(config)); }

// -- hello

std::uint64_t door::page_bytes_for(std::uint64_t wanted) const {
  return std::max(align_up(std::max<std::uint64_t>(wanted, 1), bounds::page_bytes_min), env_->pool->super().slot_bytes);
}

error door::check(const net::hello& m) const {
  if (m.version != net::protocol_version)
    return {ec::version_mismatch, "marud " + std::string{version()} + " speaks protocol "
                                    + std::to_string(net::protocol_version) + ", the client "
                                    + std::to_string(m.version) + ": install the same version on both sides"};
  if (!env_->tokens->fits(m.token))
    return {ec::refused, token_advice};
  if (env_->stopping->load())
    return {ec::stopping, "marud is shutting down"};
  if (m.resume_session == 0 && uuid_of(m.boot_id) != host_boot_id() && !env_->options.other_hosts)
    return {ec::refused,
            "this worker runs on another host (its boot id differs): marud serves the workers of its own "
            "host, or with --other-hosts those of others that map the same memory"};
  if (m.instance.size() > bounds::name_bytes_max || m.host.size() > bounds::name_bytes_max || m.boot_id.size() != 16)
    return {ec::invalid, "hello has a name over 256 bytes or no boot id"};
  if (page_bytes_for(m.page_bytes) > std::min<std::uint64_t>(bounds::page_bytes_max, env_->pool->data_bytes()))
    return {ec::too_large, "a chunk of " + format_size(m.page_bytes) + " does not fit the pool"};
  return {};
}

void door::answered(ec code, std::chrono::steady_clock::time_point since) {
  env_->metrics->request(metrics::op::hello, metrics::answer_of(code), 1,
                         std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count());
}

door::hello_promise door::welcome(const net::hello& m) {
  auto owner = current_sender() ? current_sender()->address() : caf::actor_addr{};
  auto reply = make_response_promise<net::hello_reply>();  // takes the sender away
  auto refusal = owner ? check(m) : error{ec::invalid, "hello without a sender"};
  if (refusal.code == ec::ok)
    vouch_for(owner.node());
  if (refusal.code == ec::ok && m.resume_session == 0 && sessions_.size() >= env_->options.sessions_max)
    refusal = {ec::busy, "marud has as many sessions as --sessions-max allows"};
  if (refusal.code != ec::ok) {
    env_->metrics->rejected("hello", to_string(refusal.code));
    env_->metrics->refused(metrics::op::hello, refusal.code);
    log::warn({"worker_refused", 0, m.instance}, "{}: {}", peer_at(owner ? owner.node() : caf::node_id{}),
              refusal.message);
    net::hello_reply no;
    no.code = static_cast<std::uint8_t>(refusal.code);
    no.reason = refusal.message;
    no.server_version = version();
    reply.deliver(std::move(no));
    return reply;
  }
  if (m.resume_session != 0)
    resume(m, owner, reply);
  else
    open(m, owner, reply);
  return reply;
}

void door::open(const net::hello& m, caf::actor_addr owner, hello_promise reply) {
  auto since = std::chrono::steady_clock::now();
  storage::session_record record;
  record.id = session_id{env_->pool->epoch() << 32 | next_session_++};
  record.resume_secret = random_uuid();
  record.boot_id = uuid_of(m.boot_id);
  record.host = m.host;
  record.instance = m.instance;
  record.page_bytes = page_bytes_for(m.page_bytes);
  record.opened_ms = env_->unix_ms();
  bool is_local = record.boot_id == host_boot_id();
  if (is_local)
    record.lock_path = env_->lock_dir + "/" + std::to_string(value_of(record.id)) + ".lock";
  else
    end_those_before(record);
  // Made here with the pool's mode; the worker takes the lock. Another host's could not be seen here.
  if (auto made = !is_local ? result<file_lock>{file_lock{}}
                            : file_lock::acquire(record.lock_path, env_->options.pool_mode, env_->pool_group);
      !made) {
    net::hello_reply no;
    no.code = static_cast<std::uint8_t>(made.code());
    no.reason = made.error().message;
    reply.deliver(std::move(no));
    answered(made.code(), since);
    return;
  }
  // On disk before the answer: a marud that is killed right after it still knows whom to wait for.
  auto finish = [this, record, owner, reply, since, wire = m.wire](ec code) mutable {
    known_session known{record, {}, {}};
    if (code != ec::ok) {
      env_->tables->remove(record.id);
      if (!record.lock_path.empty())
        ::unlink(record.lock_path.c_str());
    }
    if (code == ec::ok) {
      known.handle = spawn_session({record, owner, {}, false, wire});
      auto& kept = sessions_[record.id] = known;
      env_->metrics->sessions(sessions_.size());
      env_->metrics->session_opened();
      log::info(about("session_opened", record), "for pages of {} bytes; {} sessions", record.page_bytes,
                sessions_.size());
      note_peer(owner.node(), kept);
    }
    auto answer = reply_for(known);
    answer.code = static_cast<std::uint8_t>(code);
    reply.deliver(std::move(answer));
    answered(code, since);
  };
  auto save = [this, record, finish](ec opened) mutable {
    if (opened != ec::ok)
      return finish(opened);
    request(to_.workers[0], caf::infinite, save_session{record})
      .then([finish](const outcome& d) mutable { finish(d.code); },
            [finish](const caf::error&) mutable { finish(ec::stopping); });
  };
  if (!is_local)
    return save(ec::ok);
  // And its table is looked at before its worker can write to it.
  request(to_.ledger, caf::infinite, open_session_table{record.id, record.lock_path})
    .then([save](const outcome& opened) mutable { save(opened.code); },
          [save](const caf::error&) mutable { save(ec::stopping); });
}

// A host that was booted since has none of the processes of before.
void door::end_those_before(const storage::session_record& now) {
  for (const auto& [id, s] : sessions_)
    if (s.record.lock_path.empty() && s.record.host == now.host && s.record.boot_id != now.boot_id) {
      log::info(about("host_booted", s.record), "its host was booted since: its process is gone");
      request(s.handle, caf::infinite, end_session{id}).then([](const outcome&) {}, [](const caf::error&) {});
    }
}

door::outcome_promise door::end(const end_session& m) {
  auto promise = make_response_promise<outcome>();
  auto at = sessions_.find(m.session);
  if (at == sessions_.end()) {
    promise.deliver(outcome{ec::missing});
    return promise;
  }
  log::warn(about("session_end_asked", at->second.record), "somebody says that its process is gone");
  request(at->second.handle, caf::infinite, m)
    .then([promise](const outcome& o) mutable { promise.deliver(o); },
          [promise](const caf::error&) mutable { promise.deliver(outcome{}); });  // it ended meanwhile
  return promise;
}

std::string door::peer_at(const caf::node_id& node) const {
  auto text = env_->peer_at ? env_->peer_at(node) : std::string{};
  return text.empty() ? "a peer that is gone" : text;
}

void door::note_peer(const caf::node_id& node, known_session& session) {
  session.peer = peer_at(node);
  log::info(about("session_peer", session.record), "it is {}", session.peer);
}

void door::vouch_for(const caf::node_id& node) const {
  if (env_->admit)
    env_->admit(node);
}

void door::resume(const net::hello& m, caf::actor_addr owner, hello_promise reply) {
  auto since = std::chrono::steady_clock::now();
  auto at = sessions_.find(session_id{m.resume_session});
  auto secret = at == sessions_.end() ? uuid{} : at->second.record.resume_secret;
  bool fits = at != sessions_.end() && m.resume_secret.size() == secret.bytes.size()
              && sodium_memcmp(m.resume_secret.data(), secret.bytes.data(), secret.bytes.size()) == 0;
  if (!fits) {
    env_->metrics->rejected("hello", "session_over");
    env_->metrics->refused(metrics::op::hello, ec::session_over);
    log::warn({"resume_refused", m.resume_session, m.instance}, "the session that the worker asks for is over");
    net::hello_reply no;
    no.code = static_cast<std::uint8_t>(ec::session_over);
    no.reason = "the session is over: open a new one";
    reply.deliver(std::move(no));
    return;
  }
  auto known = at->second;
  auto finish = [this, known, owner, reply, since](ec code, const std::string& kept) mutable {
    if (auto there = sessions_.find(known.record.id); code == ec::ok && there != sessions_.end())
      note_peer(owner.node(), there->second);
    auto answer = reply_for(known);
    answer.code = static_cast<std::uint8_t>(code);
    answer.kept = kept;
    reply.deliver(std::move(answer));
    answered(code, since);
  };
  request(known.handle, caf::infinite, resume_session{owner, m.pinned, m.viewed, m.grants, m.wire})
    .then([finish](const resumed& r) mutable { finish(r.code, r.kept); },
          [finish](const caf::error&) mutable { finish(ec::session_over, {}); });
}

net::hello_reply door::reply_for(const known_session& s) const {
  const auto& block = env_->pool->super();
  net::hello_reply r;
  r.server_version = version();
  r.session = value_of(s.record.id);
  r.handle = s.handle;
  r.pool = bytes_of(block.pool.bytes);
  r.incarnation = bytes_of(block.incarnation.bytes);
  r.secret = bytes_of(block.secret);
  r.resume_secret = bytes_of(s.record.resume_secret.bytes);
  r.epoch = env_->pool->epoch();
  r.page_bytes = s.record.page_bytes;
  r.lease_ms = env_->options.lease_ms;
  r.grants_max = env_->options.grants_max;
  r.lock_path = s.record.lock_path;
  r.checksums = static_cast<std::uint8_t>(env_->checksums);
  r.visibility = static_cast<std::uint8_t>(block.mode);
  r.slot_bytes = block.slot_bytes;
  r.index_nonce = bytes_of(env_->index_nonce.bytes);
  r.index_word = env_->index_word->load();
  r.pins_max = env_->options.pins_max;
  r.pin_age_max_ms = env_->options.pin_age_max_ms;
  for (std::uint32_t i = 0; i < bounds::devices_max; ++i)
    if (const auto* m = env_->pool->find_member(i))
      r.devices.push_back(to_net(*m));
  return r;
}

caf::typed_response_promise<net::admin_reply> door::ask_admin(const net::admin_request& m) {
  auto asker = current_sender() ? current_sender()->node() : caf::node_id{};
  auto reply = make_response_promise<net::admin_reply>();  // takes the sender away
  if (m.arguments.size() > bounds::admin_arguments_bytes_max) {
    env_->metrics->rejected("admin", to_string(ec::too_large));
    reply.deliver(net::admin_reply{static_cast<std::uint8_t>(ec::too_large), "arguments over 64KiB"});
    return reply;
  }
  auto arguments = nlohmann::json::parse(m.arguments, nullptr, false);
  auto token = arguments.is_object() && arguments.contains("token") && arguments["token"].is_string()
                 ? arguments["token"].get<std::string>()
                 : std::string{};
  if (!env_->tokens->fits(token)) {
    env_->metrics->rejected("admin", to_string(ec::refused));
    log::warn("admin_refused", "{}: the token does not fit", peer_at(asker));
    reply.deliver(net::admin_reply{static_cast<std::uint8_t>(ec::refused), token_advice});
    return reply;
  }
  bool changes = m.verb == "evict" || m.verb == "log-level";
  log::write_if_wanted(changes ? log::severity::info : log::severity::debug, "operator", "'{}' is asked by {}", m.verb,
                       peer_at(asker));
  vouch_for(asker);
  if (questions_ >= bounds::questions_max) {
    reply.deliver(net::admin_reply{static_cast<std::uint8_t>(ec::busy), "too many questions wait for their answers"});
    return reply;
  }
  ++questions_;
  request(admin_, caf::infinite, m)
    .then(
      [this, reply](const net::admin_reply& r) mutable {
        --questions_;
        reply.deliver(r);
      },
      [this, reply](const caf::error&) mutable {
        --questions_;
        reply.deliver(net::admin_reply{static_cast<std::uint8_t>(ec::stopping), "marud is shutting down"});
      });
  return reply;
}

// -- ends

void door::settled(session_id id, bool may_touch) {
  if (unsettled_.erase(id) == 0)
    return;
  if (may_touch)
    unproven_.insert(id);
  tell_grace();
}

void door::tell_grace() {
  if (!unsettled_.empty())
    return;
  if (!std::exchange(grace_over_, true))
    log::info("settled", "every session of before the restart is settled: eviction may begin");
  send(to_.pool, end_grace{unproven_.empty()});
  for (auto& shard : to_.shards)
    send(shard, end_grace{});
}

void door::ended(const session_ended& m) {
  settled(m.session, false);
  if (unproven_.erase(m.session) > 0)
    tell_grace();
  auto at = sessions_.find(m.session);
  if (at == sessions_.end())
    return;
  log::info(about("session_ended", at->second.record), "{}; what it held is free again", cause_of(m.reason));
  auto lock_path = at->second.record.lock_path;
  sessions_.erase(at);
  env_->metrics->sessions(sessions_.size());
  env_->metrics->session_ended(m.reason);
  // The record first: a session known after a kill must still have the lock that proves its end.
  request(to_.workers[0], caf::infinite, erase_session{m.session})
    .then(
      [lock_path](const outcome& erased) {
        if (erased.code == ec::ok && !lock_path.empty())
          ::unlink(lock_path.c_str());
      },
      [](const caf::error&) {});
}

caf::typed_response_promise<session_list> door::list() {
  struct gather {
    session_list out;
    std::size_t open = 0;
    caf::typed_response_promise<session_list> reply;
  };
  auto g = std::make_shared<gather>();
  g->reply = make_response_promise<session_list>();
  g->open = sessions_.size() + 1;
  auto arrived = [g] {
    if (--g->open == 0)
      g->reply.deliver(std::move(g->out));
  };
  for (auto& [id, s] : sessions_)
    request(s.handle, caf::infinite, ask_session_status{})
      .then(
        [g, arrived, peer = s.peer](const session_status& status) {
          g->out.sessions.push_back(status);
          g->out.sessions.back().peer = peer;
          arrived();
        },
        [arrived](const caf::error&) { arrived(); });
  arrived();
  return g->reply;
}

caf::typed_response_promise<outcome> door::drain_sessions() {
  auto reply = make_response_promise<outcome>();
  poll_until_idle(reply);
  return reply;
}

void door::poll_until_idle(caf::typed_response_promise<outcome> reply) {
  // New requests are refused by now (`stopping`); what is in flight ends by itself.
  request(caf::actor_cast<door_actor>(this), caf::infinite, ask_sessions{})
    .then(
      [this, reply](const session_list& l) mutable {
        bool idle = true;
        for (const auto& s : l.sessions)
          idle &= s.in_flight == 0;
        if (idle)
          reply.deliver(outcome{});
        else
          poll_until_idle(reply);
      },
      [reply](const caf::error&) mutable { reply.deliver(outcome{ec::stopping}); });
}

void door::on_exit() {
  // Shutdown: the sessions end here, but what they hold stays known in RocksDB and descriptors for their resume.
  for (auto& [id, s] : sessions_)
    send_exit(s.handle, caf::exit_reason::user_shutdown);
  to_ = {};
  admin_ = nullptr;
  sessions_.clear();
}

}  // namespace maru::actors
