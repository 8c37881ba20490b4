#include "actors/pin_ledger.hpp"

#include <algorithm>
#include <chrono>

#include "actors/blobs.hpp"
#include "base/log.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto count_interval = 1s;

}  // namespace

pin_ledger::pin_ledger(caf::actor_config& cfg, environment_ptr env, std::vector<index_shard_actor> shards)
    : observed(cfg, env->metrics, metrics::actor::pin_ledger), env_(std::move(env)), shards_(std::move(shards)) {
  harden(this, env_, "pin_ledger");
}

pin_ledger::behavior_type pin_ledger::make_behavior() {
  delayed_send(this, count_interval, count_tables_again{});
  return {
    [this](const open_session_table& m) { return open_table(m); },
    [this](const check_session_table& m) { return check_table(m); },
    [this](const count_tables_again&) { count_tables(); },
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
      return m.session == session_id::none ? count_pins() : pin_counts{table_.pins_of(m.session), 0};
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
  // Its worker is gone, or has said that it holds nothing any more: what its table says is over at once.
  auto table = env_->tables->find(session);
  if (auto known = tables_.find(session); table && known != tables_.end())
    count_uses(known->second, table->counts());
  env_->tables->remove(session);
  tables_.erase(session);
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

outcome pin_ledger::open_table(const open_session_table& request) {
  auto added = env_->tables->add(request.session, request.path);
  if (!added)
    log::error({"session_table", value_of(request.session)}, "{}", to_string(added.error()));
  else
    tables_[request.session] = {};
  return {added.code()};
}

outcome pin_ledger::check_table(const check_session_table& request) const {
  auto table = env_->tables->find(request.session);
  return {table && table->has_nonce(request.nonce) ? ec::ok : ec::invalid};
}

// One session a message: a table is some 30 KiB to read, and up to 4 MiB where very much is held.
void pin_ledger::count_tables() {
  if (to_count_.empty()) {
    std::chrono::nanoseconds longest{0};
    for (const auto& [session, t] : tables_)
      longest = std::max(longest, t.holds.longest());
    env_->metrics->longest_hold(std::chrono::duration<double>(longest).count());
    sum_up();
    export_metrics();
    for (const auto& [session, table] : env_->tables->all())
      to_count_.push_back(session);
    delayed_send(this, count_interval, count_tables_again{});
    return;
  }
  count_table(to_count_.back());
  to_count_.pop_back();
  send(this, count_tables_again{});
}

void pin_ledger::count_table(session_id session) {
  auto table = env_->tables->find(session);
  if (!table)
    return;
  auto [at, of_before] = tables_.try_emplace(session);
  if (of_before)  // the marud before this one has counted what its worker did until then
    at->second.seen = table->counts();
  at->second.holds.observe(table->all(), clock().now());
  count_uses(at->second, table->counts());
}

pin_counts pin_ledger::count_pins() {
  for (const auto& [session, table] : env_->tables->all())
    count_table(session);
  sum_up();
  return counted();
}

// Pins by message are in their worker's table, too; what is more there was taken without one. Several pins of one page are
// one in a table.
void pin_ledger::sum_up() {
  local_ = {};
  for (const auto& [session, t] : tables_) {
    auto by_message = table_.pins_of(session);
    auto more = t.holds.size() - std::min<std::uint64_t>(t.holds.size(), by_message);
    local_.pins += more;
    local_.held_dead += table_.is_dead(session) ? more : 0;
  }
}

pin_counts pin_ledger::counted() const {
  return {table_.pins() + local_.pins, table_.pins_held_dead() + local_.held_dead};
}

// A session's lookups without a message count as all others; a worker's word, so only what grew.
void pin_ledger::count_uses(counted_table& table, const cxl::local_counts& now) {
  const auto& before = table.seen;
  auto more = [](std::uint64_t n, std::uint64_t was) { return n > was ? n - was : 0; };
  env_->metrics->lookups(more(now.hits, before.hits), more(now.misses, before.misses));
  env_->metrics->local_keys(more(now.hits + now.misses, before.hits + before.misses), more(now.asked, before.asked));
  env_->metrics->corrupted(metrics::corruption::bucket, more(now.damaged, before.damaged));
  table.seen = now;
}

void pin_ledger::export_metrics() {
  auto now = counted();
  env_->metrics->pins(now.pins);
  env_->metrics->pins_held_dead(now.held_dead);
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
