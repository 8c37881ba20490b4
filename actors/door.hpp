// What marud publishes at its port: opens sessions, brings sessions back after a lost connection or a restart, and knows
// them all.
#pragma once

#include <chrono>
#include <set>
#include <unordered_map>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/observed.hpp"
#include "actors/recovery.hpp"
#include "actors/session.hpp"

namespace maru::actors {

class door : public observed<door_actor::base> {
public:
  // `recovered`: sessions of before the restart; they have `resume_grace_ms` to come back.
  door(caf::actor_config& cfg, environment_ptr env, session_neighbours neighbours, admin_actor admin,
       std::vector<recovered_session> recovered);

  behavior_type make_behavior() override;
  const char* name() const override { return "door"; }
  void on_exit() override;

private:
  struct known_session {
    storage::session_record record;
    session_actor handle;
    std::string peer;  // who it is, and where it came in; empty before it came back after a restart
  };
  using hello_promise = caf::typed_response_promise<net::hello_reply>;
  using outcome_promise = caf::typed_response_promise<outcome>;

  hello_promise welcome(const net::hello& m);
  void answered(ec code, std::chrono::steady_clock::time_point since);
  // ok, or why this worker is not let in.
  error check(const net::hello& m) const;
  // The peer at this node showed a token that fits: it may stay.
  void vouch_for(const caf::node_id& node) const;
  // It has this session now.
  void note_peer(const caf::node_id& node, known_session& session);
  std::string peer_at(const caf::node_id& node) const;
  void open(const net::hello& m, caf::actor_addr owner, hello_promise reply);
  void resume(const net::hello& m, caf::actor_addr owner, hello_promise reply);
  caf::typed_response_promise<net::admin_reply> ask_admin(const net::admin_request& m);
  void end_those_before(const storage::session_record& now);
  outcome_promise end(const end_session& m);
  session_actor spawn_session(session::config config);
  net::hello_reply reply_for(const known_session& s) const;
  std::uint64_t page_bytes_for(std::uint64_t wanted) const;
  void settled(session_id id, bool may_touch);
  void tell_grace();
  void ended(const session_ended& m);
  caf::typed_response_promise<session_list> list();
  caf::typed_response_promise<outcome> drain_sessions();
  void poll_until_idle(caf::typed_response_promise<outcome> reply);

  environment_ptr env_;
  session_neighbours to_;
  admin_actor admin_;
  std::unordered_map<session_id, known_session> sessions_;
  std::set<session_id> unsettled_;  // of before the restart, neither resumed nor dead nor out of time
  std::set<session_id> unproven_;   // of before the restart, out of time, or with pins that were lost
  bool grace_over_ = false;
  std::size_t questions_ = 0;  // of operators, under way
  std::uint32_t next_session_ = 1;
  std::vector<recovered_session> recovered_;
};

}  // namespace maru::actors
