#include "app/bench/rows.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "app/bench/format.hpp"

namespace maru::bench {

namespace {

using nlohmann::json;

// Six digits: what is behind them is noise.
double rounded(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", x);
  return std::strtod(text, nullptr);
}

nlohmann::ordered_json to_json(const row& r) {
  nlohmann::ordered_json out = {{"system", r.system},
                                {"op", r.op},
                                {"batch", r.batch},
                                {"clients", r.clients},
                                {"hot", r.hot},
                                {"writer", r.writer},
                                {"seconds", rounded(r.seconds)},
                                {"ops_per_s", rounded(r.ops_per_s)},
                                {"keys_per_s", rounded(r.keys_per_s)},
                                {"p50_us", rounded(r.p50_us)},
                                {"p99_us", rounded(r.p99_us)},
                                {"p999_us", rounded(r.p999_us)},
                                {"cpu_s_per_mkeys", rounded(r.cpu_s_per_mkeys)},
                                {"errors", r.errors}};
  for (const auto& [name, value] : r.extra)
    out[name] = rounded(value);
  return out;
}

row from_json(const json& object) {
  row r;
  object.at("system").get_to(r.system);
  object.at("op").get_to(r.op);
  for (const auto& [name, value] : object.items()) {
    if (name == "system" || name == "op")
      continue;
    if (name == "batch")
      r.batch = value.get<unsigned>();
    else if (name == "clients")
      r.clients = value.get<unsigned>();
    else if (name == "hot")
      r.hot = value.get<bool>();
    else if (name == "writer")
      r.writer = value.get<bool>();
    else if (name == "errors")
      r.errors = value.get<std::uint64_t>();
    else
      r.extra[name] = value.get<double>();
  }
  const std::pair<const char*, double*> fields[] = {
    {"seconds", &r.seconds}, {"ops_per_s", &r.ops_per_s}, {"keys_per_s", &r.keys_per_s},          {"p50_us", &r.p50_us},
    {"p99_us", &r.p99_us},   {"p999_us", &r.p999_us},     {"cpu_s_per_mkeys", &r.cpu_s_per_mkeys}};
  for (auto [name, value] : fields)
    if (auto found = r.extra.extract(name))
      *value = found.mapped();
  return r;
}

const row* find(const std::vector<row>& rows, const std::string& system, const std::string& op, unsigned batch,
                unsigned clients) {
  auto found = std::find_if(rows.begin(), rows.end(), [&](const row& r) {
    return r.system == system && r.op == op && r.batch == batch && r.clients == clients;
  });
  return found == rows.end() ? nullptr : &*found;
}

// A rate with a lower bound, and the same cell of another system beside it.
std::string rate_target(const std::vector<row>& rows, const char* what, const char* op, double at_least,
                        const char* other, bool must_beat_other) {
  const row* ours = find(rows, "maru", op, 128, 4);
  if (ours == nullptr)
    return {};
  auto value = format("%.0f keys/s (at least %.0f)", ours->keys_per_s, at_least);
  bool met = ours->keys_per_s >= at_least;
  if (const row* theirs = find(rows, other, op, 128, 4)) {
    value += format(", %s %.0f: %.2f x", other, theirs->keys_per_s, ours->keys_per_s / theirs->keys_per_s);
    met = met && (!must_beat_other || ours->keys_per_s > theirs->keys_per_s);
  }
  return target_line(what, value, met);
}

std::string latency_target(const std::vector<row>& rows) {
  const row* ours = find(rows, "maru", "lookup", 1, 1);
  double bare = 0;
  for (const auto& r : rows)
    if (r.system == "caf" && (bare == 0 || r.p50_us < bare))
      bare = r.p50_us;
  if (ours == nullptr || bare == 0)
    return {};
  return target_line("single lookup, one client, to a bare CAF request",
                     format("p50 %.1f us, bare %.1f us: %.2f x (at most 1.5)", ours->p50_us, bare, ours->p50_us / bare),
                     ours->p50_us <= 1.5 * bare);
}

std::string extra_target(const std::vector<row>& rows, const char* op, const char* field, const char* what,
                         const char* pattern, double bound, bool at_least) {
  auto found = std::find_if(rows.begin(), rows.end(),
                            [&](const row& r) { return r.system == "maru" && r.op == op && r.extra.contains(field); });
  if (found == rows.end())
    return {};
  double value = found->extra.at(field);
  return target_line(what, format(pattern, value, bound), at_least ? value >= bound : value <= bound);
}

}  // namespace

result<std::vector<row>> read_rows(const std::string& path) {
  std::ifstream file(path);
  if (!file)
    return errno_error("read " + path, errno);
  auto list = json::parse(file, nullptr, false);
  if (!list.is_array())
    return error{ec::invalid, "failed to read " + path + ": not a list of rows"};
  std::vector<row> rows;
  try {
    for (const auto& object : list)
      rows.push_back(from_json(object));
  } catch (const json::exception& e) {
    return error{ec::invalid, "failed to read " + path + ": " + e.what()};
  }
  return rows;
}

status write_rows(const std::string& path, const std::vector<row>& rows, bool append) {
  std::vector<row> all;
  if (append && std::filesystem::exists(path)) {
    auto before = read_rows(path);
    if (!before)
      return before.error();
    all = *std::move(before);
  }
  all.insert(all.end(), rows.begin(), rows.end());
  std::ofstream file(path, std::ios::trunc);
  file << "[\n";
  for (std::size_t i = 0; i < all.size(); ++i)
    file << "  " << to_json(all[i]).dump() << (i + 1 < all.size() ? ",\n" : "\n");
  file << "]\n";
  if (!file.flush())
    return errno_error("write " + path, errno);
  return {};
}

std::string table_of(const std::vector<row>& rows) {
  std::string out = format("%-10s %-14s %5s %7s %11s %12s %10s %10s %10s %11s\n", "system", "op", "batch", "clients",
                           "ops/s", "keys/s", "p50 us", "p99 us", "p99.9 us", "cpu s/Mkey");
  for (const auto& r : rows) {
    auto cpu = r.cpu_s_per_mkeys == 0 ? std::string{"-"} : format("%.2f", r.cpu_s_per_mkeys);
    out += format("%-10s %-14s %5u %7u %11.0f %12.0f %10.1f %10.1f %10.1f %11s", r.system.c_str(), r.op.c_str(),
                  r.batch, r.clients, r.ops_per_s, r.keys_per_s, r.p50_us, r.p99_us, r.p999_us, cpu.c_str());
    for (const auto& [name, value] : r.extra)
      out += format("  %s=%.0f", name.c_str(), value);
    if (r.errors != 0)
      out += format("  ERRORS=%llu", static_cast<unsigned long long>(r.errors));
    out += "\n";
  }
  return out;
}

std::string target_line(const std::string& what, const std::string& value, bool met) {
  return format("  %-48s %-52s %s\n", what.c_str(), value.c_str(), met ? "met" : "MISSED");
}

std::string targets_of(const std::vector<row>& rows) {
  return rate_target(rows, "durable batch put, 128 keys, 4 clients", "put", 250'000, "redis", false)
         + rate_target(rows, "batch lookup, 128 keys, 4 clients", "lookup", 1'000'000, "memcached", true)
         + rate_target(rows, "pin + unpin, 128 keys, 4 clients", "pin+unpin", 300'000, "", false) + latency_target(rows)
         + extra_target(rows, "fill", "rss_anon_bytes_per_key", "server memory (RssAnon) a key",
                        "%.0f bytes (at most %.0f)", 500, false)
         + extra_target(rows, "put-evict", "min_puts_per_s", "full pool: fewest puts in a second",
                        "%.0f (at least %.0f)", 1, true)
         + extra_target(rows, "put-evict", "lookup_p99_us", "full pool: p99 of lookups", "%.0f us (at most %.0f)",
                        10'000, false);
}

}  // namespace maru::bench
