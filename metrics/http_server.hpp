// The read-only HTTP endpoint: /metrics, /healthz, /readyz, /status. civetweb does the protocol.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.hpp"

namespace maru::metrics {

struct http_routes {
  std::function<std::string()> metrics;      // body of /metrics
  std::function<bool()> healthy;             // /healthz: 200 or 503
  std::function<bool()> ready;               // /readyz: 200 or 503
  std::function<std::string()> status_json;  // body of /status
};

// Runs until destroyed. The callbacks run on the server's own threads (two of them).
class http_server {
public:
  // `listen` is HOST:PORT; port 0 takes a free one. `in_use`: the port is taken. `bad_option`: not HOST:PORT.
  static result<std::unique_ptr<http_server>> start(const std::string& listen, http_routes routes);
  ~http_server();
  http_server(const http_server&) = delete;

  std::uint16_t port() const { return port_; }

private:
  http_server() = default;
  struct impl;
  std::unique_ptr<impl> impl_;
  std::uint16_t port_ = 0;
};

}  // namespace maru::metrics
