// Owns which session holds which pins, so that they end with it and none is released twice. Those that workers take without
// a message are in tables that the workers write; the ledger hands the tables out, counts what is in them, and takes them
// away when a session is over.
#pragma once

#include <unordered_map>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/hold_times.hpp"
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
  // What a worker's table says.
  struct counted_table {
    hold_times holds;
    cxl::local_counts seen;
  };
  void count_uses(counted_table& table, const cxl::local_counts& now);
  shard_blob release(const release_pins& request);
  void replace(const replace_pins& request);
  caf::typed_response_promise<outcome> end_session(session_id session);
  void end_slice(session_id session);
  outcome open_table(const open_session_table& request);
  outcome check_table(const check_session_table& request) const;
  void count_tables();
  void count_table(session_id session);
  pin_counts count_pins();
  void sum_up();
  pin_counts counted() const;
  void export_metrics();
  // Has the shards end these pins.
  void end_on_shards(const std::vector<pin_id>& pins);

  environment_ptr env_;
  std::vector<index_shard_actor> shards_;
  pin_table table_;
  std::unordered_map<session_id, counted_table> tables_;  // looked at once a second, one session a message
  std::vector<session_id> to_count_;
  pin_counts local_;  // in all tables, beside those by message, as of the last look
  std::unordered_map<session_id, caf::typed_response_promise<outcome>> ending_;
};

}  // namespace maru::actors
