#include "actors/admin.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/audit.hpp"
#include "actors/blobs.hpp"
#include "base/hex.hpp"
#include "base/version.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
using json = nlohmann::json;

constexpr std::size_t scan_records_max = 4096;  // records of RocksDB that one `ls` looks at

json counts_json(const state_counts& c) {
  return {{"free", c.free},         {"granted", c.granted},         {"committed", c.committed},
          {"evicting", c.evicting}, {"quarantined", c.quarantined}, {"retired", c.retired}};
}

json location_json(const location& where) {
  return {{"region", value_of(where.page.region)},
          {"page", value_of(where.page.page)},
          {"generation", where.gen},
          {"length", where.length}};
}

std::string text_of(const json& arguments, const char* name) {
  return arguments.contains(name) && arguments[name].is_string() ? arguments[name].get<std::string>() : std::string{};
}

std::uint64_t number_of(const json& arguments, const char* name, std::uint64_t fallback) {
  return arguments.contains(name) && arguments[name].is_number_unsigned() ? arguments[name].get<std::uint64_t>()
                                                                          : fallback;
}

key_hash hash_of_hex(const std::string& hex) {
  key_hash hash;
  if (auto bytes = from_hex(hex); bytes && bytes->size() == sizeof hash)
    std::memcpy(&hash, bytes->data(), sizeof hash);
  return hash;
}

std::string hex_of(const key_hash& hash) { return to_hex({reinterpret_cast<const char*>(&hash), sizeof hash}); }

}  // namespace

admin::admin(caf::actor_config& cfg, environment_ptr env, session_neighbours neighbours)
    : observed(cfg, env->metrics, metrics::actor::admin), env_(std::move(env)), to_(std::move(neighbours)) {
  harden(this, env_, "admin");
}

void admin::on_exit() { to_ = {}; }

admin::behavior_type admin::make_behavior() {
  return {
    [this](const net::admin_request& m) { return answer(m); },
    [this](const wire_admin& m) { to_.door = m.door; },
  };
}

template <class Reply, class Handle, class Request>
std::optional<Reply> admin::ask(const Handle& to, Request question) {
  std::optional<Reply> out;
  caf::scoped_actor self{system()};
  self->request(to, 5s, std::move(question)).receive([&](Reply& r) { out = std::move(r); }, [](const caf::error&) {});
  return out;
}

