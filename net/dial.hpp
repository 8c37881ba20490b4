// Connecting to a marud: TCP, TLS or a Unix socket, with a deadline, and with an end before it where the caller gives
// up.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/server_address.hpp"
#include "net/tls_options.hpp"
#include "net/wire.hpp"

namespace maru::net {

// Connects on this thread. `unavailable`: nobody answers there, or what answers is no marud. `refused`: a certificate
// is no good, on either side, or the other side asks for TLS or has none. `bad_option`: the files of TLS cannot be
// used. `io`: no descriptor is left. `cancelled` is asked every few milliseconds. Limits: a host name is looked up by
// the system's resolver, which keeps to its own time limits.
result<wire> dial(const server_address& server, const tls_options& tls, std::chrono::steady_clock::time_point deadline,
                  const std::function<bool()>& cancelled);

// Why a connection that was made got no handshake of marud, as half a sentence.
std::string_view no_handshake(const server_address& server);

}  // namespace maru::net
