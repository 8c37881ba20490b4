#include "app/maructl/questions.hpp"

#include <utility>

namespace maru::ctl {

using nlohmann::json;

result<questions> questions::open(const command& c) {
  auto connection = net::admin::open(c.server, c.timeout, c.tls);
  if (!connection)
    return connection.error();
  return questions{c, *std::move(connection)};
}

result<json> questions::ask(const char* verb, json arguments) {
  auto token = command_->token.read();  // anew: `top` runs long enough for a rotation
  if (!token)
    return token.error();
  if (!token->empty())
    arguments["token"] = *token;
  auto body = connection_.ask(verb, arguments.dump(), command_->timeout);
  if (!body)
    return body.error();
  return json::parse(*body);
}

}  // namespace maru::ctl
