#include "net/link.hpp"

#include <caf/actor_companion.hpp>
#include <caf/actor_system.hpp>
#include <caf/atom.hpp>
#include <caf/send.hpp>
#include <caf/system_messages.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/dial.hpp"
#include "net/runtime.hpp"
#include "net/transport.hpp"

namespace maru::net {

bool call::done() const {
  std::lock_guard lock(mutex_);
  return done_;
}

bool call::wait_until(time_point deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return done_; });
}

void call::abandon(late_handler late) {
  std::lock_guard lock(mutex_);
  late_ = std::move(late);
  if (done_)
    hand_over();
}

void call::finish(outcome o) {
  {
    std::lock_guard lock(mutex_);
    if (done_)
      return;
    outcome_ = std::move(o);
    done_ = true;
    if (late_) {
      hand_over();
      return;
    }
  }
  changed_.notify_one();
}

void call::hand_over() {
  if (late_)
    late_jobs_->push([late = std::move(late_), o = std::move(outcome_)]() mutable { late(o); });
  late_ = nullptr;
}

namespace {

constexpr auto turn_slice = std::chrono::milliseconds{50};  // how soon a client that closes stops waiting for its turn

template <class Reply>
bool decode_reply(caf::message& content, any_reply& reply) {
  if (!content.match_elements<Reply>())
    return false;
  reply = std::move(content.get_mutable_as<Reply>(0));
  return true;
}

bool decode_door(caf::message& content, any_reply& reply) {
  if (!content.match_elements<caf::node_id, caf::strong_actor_ptr, std::set<std::string>>())
    return false;
  reply = content.get_as<caf::strong_actor_ptr>(1);
  return true;
}

caf::actor_companion& as_companion(const caf::strong_actor_ptr& ptr) {
  return *caf::actor_cast<caf::actor_companion*>(ptr);
}

}  // namespace

// What the I/O thread touches: owned by the companion's callback and by the link, owns neither.
struct link::core {
  struct entry {
    std::shared_ptr<receiver> waiting;
    decoder decode;
    caf::actor_addr target;
  };

  explicit core(std::shared_ptr<job_queue> queue) : late_jobs(std::move(queue)) {}

  std::mutex mutex;
  std::unordered_map<std::uint64_t, entry> pending;
  std::uint64_t last_id = 0;
  std::uint64_t connecting = 0;  // the connect that CAF has not answered yet; 0: none
  std::condition_variable settled;
  caf::actor_addr session;
  caf::actor_addr gone;  // the door once it ended: CAF drops what is sent there, so nothing may wait for it
  std::atomic<bool> down{false};
  std::shared_ptr<job_queue> late_jobs;

  void deliver(caf::mailbox_element& element) {
    if (element.mid.is_response()) {
      answer(element.mid.request_id().integer_value(), element.move_content_to_message());
      return;
    }
    auto content = element.move_content_to_message();
    if (content.match_elements<caf::down_msg>())
      lose(content.get_as<caf::down_msg>(0).source);
  }

  void answer(std::uint64_t id, caf::message content) {
    entry asked;
    {
      std::lock_guard lock(mutex);
      if (id == connecting) {
        connecting = 0;
        settled.notify_all();
      }
      auto it = pending.find(id);
      if (it == pending.end())
        return;
      asked = std::move(it->second);
      pending.erase(it);
    }
    outcome o;
    if (asked.decode(content, o.reply))
      o.code = ec::ok;
    else if (content.match_elements<caf::error>() && content.get_as<caf::error>(0) == caf::sec::unexpected_message)
      o.code = ec::version_mismatch;
    asked.waiting->finish(std::move(o));
  }

  // The actor at `source` is gone: what was asked of it gets no answer.
  void lose(const caf::actor_addr& source) {
    std::vector<std::shared_ptr<receiver>> lost;
    {
      std::lock_guard lock(mutex);
      if (source == session)
        down = true;
      else
        gone = source;
      for (auto it = pending.begin(); it != pending.end();) {
        if (down || it->second.target == source) {
          lost.push_back(std::move(it->second.waiting));
          it = pending.erase(it);
        } else {
          ++it;
        }
      }
    }
    for (auto& r : lost)
      r->finish({});
    late_jobs->wake();
  }
};

link::link(std::shared_ptr<runtime> owner, std::shared_ptr<job_queue> late_jobs)
    : runtime_(std::move(owner)), core_(std::make_shared<core>(std::move(late_jobs))) {
  auto companion = runtime_->system().spawn<caf::actor_companion, caf::hidden>();
  companion_ = caf::actor_cast<caf::strong_actor_ptr>(companion);
  as_companion(companion_).on_enqueue([core = core_](caf::mailbox_element_ptr element) { core->deliver(*element); });
}

