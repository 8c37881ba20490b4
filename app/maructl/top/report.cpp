#include "app/maructl/top/report.hpp"

#include <chrono>
#include <cmath>

namespace maru::ctl {

namespace {

using nlohmann::json;

json or_null(double value) { return std::isnan(value) ? json{} : json(value); }

json sizes_json(const state_sizes& s) {
  return {{"committed", s.committed},     {"granted", s.granted}, {"evicting", s.evicting},
          {"quarantined", s.quarantined}, {"retired", s.retired}, {"free", s.free}};
}

json head(const std::string& server, bool answers) {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return {{"time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now).count()},
          {"server", server},
          {"answers", answers}};
}

}  // namespace

json report(const std::string& server, const sample& now, const change& since) {
  auto out = head(server, true);
  out["version"] = now.version;
  out["server_epoch"] = now.epoch;
  out["uptime_ms"] = now.uptime_ms;
  out["ready"] = now.ready;
  out["seconds"] = since.seconds;
  out["since_start"] = since.since_start;
  out["hit_rate"] = or_null(since.hit_rate);
  out["lookups"] = {{"hit", now.hits}, {"miss", now.misses}, {"per_s", since.lookups}};
  out["puts"] = {{"in_flight", now.puts_in_flight},
                 {"stored_per_s", since.stored},
                 {"exists_per_s", since.existed},
                 {"failed_per_s", since.failed}};
  out["pins"] = {{"now", now.pins}, {"held_dead", now.pins_held_dead}, {"taken_per_s", since.pins_taken}};
  out["evicted"] = {{"total", now.evicted}, {"per_s", since.evicted}};
  out["pool"] = {{"path", now.pool_path}, {"bytes", now.pool_bytes}, {"unassigned_bytes", now.unassigned_bytes}};
  out["pages"] = sizes_json(now.pages);
  out["page_bytes"] = sizes_json(now.bytes);
  auto& latencies = out["latency"] = json::object();
  for (const auto& [op, is] : since.latencies)
    latencies[op] = {
      {"per_s", is.per_s}, {"p50_s", or_null(is.p50)}, {"p99_s", or_null(is.p99)}, {"p999_s", or_null(is.p999)}};
  auto& sessions = out["sessions"] = json::array();
  for (const auto& s : now.sessions) {
    auto requests = since.session_requests.find(s.id);
    sessions.push_back({{"id", s.id},
                        {"worker", s.worker},
                        {"host", s.host},
                        {"state", s.state},
                        {"requests_per_s", requests == since.session_requests.end() ? 0 : requests->second},
                        {"committed_bytes", s.committed_bytes},
                        {"pins", s.pins},
                        {"grants", s.grants},
                        {"lease_left_ms", s.lease_left_ms}});
  }
  return out;
}

json report_of_silence(const std::string& server, const std::string& trouble) {
  auto out = head(server, false);
  out["error"] = trouble;
  return out;
}

}  // namespace maru::ctl
