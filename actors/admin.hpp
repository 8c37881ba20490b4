// Answers operators' questions (maructl, /status) in JSON. Runs on a thread of its own and may block: none of this is a
// hot path, and none of it may slow one, so every answer is bounded and long work is cut by a cursor.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/observed.hpp"
#include "actors/session.hpp"

namespace maru::actors {

class admin : public observed<admin_actor::base> {
public:
  admin(caf::actor_config& cfg, environment_ptr env, session_neighbours neighbours);

  behavior_type make_behavior() override;
  const char* name() const override { return "admin"; }
  void on_exit() override;

private:
  using json = nlohmann::json;

  net::admin_reply answer(const net::admin_request& m);
  json status();
  json stat(const json& arguments);
  json list(const json& arguments);
  json evict(const json& arguments);
  json devices();
  net::admin_reply change_devices(const std::string& verb, const json& arguments);
  net::admin_reply end_session_as_told(const json& arguments);
  json sessions();
  json check(const json& arguments);
  json log_level(const json& arguments);

  // Asks another actor and waits for the answer.
  template <class Reply, class Handle, class Request>
  std::optional<Reply> ask(const Handle& to, Request request);

  environment_ptr env_;
  session_neighbours to_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace maru::actors
