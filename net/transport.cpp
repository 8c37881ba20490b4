#include "net/transport.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/atom.hpp>
#include <caf/io/middleman.hpp>
#include <caf/node_id.hpp>
#include <caf/send.hpp>
#include <caf/timespan.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/uuid.hpp"
#include "net/hardened_broker.hpp"
#include "net/protocol.hpp"

namespace caf::net {

// A module of this very name is a friend of caf::actor_system in CAF 0.17, which ships none itself. Modules are
// initialized in the order of their ids: the middleman has computed its node id by then, and has not started.
class middleman final : public actor_system::module {
public:
  middleman(actor_system& system, maru::net::transport_options options)
      : system_(system), options_(std::move(options)) {}

  const maru::net::transport_options& options() const { return options_; }

  void init(actor_system_config&) override {
    // CAF makes the id of MAC addresses and the process id: two containers on one host are the same node to it.
    node_id::default_data::host_id_type host;
    maru::random_bytes(host.data(), host.size());
    system_.node_ = make_node_id(static_cast<std::uint32_t>(::getpid()), host);
    // The middleman finds the name taken when it starts, and uses this broker.
    system_.middleman().named_broker<maru::net::hardened_broker>(atom("BASP"));
  }
  void start() override {}
  void stop() override {}
  id_t id() const override { return network_manager; }
  void* subtype_ptr() override { return this; }

private:
  actor_system& system_;
  maru::net::transport_options options_;
};

}  // namespace caf::net

namespace maru::net {

namespace {

caf::actor broker_of(caf::actor_system& system) {
  return system.middleman().named_broker<hardened_broker>(caf::atom("BASP"));
}

}  // namespace

const transport_options& transport_options_of(caf::actor_system& system) { return system.network_manager().options(); }

void configure_transport(caf::actor_system_config& cfg, transport_options options) {
  std::size_t threads = options.scheduler_threads;
  if (threads == 0) {
    std::size_t cores = std::thread::hardware_concurrency();
    threads = options.server ? std::max<std::size_t>(2, cores > 2 ? cores - 2 : 0) : 1;
  }
  cfg.config_file_path.clear();  // else parsing a command line reads a file of the working directory
  cfg.set("scheduler.policy", caf::atom("stealing"));
  cfg.set("scheduler.max-threads", threads);
  cfg.set("scheduler.max-throughput", std::size_t{50});             // unlimited: one backlog keeps a thread for seconds
  cfg.set("work-stealing.moderate-poll-attempts", std::size_t{0});  // its sleeps of 50 us were half of the latency
  // Messages are plain blobs: a worker's copy and hand-over cost more than reading them on the I/O thread (measured on
  // 2 cores, 4 clients: p50 200 us without workers, 240 us with one, throughput equal).
  cfg.set("middleman.workers", std::size_t{0});
  cfg.set("middleman.enable-automatic-connections", false);
  cfg.set("middleman.app-identifiers", std::vector<std::string>{"maru/" + std::to_string(protocol_version)});
  cfg.set("middleman.heartbeat-interval", caf::timespan(options.heartbeat));
  // The broker ends silent peers itself, with a shutdown: CAF's close waits for a peer that may be gone.
  cfg.set("middleman.connection-timeout", caf::timespan(0));
  cfg.load<caf::io::middleman>();
  cfg.module_factories.emplace_back([options = std::move(options)](caf::actor_system& system) {
    return static_cast<caf::actor_system::module*>(new caf::net::middleman(system, options));
  });
}

void publish_door(caf::actor_system& system, const caf::strong_actor_ptr& door, std::set<std::string> interface) {
  caf::anon_send(broker_of(system), caf::publish_atom::value, door, std::move(interface));
}

void unpublish_door(caf::actor_system& system) { caf::anon_send(broker_of(system), caf::unpublish_atom::value); }

void enter(caf::actor_system& system, wire accepted) {
  caf::anon_send(broker_of(system), caf::ok_atom::value, make_scribe(system, std::move(accepted)));
}

void admit(caf::actor_system& system, const caf::node_id& node) {
  caf::anon_send(broker_of(system), caf::ok_atom::value, node);
}

std::string peer_at(caf::actor_system& system, const caf::node_id& node) {
  auto broker = caf::actor_cast<caf::strong_actor_ptr>(broker_of(system));
  return caf::actor_cast<hardened_broker*>(broker)->peer_text(node);
}

caf::strong_actor_ptr greeter(caf::actor_system& system) {
  return caf::actor_cast<caf::strong_actor_ptr>(broker_of(system));
}

caf::message greeting(caf::actor_system& system, wire dialled) {
  return caf::make_message(caf::connect_atom::value, make_scribe(system, std::move(dialled)), std::uint16_t{0});
}

std::size_t connections_within_limits(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return wanted;
  std::size_t files = limit.rlim_cur;
  std::size_t kept = files / 4 + 32;  // for the rest of the process
  // One is the socket's, one the table's of the session that comes over it.
  return std::min(wanted, files > kept + 1 ? (files - kept) / 2 : 1);
}

}  // namespace maru::net
