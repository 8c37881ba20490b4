#include "net/dial.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace maru::net {

namespace {

using namespace std::chrono_literals;
using time_point = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds look_up_every = 20ms;  // whether the caller has given up

// Everything that one attempt needs to know.
struct attempt {
  const server_address& server;
  time_point deadline;
  const std::function<bool()>& cancelled;

  error failed(ec code, const std::string& cause) const {
    return {code, "failed to connect to " + to_string(server) + ": " + cause};
  }

  // Waits until the socket is ready for `events`.
  status ready(int fd, short events) const {
    for (;;) {
      if (cancelled())
        return failed(ec::unavailable, "the client is closing");
      auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0)
        return failed(ec::unavailable, "no answer before the deadline");
      pollfd p{fd, events, 0};
      if (::poll(&p, 1, static_cast<int>(std::min(left, look_up_every).count())) > 0)
        return {};
    }
  }
};

result<unique_fd> connect_to(const attempt& a, int family, const sockaddr* to, socklen_t size) {
  unique_fd socket{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket)
    return a.failed(ec::io, std::string{"failed to make a socket: "} + std::strerror(errno));
  int cause = ::connect(socket.get(), to, size) == 0 ? 0 : errno;
  if (cause == EINPROGRESS || cause == EINTR) {
    if (auto done = a.ready(socket.get(), POLLOUT); !done)
      return done.error();
    socklen_t length = sizeof cause;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &cause, &length);
  }
  if (cause == EAGAIN)
    return a.failed(ec::unavailable, "too many are waiting there to be let in");
  if (cause == EACCES)
    return a.failed(ec::refused, "Permission denied: the mode or group of the socket does not let this user in");
  if (cause != 0)
    return a.failed(ec::unavailable, std::strerror(cause) + std::string{": nobody answers there"});
  return socket;
}

result<unique_fd> connect_unix(const attempt& a) {
  sockaddr_un to = {};
  to.sun_family = AF_UNIX;
  a.server.path.copy(to.sun_path, sizeof to.sun_path - 1);
  return connect_to(a, AF_UNIX, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

result<unique_fd> connect_tcp(const attempt& a) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto& [host, port] = a.server.tcp;
  if (int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found); code != 0)
    return a.failed(ec::unavailable, "failed to find the host: " + std::string{::gai_strerror(code)});
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all{found, ::freeaddrinfo};
  result<unique_fd> last{a.failed(ec::unavailable, "the host has no address")};
  int left = 0;
  for (auto* one = found; one; one = one->ai_next)
    ++left;
  for (auto* one = found; one && !last; one = one->ai_next, --left) {
    auto now = std::chrono::steady_clock::now();
    // One that swallows packets must leave the others their part of the time.
    attempt this_one{a.server, now + std::max(a.deadline - now, 0ns) / left, a.cancelled};
    last = connect_to(this_one, one->ai_family, one->ai_addr, one->ai_addrlen);
  }
  return last;
}

// The handshake, and the byte that says that marud took our certificate.
result<tls_stream> secure(const attempt& a, int socket, const tls_files& files, const std::string& server_name) {
  auto context = tls_context::load(tls_context::side::client, files);
  if (!context)
    return context.error();
  auto tls = context->start(socket, server_name.empty() ? a.server.tcp.host : server_name);
  if (!tls)
    return tls.error();
  bool greeted = false;
  for (bool shaken = false; !greeted;) {
    char welcome = 0;
    auto now = shaken ? tls->read(&welcome, 1).now : tls->shake_hands();
    if (now == tls_stream::state::failed)
      return a.failed(tls->lost() ? ec::unavailable : ec::refused, "TLS: " + tls->failure());
    if (now != tls_stream::state::done) {
      if (auto done = a.ready(socket, now == tls_stream::state::reading ? POLLIN : POLLOUT); !done)
        return done.error();
      continue;
    }
    if (shaken && welcome != tls_welcome)
      return a.failed(ec::unavailable, "what answers there with TLS is no marud");
    greeted = shaken;
    shaken = true;
  }
  return tls;
}

}  // namespace

result<wire> dial(const server_address& server, const tls_options& tls, time_point deadline,
                  const std::function<bool()>& cancelled) {
  attempt a{server, deadline, cancelled};
  auto socket = server.is_unix() ? connect_unix(a) : connect_tcp(a);
  if (!socket)
    return socket.error();
  wire out{*std::move(socket), {}, {}};
  tls_files files{tls.cert, tls.key, tls.ca};
  if (server.is_unix() || !files.wanted())
    return out;
  auto secured = secure(a, out.socket.get(), files, tls.server_name);
  if (!secured)
    return secured.error();
  out.tls = *std::move(secured);
  return out;
}

std::string_view no_handshake(const server_address& server) {
  if (server.is_unix())
    return "what answers there is no marud, or it does not let this user in (--allow-uids, --allow-gids), or it has no "
           "room for another connection";
  return "what answers there is no marud, or it has no room for another connection, or it asks for TLS";
}

}  // namespace maru::net
