// An operator's questions to marud: a verb and JSON arguments, answered with JSON. For maructl and tests; not a hot
// path. Needs no session and maps no pool.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/bounds.hpp"
#include "base/error.hpp"
#include "net/tls_options.hpp"

namespace maru::net {

// A connection for several questions, one after the other.
// Concurrency: one thread at a time.
// Limits: never reconnects; open a new one.
class admin {
public:
  // Connects to marud at an address as in client_options. `bad_option`: it is none. Other errors: see dial().
  static result<admin> open(const std::string& server, std::chrono::milliseconds timeout = bounds::request_timeout,
                            const tls_options& tls = {});
  admin(admin&&) noexcept;
  admin& operator=(admin&&) noexcept;
  ~admin();

  // The JSON of marud's answer; its own code and sentence where it refuses. `timeout`: no answer before the deadline.
  // `unavailable`: the connection went away. `version_mismatch`: that marud does not know the question.
  result<std::string> ask(const std::string& verb, const std::string& arguments,
                          std::chrono::milliseconds timeout = bounds::request_timeout);

private:
  struct impl;
  explicit admin(std::unique_ptr<impl> i);
  std::unique_ptr<impl> impl_;
};

// One question on a connection of its own.
result<std::string> ask_admin(const std::string& server, const std::string& verb, const std::string& arguments,
                              std::chrono::milliseconds timeout = bounds::request_timeout, const tls_options& tls = {});

}  // namespace maru::net
