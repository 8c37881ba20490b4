#include "actors/pin_ledger.hpp"

#include "actors/blobs.hpp"

namespace maru::actors {

pin_ledger::pin_ledger(caf::actor_config& cfg, environment_ptr env, std::vector<index_shard_actor> shards)
    : observed(cfg, env->metrics, metrics::actor::pin_ledger), env_(std::move(env)), shards_(std::move(shards)) {
  harden(this, env_, "pin_ledger");
}

pin_ledger::behavior_type pin_ledger::make_behavior() {
  return {
    [this](const record_pins& m) {
      table_.record(m.session, m.pins);
      export_metrics();
    },
    [this](const replace_pins& m) { replace(m); },
    [this](const release_pins& m) { return release(m); },
    [this](const end_session_pins& m) { return end_session(m.session); },
    [this](const end_pins_slice& m) { end_slice(m.session); },
    [this](const hold_pins& m) {
      table_.set_dead(m.session);
      export_metrics();
    },
    [this](const ask_pins& m) {
      if (m.session != session_id::none)
        return pin_counts{table_.pins_of(m.session), 0};
      return pin_counts{table_.pins(), table_.pins_held_dead()};
    },
  };
}

shard_blob pin_ledger::release(const release_pins& request) {
  auto codes = table_.release(request.session, request.pins);
  std::vector<pin_id> ended;
  ended.reserve(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i)
    if (codes[i] == ec::ok)
      ended.push_back(request.pins[i]);
  end_on_shards(ended);
  env_->metrics->pins_ended(metrics::pin_ended_by::unpin, ended.size());
  export_metrics();
  return {net::encode_codes(codes)};
}

void pin_ledger::replace(const replace_pins& request) {
  // The new pins are taken already: what is in both never is without one.
  for (;;) {
    auto old = table_.take(request.session, bounds::slice_pages);
    if (old.empty())
      break;
    end_on_shards(old);
  }
  table_.record(request.session, request.pins);
  export_metrics();
}

caf::typed_response_promise<outcome> pin_ledger::end_session(session_id session) {
  auto promise = make_response_promise<outcome>();
  ending_[session] = promise;
  end_slice(session);
  return promise;
}

void pin_ledger::end_slice(session_id session) {
  auto pins = table_.take(session, bounds::slice_pages);
  end_on_shards(pins);
  env_->metrics->pins_ended(metrics::pin_ended_by::session_end, pins.size());
  export_metrics();
  if (pins.size() == bounds::slice_pages) {
    send(this, end_pins_slice{session});
    return;
  }
  auto at = ending_.find(session);
  if (at == ending_.end())
    return;
  at->second.deliver(outcome{});
  ending_.erase(at);
}

void pin_ledger::export_metrics() {
  env_->metrics->pins(table_.pins());
  env_->metrics->pins_held_dead(table_.pins_held_dead());
}

void pin_ledger::end_on_shards(const std::vector<pin_id>& pins) {
  auto parts = split_by_shard(pins, shards_.size());
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (!parts[i].empty())
      send(shards_[i], end_pins_on{std::move(parts[i])});
}

// Handles go in circles, and a promise holds the actor that made it: each side lets go when it ends.
void pin_ledger::on_exit() {
  shards_.clear();
  ending_.clear();
}

}  // namespace maru::actors
