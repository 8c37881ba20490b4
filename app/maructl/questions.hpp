// Questions to marud's admin on one connection, as JSON in and out.
#pragma once

#include <nlohmann/json.hpp>

#include "app/maructl/command_line.hpp"
#include "base/error.hpp"
#include "net/admin.hpp"

namespace maru::ctl {

// Concurrency: one thread at a time. REQUIRES: the command outlives it.
class questions {
public:
  static result<questions> open(const command& c);

  // Throws nlohmann::json::exception where the answer is none.
  result<nlohmann::json> ask(const char* verb, nlohmann::json arguments = nlohmann::json::object());

private:
  questions(const command& c, net::admin connection) : command_(&c), connection_(std::move(connection)) {}
  const command* command_;
  net::admin connection_;
};

}  // namespace maru::ctl
