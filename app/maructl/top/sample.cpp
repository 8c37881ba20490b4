#include "app/maructl/top/sample.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace maru::ctl {

namespace {

using nlohmann::json;

std::uint64_t number(const json& object, const char* name) { return object.at(name).get<std::uint64_t>(); }

// Adds the counts of one row of pages, each as so many bytes or as one.
void add(state_sizes& to, const json& row, std::uint64_t each) {
  to.committed += number(row, "committed") * each;
  to.granted += number(row, "granted") * each;
  to.evicting += number(row, "evicting") * each;
  to.quarantined += number(row, "quarantined") * each;
  to.retired += number(row, "retired") * each;
  to.free += number(row, "free") * each;
}

void read_status(sample& s, const json& status) {
  s.version = status.at("version").get<std::string>();
  s.epoch = number(status, "server_epoch");
  s.uptime_ms = number(status, "uptime_ms");
  s.ready = status.at("ready").get<bool>();
  const auto& pool = status.at("pool");
  s.pool_path = pool.at("path").get<std::string>();
  s.pool_bytes = number(pool, "bytes");
  s.unassigned_bytes = number(pool, "unassigned_bytes");
  add(s.pages, status.at("pages"), 1);
  for (const auto& row : status.at("page_sizes"))
    add(s.bytes, row, number(row, "page_bytes"));
  s.pins = number(status, "pins");
  s.pins_held_dead = number(status, "pins_held_dead");
  s.evicted = number(status, "evicted");
  s.hits = number(status.at("lookups"), "hit");
  s.misses = number(status.at("lookups"), "miss");
}

void read_sessions(sample& s, const json& answer) {
  for (const auto& row : answer.at("sessions"))
    s.sessions.push_back({number(row, "id"), number(row, "committed_bytes"), number(row, "grants"), number(row, "pins"),
                          number(row, "requests"), row.at("instance").get<std::string>(),
                          row.at("host").get<std::string>(), row.at("state").get<std::string>(),
                          row.at("lease_left_ms").get<std::int64_t>()});
}

void read_metrics(sample& s, const metrics_text& m) {
  s.puts_in_flight = m.sum("maru_puts_in_flight");
  s.stored = m.sum("maru_commit_total", {{"result", "ok"}});
  s.existed = m.sum("maru_commit_total", {{"result", "exists"}});
  s.failed = m.sum("maru_commit_total") - s.stored - s.existed;
  s.pins_taken = m.sum("maru_pin_total");
  for (const auto& op : m.values("maru_request_seconds_count", "op"))
    s.latency[op] = m.distribution("maru_request_seconds", {{"op", op}});
  s.latency["grant wait"] = m.distribution("maru_grant_wait_seconds");
}

latency latency_of(const histogram& h, double seconds) {
  return {h.count() / seconds, h.quantile(0.5), h.quantile(0.99), h.quantile(0.999)};
}

}  // namespace

sample read_sample(const json& status, const json& sessions, std::string_view metrics) {
  sample s;
  s.at = std::chrono::steady_clock::now();
  read_status(s, status);
  read_sessions(s, sessions);
  read_metrics(s, metrics_text{metrics});
  return s;
}

change between(const std::optional<sample>& before, const sample& now) {
  bool same = before && before->epoch == now.epoch && before->uptime_ms <= now.uptime_ms;
  sample nothing;
  const auto& from = same ? *before : nothing;
  change c;
  c.since_start = !same;
  c.seconds =
    same ? std::chrono::duration<double>(now.at - from.at).count() : static_cast<double>(now.uptime_ms) / 1000;
  c.seconds = std::max(c.seconds, 0.001);
  auto rate = [&](auto a, auto b) {
    return std::max(0.0, static_cast<double>(b) - static_cast<double>(a)) / c.seconds;
  };
  double hits = rate(from.hits, now.hits);
  c.lookups = hits + rate(from.misses, now.misses);
  c.hit_rate = c.lookups > 0 ? hits / c.lookups : unknown;
  c.stored = rate(from.stored, now.stored);
  c.existed = rate(from.existed, now.existed);
  c.failed = rate(from.failed, now.failed);
  c.pins_taken = rate(from.pins_taken, now.pins_taken);
  c.evicted = rate(from.evicted, now.evicted);
  for (const auto& [op, h] : now.latency) {
    auto old = from.latency.find(op);
    c.latencies[op] = latency_of(old == from.latency.end() ? h : h.since(old->second), c.seconds);
  }
  std::map<std::uint64_t, std::uint64_t> requests;
  for (const auto& s : from.sessions)
    requests[s.id] = s.requests;
  for (const auto& s : now.sessions)
    c.session_requests[s.id] = rate(requests[s.id], s.requests);
  return c;
}

}  // namespace maru::ctl
