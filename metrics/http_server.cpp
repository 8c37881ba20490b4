#include "metrics/http_server.hpp"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "base/host_port.hpp"
#include "base/log.hpp"

namespace maru::metrics {

namespace {

constexpr std::string_view route_list = "/metrics\n/healthz\n/readyz\n/status\n";

struct response {
  int code = 200;
  const char* reason = "OK";
  const char* type = "text/plain; charset=utf-8";
  std::string body;
};

response yes_or_no(bool yes) {
  return yes ? response{.body = "ok\n"} : response{.code = 503, .reason = "Service Unavailable", .body = "no\n"};
}

response answer(const http_routes& routes, std::string_view method, std::string_view path) {
  if (method != "GET" && method != "HEAD")
    return {.code = 405, .reason = "Method Not Allowed", .body = "read-only: GET and HEAD\n"};
  if (path == "/metrics")
    return {.type = "text/plain; version=0.0.4; charset=utf-8", .body = routes.metrics()};
  if (path == "/healthz")
    return yes_or_no(routes.healthy());
  if (path == "/readyz")
    return yes_or_no(routes.ready());
  if (path == "/status")
    return {.type = "application/json", .body = routes.status_json()};
  return {.code = 404, .reason = "Not Found", .body = "no such page; there are:\n" + std::string{route_list}};
}

int on_request(mg_connection* connection) {
  const auto* request = mg_get_request_info(connection);
  const auto& routes = *static_cast<const http_routes*>(request->user_data);
  std::string_view method = request->request_method ? request->request_method : "";
  auto r = answer(routes, method, request->local_uri ? request->local_uri : "");
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sCache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            r.code, r.reason, r.type, r.body.size(), r.code == 405 ? "Allow: GET, HEAD\r\n" : "");
  if (method != "HEAD")
    mg_write(connection, r.body.data(), r.body.size());
  return r.code;
}

// civetweb complains about every malformed request: nothing an operator has to see.
int on_log(const mg_connection*, const char* message) {
  log::debug("http", "{}", message);
  return 1;
}

struct endpoint {
  in_addr address{};
  std::uint16_t port = 0;
};

// Debian's civetweb speaks IPv4 only.
result<endpoint> find_endpoint(const std::string& listen) {
  auto split = parse_host_port(listen);
  if (!split)
    return split.error();
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (int failure = ::getaddrinfo(split->host.c_str(), nullptr, &hints, &found); failure != 0)
    return {ec::bad_option, "failed to listen for HTTP on " + listen + ": the host is no name or address of IPv4 ("
                              + ::gai_strerror(failure) + ")"};
  endpoint out{reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr, split->port};
  ::freeaddrinfo(found);
  return out;
}

sockaddr_in socket_address(const endpoint& where) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr = where.address;
  address.sin_port = htons(where.port);
  return address;
}

// Why could the server not listen there? civetweb only says that it could not.
error cannot_listen(const std::string& listen, const endpoint& where) {
  auto address = socket_address(where);
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  int cause = 0;
  if (fd < 0 || ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
      || ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    cause = errno;
  if (fd >= 0)
    ::close(fd);
  if (cause == EADDRINUSE)
    return {ec::in_use, "failed to listen for HTTP on " + listen + ": the port is taken"};
  if (cause != 0)
    return errno_error("listen for HTTP on " + listen, cause);
  return {ec::io, "failed to listen for HTTP on " + listen + ": the server did not start"};
}

}  // namespace

struct http_server::impl {
  http_routes routes;
  endpoint where;
  mg_context* context = nullptr;

  ~impl() {
    if (!context)
      return;
    // mg_stop() waits for the accepting thread, which looks up only every 2 s, or when somebody connects: so we do.
    std::jthread knock{[this](const std::stop_token& stopped) {
      while (!stopped.stop_requested()) {
        int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        auto address = socket_address(where);
        static_cast<void>(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
        ::close(fd);
      }
    }};
    mg_stop(context);
  }
};

result<std::unique_ptr<http_server>> http_server::start(const std::string& listen, http_routes routes) {
  auto where = find_endpoint(listen);
  if (!where)
    return where.error();
  char host[INET_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET, &where->address, host, sizeof host);
  auto ports = std::string{host} + ":" + std::to_string(where->port);
  // Every connection carries one request, and has 2 s for it: the two threads are soon free of one that says nothing.
  // Connections beyond the queue wait in the kernel's, beyond that they are refused there.
  const char* options[] = {"listening_ports",
                           ports.c_str(),
                           "num_threads",
                           "2",
                           "connection_queue",
                           "32",
                           "listen_backlog",
                           "64",
                           "request_timeout_ms",
                           "2000",
                           "linger_timeout_ms",
                           "500",
                           "enable_keep_alive",
                           "no",
                           "max_request_size",
                           "8192",
                           "tcp_nodelay",
                           "1",
                           "decode_url",
                           "no",
                           nullptr};
  mg_callbacks callbacks{};
  callbacks.begin_request = on_request;
  callbacks.log_message = on_log;

  std::unique_ptr<http_server> server{new http_server};
  server->impl_ = std::make_unique<impl>();
  server->impl_->routes = std::move(routes);
  server->impl_->context = mg_start(&callbacks, &server->impl_->routes, options);
  if (!server->impl_->context)
    return cannot_listen(listen, *where);
  mg_server_port opened{};
  if (mg_get_server_ports(server->impl_->context, 1, &opened) < 1)
    return cannot_listen(listen, *where);
  server->port_ = static_cast<std::uint16_t>(opened.port);
  server->impl_->where = {where->address, server->port_};
  return server;
}

http_server::~http_server() = default;

}  // namespace maru::metrics