net::admin_reply admin::answer(const net::admin_request& m) {
  auto refuse = [](ec code, std::string why) {
    return net::admin_reply{static_cast<std::uint8_t>(code), std::move(why)};
  };
  if (env_->stopping->load())
    return refuse(ec::stopping, "marud is shutting down");
  auto arguments = json::parse(m.arguments, nullptr, false);
  if (!arguments.is_object())
    return refuse(ec::invalid, "arguments are no JSON object");
  json body;
  if (m.verb == "status")
    body = status();
  else if (m.verb == "stat")
    body = stat(arguments);
  else if (m.verb == "ls")
    body = list(arguments);
  else if (m.verb == "evict" && ask<pool_status>(to_.pool, ask_pool_status{}).value_or(pool_status{}).grace)
    return refuse(ec::busy,
                  "nothing is evicted before every session of before the restart is back, proven dead or out "
                  "of time; maructl sessions shows which are awaited");
  else if (m.verb == "evict")
    body = evict(arguments);
  else if (m.verb == "devices")
    body = devices();
  else if (m.verb == "device-add" || m.verb == "device-drain" || m.verb == "device-remove")
    return change_devices(m.verb, arguments);
  else if (m.verb == "session-end")
    return end_session_as_told(arguments);
  else if (m.verb == "sessions")
    body = sessions();
  else if (m.verb == "check")
    body = check(arguments);
  else if (m.verb == "metrics")
    body = {{"text", env_->metrics_text()}};
  else if (m.verb == "log-level")
    body = log_level(arguments);
  else
    return refuse(
      ec::invalid,
      "no such verb: status, stat, ls, evict, devices, device-add, device-drain, device-remove, sessions, session-end, "
      "check, metrics, log-level");
  if (body.is_null())
    return refuse(ec::invalid, "arguments that '" + m.verb + "' does not take");
  return {0, body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

json admin::status() {
  auto pool = ask<pool_status>(to_.pool, ask_pool_status{}).value_or(pool_status{});
  auto pins = ask<pin_counts>(to_.ledger, ask_pins{}).value_or(pin_counts{});
  auto list = ask<session_list>(to_.door, ask_sessions{}).value_or(session_list{});
  std::uint64_t entries = 0, bytes = 0;
  for (const auto& shard : to_.shards) {
    auto s = ask<shard_status>(shard, ask_shard_status{}).value_or(shard_status{});
    entries += s.entries;
    bytes += s.bytes;
  }
  const auto& block = env_->pool->super();
  json sizes = json::array();
  for (const auto& row : pool.sizes) {
    auto r = counts_json(row.counts);
    r["page_bytes"] = row.page_bytes;
    r["regions"] = row.regions;
    sizes.push_back(r);
  }
  auto local = std::count_if(list.sessions.begin(), list.sessions.end(), [](const auto& s) { return s.local_reads; });
  auto uptime = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started_);
  return {
    {"version", version()},
    {"server_epoch", env_->pool->epoch()},
    {"uptime_ms", uptime.count()},
    {"ready", !env_->stopping->load()},
    {"pool",
     {{"uuid", to_string(block.pool)},
      {"incarnation", to_string(block.incarnation)},
      {"path", env_->options.pool},
      {"bytes", env_->pool->data_bytes()},
      {"page_min", block.slot_bytes},
      {"unassigned_bytes", pool.unassigned_bytes}}},
    {"pages", counts_json(pool.pages)},
    {"page_sizes", sizes},
    {"devices", devices()["devices"]},
    {"entries", entries},
    {"entry_bytes", bytes},
    {"pins", pins.pins},
    {"pins_held_dead", pins.held_dead},
    {"sessions", list.sessions.size()},
    {"sessions_local", local},
    {"lookups", {{"hit", env_->metrics->lookup_hits()}, {"miss", env_->metrics->lookup_misses()}}},
    {"evicted", env_->metrics->evicted_total()},
    {"reserve_pages", pool.reserve_pages},
    {"restart_grace", pool.grace},
  };
}

json admin::stat(const json& arguments) {
  auto key = from_hex(text_of(arguments, "key_hex"));
  if (!key)
    return {{"found", false}};
  auto hash = hash_key(env_->pool->super().secret, *key);
  auto entry = ask<entry_details>(to_.shards[shard_of(hash, to_.shards.size())], ask_entry{hash});
  if (!entry || !entry->details)
    return {{"found", false}, {"hash", to_string(hash)}};
  auto out = location_json(entry->details->where);
  out["found"] = true;
  out["hash"] = to_string(hash);
  // Those by message are in their workers' tables as well.
  out["pins"] = std::max<std::uint64_t>(entry->details->pins, env_->tables->holders(entry->details->where.page));
  out["state"] = entry->details->evicting ? "evicting" : "committed";
  if (auto record = env_->store->entry(hash); record && *record) {
    out["committed_ms"] = (*record)->committed_ms;
    out["owner"] = (*record)->owner;
  }
  return out;
}

json admin::list(const json& arguments) {
  auto prefix = from_hex(text_of(arguments, "prefix_hex")).value_or("");
  auto limit = std::clamp<std::uint64_t>(number_of(arguments, "limit", 100), 1, bounds::batch_items_max);
  json entries = json::array();
  std::string cursor;
  std::size_t seen = 0;
  auto scanned = env_->store->scan_entries(hash_of_hex(text_of(arguments, "cursor")),
                                           [&](const key_hash& hash, const storage::entry_record& record) {
                                             if (entries.size() >= limit || ++seen > scan_records_max) {
                                               cursor = hex_of(hash);
                                               return false;
                                             }
                                             if (!record.key.starts_with(prefix))
                                               return true;
                                             auto row = location_json(record.where);
                                             row["hash"] = to_string(hash);
                                             row["key_hex"] = to_hex(record.key);
                                             row["committed_ms"] = record.committed_ms;
                                             row["owner"] = record.owner;
                                             entries.push_back(std::move(row));
                                             return true;
                                           });
  if (!scanned)
    log::error("storage_failed", "{}", to_string(scanned.error()));
  return {{"entries", entries}, {"cursor", cursor}};
}

json admin::evict(const json& arguments) {
  std::optional<evicted_bytes> gone;
  caf::scoped_actor self{system()};
  self->request(to_.pool, 60s, evict_bytes{number_of(arguments, "bytes", 0)})
    .receive([&](const evicted_bytes& e) { gone = e; }, [](const caf::error&) {});
  auto e = gone.value_or(evicted_bytes{});
  return {{"evicted_pages", e.pages}, {"evicted_bytes", e.bytes}};
}

json admin::devices() {
  json rows = json::array();
  for (const auto& d : ask<device_list>(to_.pool, ask_devices{}).value_or(device_list{}).devices) {
    auto row = counts_json(d.used);  // bytes
    row["index"] = d.index;
    row["uuid"] = to_string(d.id);
    row["path"] = d.path;
    row["kind"] = d.kind;
    row["bytes"] = d.bytes;
    row["unassigned"] = d.unassigned_bytes;
    row["state"] = d.left_out ? "left_out" : !d.draining ? "serving" : d.used.held() > 0 ? "draining" : "drained";
    rows.push_back(std::move(row));
  }
  return {{"devices", rows}};
}

// Answered when it is done: a device is formatted in seconds.
net::admin_reply admin::change_devices(const std::string& verb, const json& arguments) {
  auto reply = [](const maru::status& result) {
    return net::admin_reply{static_cast<std::uint8_t>(result.code()), result ? "{}" : result.error().message};
  };
  auto spec = parse_device_spec(text_of(arguments, "device"));
  if (!spec)
    return reply(spec.error());
  auto what = verb == "device-add"     ? device_verb::add
              : verb == "device-drain" ? device_verb::drain
                                       : device_verb::remove;
  maru::status answer{ec::timeout, "marud is at it still; 'maructl device status' shows how far"};
  caf::scoped_actor self{system()};
  self->request(to_.pool, 60s, change_device{what, *std::move(spec)})
    .receive([&](const device_changed& c) { answer = c.done; }, [](const caf::error&) {});
  return reply(answer);
}

net::admin_reply admin::end_session_as_told(const json& arguments) {
  auto id = number_of(arguments, "session", 0);
  auto ended = ask<outcome>(to_.door, end_session{session_id{id}}).value_or(outcome{ec::timeout});
  std::string why = ended.code == ec::ok        ? "{}"
                    : ended.code == ec::missing ? "there is no session " + std::to_string(id)
                    : ended.code == ec::busy    ? "its worker is connected: stop that first"
                                                : "no answer in time";
  return {static_cast<std::uint8_t>(ended.code), std::move(why)};
}

json admin::sessions() {
  json rows = json::array();
  auto filled = ask<committed_bytes>(to_.pool, ask_committed_bytes{}).value_or(committed_bytes{}).of;
  for (const auto& s : ask<session_list>(to_.door, ask_sessions{}).value_or(session_list{}).sessions)
    rows.push_back({{"id", s.id},
                    {"instance", s.instance},
                    {"host", s.host},
                    {"peer", s.peer},
                    {"page_bytes", s.page_bytes},
                    {"grants", s.grants},
                    {"pins", s.pins},
                    {"local_reads", s.local_reads},
                    {"committed_bytes", filled[session_id{s.id}]},
                    {"requests", s.requests},
                    {"in_flight", s.in_flight},
                    {"shown_regions", s.shown_regions},
                    {"shown_pages", s.shown_pages},
                    {"state", s.state},
                    {"age_ms", s.age_ms},
                    {"lease_left_ms", s.lease_left_ms}});
  return {{"sessions", rows}};
}

// Without a level it only tells; null for a word that is none.
json admin::log_level(const json& arguments) {
  std::string was{log::level_word()}, wanted = text_of(arguments, "level");
  if (wanted.empty())
    return {{"level", was}};
  if (!log::set_level(wanted))
    return nullptr;
  if (wanted != was)
    log::write(log::severity::info, "log_level", "it was " + was + ", it is " + wanted + ", by maructl");
  return {{"level", wanted}, {"was", was}};
}

json admin::check(const json& arguments) {
  audit a{env_,
          [this](region_id region, std::uint32_t from, std::uint32_t count) {
            return ask<page_states>(to_.pool, ask_page_states{region, from, count}).value_or(page_states{}).states;
          },
          [this](const key_hash& hash) {
            auto e = ask<entry_details>(to_.shards[shard_of(hash, to_.shards.size())], ask_entry{hash});
            return e ? e->details : std::nullopt;
          },
          ask<region_rows>(to_.pool, ask_regions{}).value_or(region_rows{}).rows};
  auto slice = a.next(text_of(arguments, "cursor"));
  json problems = json::array();
  for (const auto& p : slice.problems)
    problems.push_back({{"page", p.what}, {"problem", p.problem}});
  auto counts = ask<pool_status>(to_.pool, ask_pool_status{}).value_or(pool_status{}).pages;
  return {{"done", slice.done},
          {"total", slice.total},
          {"problems", problems},
          {"cursor", slice.cursor},
          {"counts", counts_json(counts)}};
}

}  // namespace maru::actors
