// CAF's remote transport with its doors closed. Stock CAF 0.17.6 trusts every peer: 32 bytes from a stranger crash the
// process, messages are taken without a handshake, buffers grow without bound, and two containers that share a PID
// get the same node id. `configure_transport` replaces the BASP broker by one that refuses all of that.
// docs/architecture.md, "The transport", lists each hole and what closes it.
#pragma once

#include <caf/fwd.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "base/bounds.hpp"
#include "net/wire.hpp"

namespace maru::net {

struct transport_options {
  bool server = false;                 // a client opens no port and takes fewer threads
  std::size_t scheduler_threads = 0;   // 0: max(2, cores - 2) for a server, 1 for a client
  std::size_t connections_max = 1024;  // further ones are closed at once; clamped below the limit on open files
  std::size_t payload_bytes_max = 2 * bounds::message_bytes_max;
  std::size_t write_buffer_bytes_max = 64 * bounds::MiB;  // a peer that lets more pile up is shut down
  // Incomplete frames and unanswered requests of all peers together. Beyond it the peer that holds most is shut down.
  std::size_t held_bytes_max = 32 * bounds::message_bytes_max;
  std::chrono::milliseconds handshake_timeout{2000};  // a connection without a handshake by then is closed
  std::chrono::milliseconds heartbeat{2000};
  std::chrono::milliseconds connection_timeout{10000};
  // A connection that nobody vouched for by then (see admit) is closed. 0: nobody needs to.
  std::chrono::milliseconds admission_timeout{0};
  // Called on the I/O thread for every refused or closed peer; `reason` is one of a small fixed set of words
  // (see transport.cpp). May be empty.
  std::function<void(std::string_view reason)> on_reject;
};

// Loads the middleman and the hardened BASP broker into `cfg` and sets every CAF option the product depends on.
// Nothing is read from the working directory or the command line. Call once, before the actor_system is made.
void configure_transport(caf::actor_system_config& cfg, transport_options options);

// -- sockets that did not come by CAF's own ports; any thread

// Whoever enters from here on is told of `door`, an actor with this interface (see actor_system::message_types).
void publish_door(caf::actor_system& system, const caf::strong_actor_ptr& door, std::set<std::string> interface);
void unpublish_door(caf::actor_system& system);
// A peer that came in: the transport greets it.
void enter(caf::actor_system& system, wire accepted);

// Somebody at this node has shown what the door asks for: it may stay, and have long answers.
void admit(caf::actor_system& system, const caf::node_id& node);
// Who a connected node is and where it came in, for people (wire::from); empty for one that is not connected.
std::string peer_at(caf::actor_system& system, const caf::node_id& node);

// Who is asked for the handshake over a connection that was dialled, and with what. The answer is that of CAF's
// middleman to connect_atom, (node_id, strong_actor_ptr, set<string>) or an error; it comes within `handshake_timeout`.
caf::strong_actor_ptr greeter(caf::actor_system& system);
caf::message greeting(caf::actor_system& system, wire dialled);

// `wanted`, or as many connections as the limit on open files leaves room for.
std::size_t connections_within_limits(std::size_t wanted);

}  // namespace maru::net
