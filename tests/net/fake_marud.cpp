#include "tests/net/fake_marud.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <stdexcept>
#include <utility>

#include "base/error.hpp"
#include "net/transport.hpp"

namespace maru::test {

namespace {

using release_atom = caf::atom_constant<caf::atom("release")>;
using held_back = std::vector<std::pair<caf::response_promise, caf::message>>;

std::uint8_t busy() { return static_cast<std::uint8_t>(ec::busy); }

// Answers one request as the test wants that kind treated.
template <class Reply>
caf::response_promise respond(caf::event_based_actor* self, fake_pool& pool, held_back& held, op what,
                              const std::function<Reply()>& serve) {
  auto promise = self->make_response_promise();
  pool.seen(what);
  switch (pool.how(what)) {
    case treat::answer: promise.deliver(serve()); break;
    case treat::hold: held.emplace_back(promise, caf::make_message(serve())); break;
    case treat::lose: (void)serve(); break;
    case treat::ignore: break;
    case treat::busy: {
      Reply refusal;
      refusal.code = busy();
      promise.deliver(refusal);
      break;
    }
    default: break;
  }
  return promise;
}

caf::behavior session_behavior(caf::event_based_actor* self, std::shared_ptr<fake_pool> p, std::uint64_t id) {
  using namespace net;
  auto held = std::make_shared<held_back>();
  return {[=](const grant_request& m) {
            return respond<grant_reply>(self, *p, *held, op::grant, [&] { return p->grant(id, m); });
          },
          [=](const give_back_request& m) {
            return respond<codes_reply>(self, *p, *held, op::give_back, [&] { return p->give_back(id, m); });
          },
          [=](const commit_request& m) {
            return respond<codes_reply>(self, *p, *held, op::commit, [&] { return p->commit(id, m); });
          },
          [=](const lookup_request& m) {
            return respond<found_reply>(self, *p, *held, op::lookup, [&] { return p->lookup(id, m); });
          },
          [=](const exists_request& m) {
            return respond<codes_reply>(self, *p, *held, op::exists, [&] { return p->exists(m); });
          },
          [=](const unpin_request& m) {
            return respond<codes_reply>(self, *p, *held, op::unpin, [&] { return p->unpin(id, m); });
          },
          [=](const remove_request& m) {
            return respond<codes_reply>(self, *p, *held, op::remove, [&] { return p->remove(m); });
          },
          [=](const renew_request& m) {
            return respond<renew_reply>(self, *p, *held, op::renew, [&] { return p->renew(m); });
          },
          [=](const regions_request& m) {
            return respond<regions_reply>(self, *p, *held, op::regions, [&] { return p->regions(m); });
          },
          [=](const show_region_request& m) {
            return respond<show_region_reply>(self, *p, *held, op::show_region, [&] { return p->show_region(id, m); });
          },
          [=](const usage_request&) {
            return respond<usage_reply>(self, *p, *held, op::usage, [&] { return p->usage(id); });
          },
          [=](const close_request&) {
            return respond<close_reply>(self, *p, *held, op::close, [&] { return p->close(id); });
          },
          [=](release_atom) {
            for (auto& [promise, reply] : std::exchange(*held, {}))
              promise.deliver(reply);
          }};
}

// Session actors as the front door made them.
struct roster {
  std::mutex mutex;
  std::vector<caf::actor> sessions;

  std::vector<caf::actor> all() {
    std::lock_guard lock(mutex);
    return sessions;
  }
};

caf::behavior door_behavior(caf::event_based_actor* self, std::shared_ptr<fake_pool> p, std::shared_ptr<roster> made) {
  auto held = std::make_shared<held_back>();
  return {[=](const net::hello& m) {
            return respond<net::hello_reply>(self, *p, *held, op::hello, [&] {
              auto reply = p->open(m);
              if (reply.code != 0)
                return reply;
              auto session = self->system().spawn(session_behavior, p, reply.session);
              reply.handle = caf::actor_cast<net::session_actor>(session);
              std::lock_guard lock(made->mutex);
              made->sessions.push_back(session);
              return reply;
            });
          },
          [=](release_atom) {
            for (auto& [promise, reply] : std::exchange(*held, {}))
              promise.deliver(reply);
          }};
}

struct config : caf::actor_system_config {
  config() {
    net::transport_options options;
    options.server = true;
    net::configure_transport(*this, options);
    net::add_protocol_types(*this);
  }
};

}  // namespace

struct fake_marud::machinery {
  config cfg;
  caf::actor_system system{cfg};
  std::shared_ptr<roster> made = std::make_shared<roster>();
  caf::actor door;
};

fake_marud::fake_marud(std::shared_ptr<fake_pool> pool) : pool_(std::move(pool)) { start(); }

fake_marud::~fake_marud() { stop(); }

void fake_marud::start() {
  machinery_ = std::make_unique<machinery>();
  machinery_->door = machinery_->system.spawn(door_behavior, pool_, machinery_->made);
  auto port = machinery_->system.middleman().publish(machinery_->door, port_, "127.0.0.1", true);
  if (!port)
    throw std::runtime_error("cannot listen: " + machinery_->system.render(port.error()));
  port_ = *port;
}

void fake_marud::kill_sessions() {
  for (auto& s : machinery_->made->all())
    caf::anon_send_exit(s, caf::exit_reason::kill);
}

void fake_marud::release() {
  for (auto& s : machinery_->made->all())
    caf::anon_send(s, release_atom::value);
  caf::anon_send(machinery_->door, release_atom::value);
}

void fake_marud::stop() {
  if (!machinery_)
    return;
  // The door first: a client whose session ends comes back at once, and would get a new one. The port closes with the
  // system: unpublishing just before that leaks CAF's listener at times.
  caf::anon_send_exit(machinery_->door, caf::exit_reason::kill);
  {
    caf::scoped_actor self{machinery_->system};
    self->wait_for(machinery_->door);
  }
  machinery_->door = nullptr;
  kill_sessions();
  machinery_->made->sessions.clear();
  machinery_.reset();
}

}  // namespace maru::test
