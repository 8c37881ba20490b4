// Owns which session holds which pins, so that they end with it and none is released twice.
#pragma once

#include <unordered_map>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/observed.hpp"
#include "actors/pin_table.hpp"

namespace maru::actors {

class pin_ledger : public observed<pin_ledger_actor::base> {
public:
  pin_ledger(caf::actor_config& cfg, environment_ptr env, std::vector<index_shard_actor> shards);

  behavior_type make_behavior() override;
  const char* name() const override { return "pin_ledger"; }
  void on_exit() override;

private:
  shard_blob release(const release_pins& request);
  void replace(const replace_pins& request);
  caf::typed_response_promise<outcome> end_session(session_id session);
  void end_slice(session_id session);
  void export_metrics();
  // Has the shards end these pins.
  void end_on_shards(const std::vector<pin_id>& pins);

  environment_ptr env_;
  std::vector<index_shard_actor> shards_;
  pin_table table_;
  std::unordered_map<session_id, caf::typed_response_promise<outcome>> ending_;
};

}  // namespace maru::actors