link::~link() {
  if (runtime_->forked())
    return;
  shut_down();
  // CAF's middleman is never destroyed when the system ends while it connects, and the system waits for it for ever. The
  // answer always comes: the transport gives a handshake up after its time, and that is less than this.
  {
    std::unique_lock lock(core_->mutex);
    core_->settled.wait_for(lock, 2 * transport_options{}.handshake_timeout, [this] { return core_->connecting == 0; });
  }
  disconnect();
}

void link::shut_down() {
  bool connecting = false;
  {
    std::lock_guard lock(core_->mutex);
    core_->down = true;
    connecting = core_->connecting != 0;
  }
  core_->lose({});
  if (!connecting)  // else the companion still has an answer to hear
    disconnect();
}

void link::disconnect() {
  // What actor_companion::disconnect promises; CAF 0.17 declares it and does not define it.
  std::call_once(disconnected_, [this] {
    auto& companion = as_companion(companion_);
    companion.on_enqueue({});
    companion.cleanup(caf::exit_reason::normal, nullptr);
  });
}

bool link::up() const { return !core_->down; }

bool link::send_to(const caf::strong_actor_ptr& target, caf::message&& content, decoder decode,
                   std::shared_ptr<receiver> to) {
  std::uint64_t id = 0;
  {
    std::lock_guard lock(core_->mutex);
    auto address = caf::actor_cast<caf::actor_addr>(target);
    if (core_->down || !target || address == core_->gone)
      return false;
    id = ++core_->last_id;
    core_->pending.emplace(id, core::entry{std::move(to), decode, std::move(address)});
    if (decode == decode_door)
      core_->connecting = id;
  }
  target->enqueue(companion_, caf::make_message_id(id), std::move(content), nullptr);
  return true;
}

status link::connect(const server_address& server, const tls_options& tls, time_point deadline) {
  auto failed = [&](std::string_view cause) {
    return status{ec::unavailable, "failed to connect to " + to_string(server) + ": " + std::string{cause}};
  };
  std::unique_lock turn(runtime_->turn_to_connect(to_string(server)), std::defer_lock);
  while (!turn.try_lock_until(std::min(deadline, std::chrono::steady_clock::now() + turn_slice))) {
    if (core_->down)
      return failed("the client is closing");
    if (std::chrono::steady_clock::now() >= deadline)
      return failed("other clients of this process were connecting until the deadline");
  }
  auto dialled = dial(server, tls, deadline, [this] { return core_->down.load(); });
  if (!dialled)
    return dialled.error();
  auto& system = runtime_->system();
  auto sent = std::make_shared<call>(core_->late_jobs);
  if (!send_to(greeter(system), greeting(system, *std::move(dialled)), decode_door, sent))
    return failed("the client is closing");
  if (!sent->wait_until(deadline)) {
    sent->abandon([](outcome&) {});
    return failed("no handshake before the deadline");
  }
  if (sent->result().code != ec::ok)
    return failed(no_handshake(server));
  door_ = std::get<caf::strong_actor_ptr>(sent->result().reply);
  if (!door_)
    return failed("no marud is served there");
  as_companion(companion_).monitor(door_);
  return {};
}

void link::adopt(const session_actor& session) {
  session_ = caf::actor_cast<caf::strong_actor_ptr>(session);
  {
    std::lock_guard lock(core_->mutex);
    core_->session = caf::actor_cast<caf::actor_addr>(session_);
  }
  as_companion(companion_).monitor(session_);
}

template <class Request>
bool link::send(Request request, std::shared_ptr<receiver> to) {
  auto& target = std::is_same_v<Request, hello> ? door_ : session_;
  return send_to(target, caf::make_message(std::move(request)), decode_reply<reply_of<Request>>, std::move(to));
}

template <class Request>
std::shared_ptr<call> link::send(Request request) {
  auto sent = std::make_shared<call>(core_->late_jobs);
  return send(std::move(request), sent) ? sent : nullptr;
}

template std::shared_ptr<call> link::send(hello);
template std::shared_ptr<call> link::send(grant_request);
template std::shared_ptr<call> link::send(give_back_request);
template std::shared_ptr<call> link::send(commit_request);
template bool link::send(commit_request, std::shared_ptr<receiver>);
template std::shared_ptr<call> link::send(lookup_request);
template std::shared_ptr<call> link::send(exists_request);
template std::shared_ptr<call> link::send(unpin_request);
template std::shared_ptr<call> link::send(remove_request);
template std::shared_ptr<call> link::send(report_request);
template std::shared_ptr<call> link::send(renew_request);
template std::shared_ptr<call> link::send(regions_request);
template std::shared_ptr<call> link::send(show_region_request);
template std::shared_ptr<call> link::send(usage_request);
template std::shared_ptr<call> link::send(attach_request);
template std::shared_ptr<call> link::send(close_request);

}  // namespace maru::net
