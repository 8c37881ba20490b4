// Where connections come in: listens, sees who is there, and hands over who may enter.
//
// Operation: a thread of its own accepts, asks the kernel who is at a Unix socket, counts the connections of each peer,
// and shakes hands where TLS is asked for; what strangers can cost stays on this thread, and nobody waits for anybody
// else. Who passed goes to `enter` as a wire; what it says there is the transport's to judge. Peers that shake hands have
// at most a quarter of the places, and where there are Unix sockets an eighth is for these.
// Concurrency: open and the end from one thread; the callbacks run on the thread of the doors.
// Limits: connections that passed are not asked again: a certificate that expires, or a user who is taken off the list, is
// refused at the next connect.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/server_address.hpp"
#include "net/listener.hpp"
#include "net/peer.hpp"
#include "net/tls.hpp"
#include "net/wire.hpp"

namespace maru::net {

// entered, refused: a peer. tls_changed, tls_kept: the certificates' files changed, and are used or no good.
enum class door_event { entered, refused, tls_changed, tls_kept };

struct door_options {
  std::vector<server_address> listen;
  socket_file_options socket_file;
  allowed_users users;  // who may come through Unix sockets
  tls_files tls;        // of every TCP listener; empty: plain
  std::size_t connections_max = 1024;
  std::size_t per_peer_max = 512;
  std::chrono::milliseconds handshake_timeout{2000};  // of TLS
  std::function<void(wire)> enter;
  // A peer was turned away; `reason` is one of: connections, peer (too many of it), user, tls. May be empty.
  std::function<void(std::string_view reason)> on_reject;
  // When marud's certificate ends, in seconds since 1970: at the start, and when there is another. May be empty.
  std::function<void(std::int64_t not_after)> on_certificate;
  // For the log. May be empty.
  std::function<void(door_event what, const std::string& line)> on_event;
};

class doors {
public:
  // Listens from here on. Errors: see listener::open and tls_server::load.
  static result<std::unique_ptr<doors>> open(door_options options);
  // No connection comes in any more, and the sockets' files are gone; those that passed stay.
  ~doors();
  doors(const doors&) = delete;

  // In the order of the options, with the ports that were taken.
  std::vector<server_address> addresses() const;

private:
  class porter;
  doors();
  std::unique_ptr<porter> porter_;
};

}  // namespace maru::net
