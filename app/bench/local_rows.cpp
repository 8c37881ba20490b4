#include "app/bench/local_rows.hpp"

#include <algorithm>
#include <optional>

#include "app/bench/format.hpp"

namespace maru::bench {

namespace {

constexpr double pinned_us_max = 1, pinned_us_aim = 0.3;
constexpr double to_map_max = 5;
constexpr double cold_us_max = 2, cold_keys_min = 1e6;
constexpr double pinned_per_s_min = 3e6;  // of 2 threads
constexpr double alloc_ns_max = 100;
constexpr double server_cores_max = 0.01;  // more than idle: what a clock of 10 ms can tell in some seconds

std::optional<double> extra(const row& r, const char* name) {
  auto found = r.extra.find(name);
  return found == r.extra.end() ? std::nullopt : std::optional{found->second};
}

// A cell without a writer.
const row* find(const std::vector<row>& rows, const char* system, const char* op, bool hot, unsigned threads) {
  auto found = std::find_if(rows.begin(), rows.end(), [&](const row& r) {
    return r.system == system && r.op == op && r.hot == hot && r.clients == threads && r.batch == 1 && !r.writer;
  });
  return found == rows.end() ? nullptr : &*found;
}

// A call that fails may be fast.
bool sound(const row& r) { return r.errors == 0; }

// Of the server, or empty: there is none, or it was not measured.
std::optional<double> server_cores(const row& r) {
  if (auto cpu = extra(r, server_cpu_extra); cpu && r.seconds > 0)
    return *cpu / r.seconds;
  if (r.cpu_s_per_mkeys != 0)
    return r.cpu_s_per_mkeys * r.keys_per_s / 1e6;
  return std::nullopt;
}

std::string path_target(const std::vector<row>& rows) {
  auto said = std::find_if(rows.begin(), rows.end(), [](const row& r) {
    return r.system == local_system && r.extra.contains(reads_locally_extra);
  });
  if (said == rows.end())
    return {};
  bool local = *extra(*said, reads_locally_extra) != 0;
  return target_line("reads go to the pool itself",
                     local ? "the client says so" : "no: " + std::string{local_system} + " asked by message, too",
                     local);
}

std::string pinned_target(const row* hot) {
  if (hot == nullptr)
    return {};
  return target_line("pinned lookup + unpin, hot",
                     format("p50 %.3f us (under %g; aim %g)", hot->p50_us, pinned_us_max, pinned_us_aim),
                     sound(*hot) && hot->p50_us < pinned_us_max);
}

std::string map_target(const row* hot, const row* map) {
  if (hot == nullptr || map == nullptr || map->p50_us == 0)
    return {};
  auto ratio = hot->p50_us / map->p50_us;
  return target_line(
    "the same, to a bare map lookup",
    format("%.0f ns to %.0f ns: %.1f x (at most %g)", hot->p50_us * 1e3, map->p50_us * 1e3, ratio, to_map_max),
    sound(*hot) && ratio <= to_map_max);
}

std::string cold_target(const row* cold) {
  if (cold == nullptr || extra(*cold, keys_extra).value_or(0) < cold_keys_min)
    return {};
  return target_line("pinned lookup + unpin, cold", format("p50 %.3f us (under %g)", cold->p50_us, cold_us_max),
                     sound(*cold) && cold->p50_us < cold_us_max);
}

std::string rate_target(const row* hot, const row* cold) {
  if (hot == nullptr)
    return {};
  auto value = format("%.2f M/s (over %g M)", hot->keys_per_s / 1e6, pinned_per_s_min / 1e6);
  if (cold != nullptr)
    value += format(", cold %.2f M/s", cold->keys_per_s / 1e6);
  return target_line("pinned lookups, hot, 2 threads", value, sound(*hot) && hot->keys_per_s > pinned_per_s_min);
}

std::string alloc_target(const row* alloc) {
  if (alloc == nullptr)
    return {};
  auto ns = alloc->p50_us * 1e3;
  return target_line("alloc of a page that is granted", format("p50 %.0f ns (under %g)", ns, alloc_ns_max),
                     sound(*alloc) && ns < alloc_ns_max);
}

// All local cells without a writer together: one alone is too short for the kernel's clock.
std::string server_target(const std::vector<row>& rows) {
  double cpu = 0, seconds = 0;
  std::optional<double> idle;
  for (const auto& r : rows) {
    auto spent = extra(r, server_cpu_extra);
    if (r.system != local_system || r.op == alloc_op || r.writer || !spent || r.seconds == 0)
      continue;
    if (r.op == idle_op) {
      idle = *spent / r.seconds;
    } else {
      cpu += *spent;
      seconds += r.seconds;
    }
  }
  if (!idle || seconds == 0)
    return {};
  auto cores = cpu / seconds;
  return target_line("server CPU beside local reads",
                     format("%.4f cores, idle %.4f (at most %g more)", cores, *idle, server_cores_max),
                     cores - *idle <= server_cores_max);
}

}  // namespace

std::string local_table_of(const std::vector<row>& rows) {
  std::string out =
    format("%-14s %-13s %5s %5s %3s %6s %10s %10s %10s %10s %12s %12s\n", "system", "op", "keys", "batch", "by",
           "writer", "p50 ns", "p99 ns", "p99.9 ns", "p50 a key", "keys/s", "server cores");
  for (const auto& r : rows) {
    auto cores = server_cores(r);
    out +=
      format("%-14s %-13s %5s %5u %3u %6s %10.0f %10.0f %10.0f %10.1f %12.0f %12s", r.system.c_str(), r.op.c_str(),
             r.hot ? "hot" : "cold", r.batch, r.clients, r.writer ? "yes" : "-", r.p50_us * 1e3, r.p99_us * 1e3,
             r.p999_us * 1e3, r.p50_us * 1e3 / r.batch, r.keys_per_s, cores ? format("%.3f", *cores).c_str() : "-");
    if (auto rate = extra(r, writer_extra))
      out += format("  writer=%.0f", *rate);
    if (auto missed = extra(r, missed_extra); missed && *missed != 0)
      out += format("  missed=%.0f", *missed);
    if (r.errors != 0)
      out += format("  ERRORS=%llu", static_cast<unsigned long long>(r.errors));
    out += "\n";
  }
  return out;
}

std::string local_targets_of(const std::vector<row>& rows) {
  auto* hot = find(rows, local_system, pinned_op, true, 1);
  auto* cold = find(rows, local_system, pinned_op, false, 1);
  return path_target(rows) + pinned_target(hot) + map_target(hot, find(rows, map_system, "lookup", true, 1))
         + cold_target(cold)
         + rate_target(find(rows, local_system, pinned_op, true, 2), find(rows, local_system, pinned_op, false, 2))
         + alloc_target(find(rows, local_system, alloc_op, true, 1)) + server_target(rows);
}

}  // namespace maru::bench
