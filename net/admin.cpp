#include "net/admin.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/atom.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/sec.hpp>

#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "base/server_address.hpp"
#include "net/dial.hpp"
#include "net/protocol.hpp"
#include "net/runtime.hpp"
#include "net/transport.hpp"

namespace maru::net {

struct admin::impl {
  std::shared_ptr<runtime> owner;
  std::string server;
  door_actor door;
};

namespace {

ec code_of(const caf::error& e) {
  if (e == caf::sec::request_timeout)
    return ec::timeout;
  return e == caf::sec::unexpected_message ? ec::version_mismatch : ec::unavailable;
}

std::string cause(ec code) {
  switch (code) {
    case ec::timeout: return "no answer before the deadline";
    case ec::version_mismatch: return "the other side does not know this question";
    default: return "the connection was closed";
  }
}

result<std::string> taken(const std::string& what, admin_reply& reply) {
  if (reply.code == static_cast<std::uint8_t>(ec::ok))
    return std::move(reply.body);
  if (reply.code <= static_cast<std::uint8_t>(ec::last_))
    return error{static_cast<ec>(reply.code), std::move(reply.body)};
  return error{ec::version_mismatch, "failed to " + what + ": its answer has an unknown code"};
}

// CAF throws where it runs out of descriptors or threads.
template <class F>
auto guarded(const std::string& what, F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& e) {
    return {ec::io, "failed to " + what + ": " + e.what()};
  }
}

}  // namespace

admin::admin(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
admin::admin(admin&&) noexcept = default;
admin& admin::operator=(admin&&) noexcept = default;
admin::~admin() = default;

result<admin> admin::open(const std::string& server, std::chrono::milliseconds timeout, const tls_options& tls) {
  auto deadline = std::chrono::steady_clock::now() + timeout;
  auto address = parse_server_address(server);
  if (!address)
    return address.error();
  auto owner = runtime::acquire();
  if (!owner)
    return owner.error();
  auto what = "connect to marud at " + server;
  return guarded(what, [&]() -> result<admin> {
    result<admin> out{ec::unavailable, "failed to " + what + ": " + std::string{no_handshake(*address)}};
    auto& system = (*owner)->system();
    auto dialled = dial(*address, tls.or_environment(), deadline, [] { return false; });
    if (!dialled)
      return dialled.error();
    caf::scoped_actor self{system};
    self->request(caf::actor_cast<caf::actor>(greeter(system)), timeout, greeting(system, *std::move(dialled)))
      .receive(
        [&](const caf::node_id&, caf::strong_actor_ptr& door, const std::set<std::string>&) {
          if (door)
            out = admin{std::make_unique<impl>(impl{*owner, server, caf::actor_cast<door_actor>(door)})};
        },
        [](const caf::error&) {});
    return out;
  });
}

result<std::string> admin::ask(const std::string& verb, const std::string& arguments,
                               std::chrono::milliseconds timeout) {
  auto what = "ask marud at " + impl_->server + " for '" + verb + "'";
  auto failed = [what](ec code) { return error{code, "failed to " + what + ": " + cause(code)}; };
  return guarded(what, [&]() -> result<std::string> {
    using waiting_ptr = std::shared_ptr<std::optional<std::promise<result<std::string>>>>;
    auto waiting = std::make_shared<waiting_ptr::element_type>(std::in_place);
    auto answer = (*waiting)->get_future();
    auto ask_door = [=, door = impl_->door](caf::event_based_actor* self, const waiting_ptr& given) {
      auto finish = [self, waiting = given](result<std::string> with) {
        if (auto now = std::exchange(*waiting, std::nullopt))
          now->set_value(std::move(with));
        self->quit();
      };
      // A request alone waits out its time, whatever becomes of the connection.
      self->set_down_handler([=](const caf::down_msg&) { finish(failed(ec::unavailable)); });
      self->monitor(door);
      self->request(door, timeout, admin_request{verb, arguments})
        .then([=](admin_reply& reply) { finish(taken(what, reply)); },
              [=](const caf::error& e) { finish(failed(code_of(e))); });
    };
    // An argument there must be: CAF 0.17.6 dereferences a null pointer where there is none.
    impl_->owner->system().spawn(std::move(ask_door), std::move(waiting));
    return answer.get();
  });
}

result<std::string> ask_admin(const std::string& server, const std::string& verb, const std::string& arguments,
                              std::chrono::milliseconds timeout, const tls_options& tls) {
  auto connection = admin::open(server, timeout, tls);
  if (!connection)
    return connection.error();
  return connection->ask(verb, arguments, timeout);
}

}  // namespace maru::net
