#include "app/maructl/show.hpp"

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "app/maructl/key_text.hpp"
#include "app/maructl/table.hpp"
#include "base/hex.hpp"
#include "base/size.hpp"

namespace maru::ctl {

namespace {

using nlohmann::json;
using std::string;
constexpr auto left = table::align::left;
constexpr auto right = table::align::right;
constexpr const char* page_states[] = {"free", "granted", "committed", "evicting", "quarantined", "retired"};

std::uint64_t number(const json& object, const char* name) { return object.at(name).get<std::uint64_t>(); }
string count(const json& object, const char* name) { return grouped(number(object, name)); }
string size(const json& object, const char* name) { return format_size(number(object, name)); }
string text(const json& object, const char* name) { return object.at(name).get<string>(); }

string line(const char* name, const string& value) {
  string out = name;
  out.resize(12, ' ');
  return out + value + "\n";
}

// "2026-01-31 12:00:05 UTC"
string date(std::uint64_t unix_ms) {
  if (unix_ms == 0)
    return "unknown";
  auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  char out[64];
  if (::gmtime_r(&seconds, &parts) == nullptr || std::strftime(out, sizeof out, "%F %T UTC", &parts) == 0)
    return std::to_string(unix_ms) + " ms";
  return out;
}

string place(const json& entry) {
  return count(entry, "region") + ":" + count(entry, "page") + "@" + std::to_string(number(entry, "generation"));
}

string hit_rate(const json& lookups) {
  auto hits = number(lookups, "hit"), all = hits + number(lookups, "miss");
  if (all == 0)
    return "none yet";
  char percent[32];
  std::snprintf(percent, sizeof percent, "%.1f %%", 100.0 * static_cast<double>(hits) / static_cast<double>(all));
  return grouped(all) + ", " + percent + " hits";
}

string page_table(const json& answer) {
  std::vector<table::column> columns = {{"page size", right}, {"regions", right}};
  for (auto state : page_states)
    columns.push_back({state, right});
  table pages{columns};
  auto add = [&](const string& name, const string& regions, const json& row) {
    std::vector<string> cells = {name, regions};
    for (auto state : page_states)
      cells.push_back(count(row, state));
    pages.add(cells);
  };
  for (const auto& row : answer.at("page_sizes"))
    add(size(row, "page_bytes"), count(row, "regions"), row);
  if (answer.at("page_sizes").size() != 1)
    add("all", "", answer.at("pages"));
  return pages.text();
}

}  // namespace

string show_status(const json& answer, const string& server) {
  const auto& pool = answer.at("pool");
  auto out = line("marud", text(answer, "version") + " at " + server + ", up "
                             + duration_text(number(answer, "uptime_ms")) + ", epoch " + count(answer, "server_epoch")
                             + (answer.at("ready").get<bool>() ? ", ready" : ", not ready yet"));
  out += line("pool", text(pool, "path") + ", " + size(pool, "bytes") + ", smallest page " + size(pool, "page_min"));
  out += line("", text(pool, "uuid") + ", incarnation " + text(pool, "incarnation"));
  out +=
    line("chunks", count(answer, "entries") + " committed, " + count(answer, "evicted") + " evicted since the start");
  out +=
    line("pins", count(answer, "pins") + ", " + count(answer, "pins_held_dead") + " held for sessions that went away");
  auto local = answer.value("sessions_local", std::uint64_t{0});
  out += line("sessions", count(answer, "sessions")
                            + (local != 0 ? ", " + grouped(local) + " of them read in the pool itself" : "")
                            + (answer.value("restart_grace", false)
                                 ? "; some of before the restart are awaited: nothing is evicted or removed until then"
                                 : ""));
  out += line("lookups", hit_rate(answer.at("lookups")));
  out += line("room", size(pool, "unassigned_bytes") + " in no region yet, reserve of " + count(answer, "reserve_pages")
                        + " free pages");
  out += "\n" + page_table(answer);
  // Of a pool of one device the lines above say it all.
  if (answer.value("devices", json::array()).size() > 1)
    out += "\n" + show_pool_devices(answer);
  return out;
}

string show_entry(const json& answer, const string& key) {
  return line("key", show_key(key)) + line("hash", text(answer, "hash")) + line("page", place(answer))
         + line("length", size(answer, "length") + " (" + count(answer, "length") + " bytes)")
         + line("state", text(answer, "state")) + line("pins", count(answer, "pins"))
         + line("committed", date(answer.value("committed_ms", std::uint64_t{0})))
         + line("owner", answer.value("owner", "unknown"));
}

string show_entries(const json& entries) {
  table rows{{{"bytes", right}, {"page", left}, {"committed", left}, {"owner", left}, {"key", left}}};
  for (const auto& entry : entries) {
    auto key = from_hex(text(entry, "key_hex"));
    rows.add({count(entry, "length"), place(entry), date(number(entry, "committed_ms")), text(entry, "owner"),
              key && !key->empty() ? show_key(*key) : "unknown, of hash " + text(entry, "hash")});
  }
  return rows.text();
}

string show_sessions(const json& answer) {
  table rows{{{"session", right},
              {"worker", left},
              {"peer", left},
              {"state", left},
              {"page", right},
              {"shown", right},
              {"grants", right},
              {"pins", right},
              {"reads", left},
              {"age", right},
              {"lease left", right}}};
  for (const auto& s : answer.at("sessions")) {
    auto left_ms = s.at("lease_left_ms").get<std::int64_t>();
    rows.add({std::to_string(number(s, "id")), text(s, "instance"), s.value("peer", ""), text(s, "state"),
              size(s, "page_bytes"), count(s, "shown_pages"), count(s, "grants"), count(s, "pins"),
              s.value("local_reads", false) ? "locally" : "by message", duration_text(number(s, "age_ms")),
              left_ms <= 0 ? "over" : duration_text(static_cast<std::uint64_t>(left_ms))});
  }
  return rows.empty() ? "no sessions\n" : rows.text();
}

string show_pool_devices(const json& answer) {
  table rows{{{"device", left},
              {"kind", left},
              {"state", left},
              {"size", right},
              {"committed", right},
              {"granted", right},
              {"held", right},
              {"free", right}}};
  for (const auto& d : answer.at("devices"))
    rows.add({text(d, "path"), text(d, "kind"), text(d, "state"), size(d, "bytes"), size(d, "committed"),
              size(d, "granted"), format_size(number(d, "evicting") + number(d, "quarantined") + number(d, "retired")),
              format_size(number(d, "free") + number(d, "unassigned"))});
  return rows.text();
}

string show_evicted(const json& answer) {
  auto pages = count(answer, "evicted_pages");
  return "evicted " + pages + (pages == "1" ? " chunk, " : " chunks, ") + size(answer, "evicted_bytes") + "\n";
}

string show_log_level(const json& answer) {
  auto now = text(answer, "level"), was = answer.value("was", now);
  return now == was ? now + "\n" : now + ", was " + was + "\n";
}

string show_audit(const json& problems, const json& counts) {
  string out;
  for (const auto& [name, value] : counts.items())
    out += line(name.c_str(), value.is_number_integer() ? grouped(value.get<std::uint64_t>()) : value.dump());
  if (problems.empty())
    return out + "no problems found\n";
  table rows{{{"page", left}, {"problem", left}}};
  for (const auto& p : problems)
    rows.add({p.at("page").is_string() ? text(p, "page") : p.at("page").dump(), text(p, "problem")});
  return out + "\n" + rows.text();
}

}  // namespace maru::ctl
