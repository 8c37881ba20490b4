// A connected socket on its way into CAF: plain, or with TLS that has shaken hands.
#pragma once

#include <caf/io/scribe.hpp>
#include <memory>
#include <string>

#include "base/unique_fd.hpp"
#include "net/tls.hpp"

namespace caf {
class actor_system;
}

namespace maru::net {

struct wire {
  unique_fd socket;                    // non-blocking
  tls_stream tls;                      // empty: plain
  std::shared_ptr<const void> ticket;  // kept until the connection is gone
  std::string from = {};               // who is there and came in where, for people
};

// What CAF's brokers read from and write to. TLS is done on the multiplexer's thread, where the bytes are: no further
// thread between a message and its socket.
caf::io::scribe_ptr make_scribe(caf::actor_system& system, wire connected);

}  // namespace maru::net
