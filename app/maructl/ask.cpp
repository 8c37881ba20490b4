#include "app/maructl/ask.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "app/bench/progress.hpp"
#include "app/maructl/key_text.hpp"
#include "app/maructl/questions.hpp"
#include "app/maructl/show.hpp"
#include "base/bounds.hpp"
#include "base/device_spec.hpp"
#include "base/hex.hpp"

namespace maru::ctl {

namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds drain_look_interval{500};

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_json(const json& value) { print(value.dump(2, ' ', false, json::error_handler_t::replace) + "\n"); }

// What is asked once and shown as it comes.
template <class Show>
result<exit_code> ask_once(const command& c, questions& q, const char* verb, json arguments, Show show) {
  auto answer = q.ask(verb, std::move(arguments));
  if (!answer)
    return answer.error();
  if (c.json)
    print_json(*answer);
  else
    print(show(*answer));
  return exit_code::ok;
}

result<exit_code> stat(const command& c, questions& q) {
  auto answer = q.ask("stat", {{"key_hex", to_hex(c.keys.front())}});
  if (!answer)
    return answer.error();
  bool found = answer->at("found").get<bool>();
  if (c.json)
    print_json(*answer);
  else if (!found)
    return error{ec::missing, "failed to find " + show_key(c.keys.front()) + ": no such key"};
  else
    print(show_entry(*answer, c.keys.front()));
  return found ? exit_code::ok : exit_code::not_found;
}

// One call of marud scans a bounded number of records, so calls without entries are no end: only an empty cursor is.
result<exit_code> ls(const command& c, questions& q) {
  auto entries = json::array();
  std::string cursor;
  bool more = true;
  while (more && (c.limit == 0 || entries.size() < c.limit)) {
    std::uint64_t want = c.limit == 0 ? bounds::batch_items_max : c.limit - entries.size();
    auto answer = q.ask("ls", {{"prefix_hex", to_hex(c.prefix)},
                               {"limit", std::min<std::uint64_t>(want, bounds::batch_items_max)},
                               {"cursor", cursor}});
    if (!answer)
      return answer.error();
    for (auto& entry : answer->at("entries"))
      entries.push_back(std::move(entry));
    cursor = answer->at("cursor").get<std::string>();
    more = !cursor.empty();
  }
  if (c.json) {
    print_json({{"entries", entries}, {"more", more}});
    return exit_code::ok;
  }
  if (!entries.empty())
    print(show_entries(entries));
  if (more)
    std::fprintf(stderr, "there may be more keys than %zu: --limit shows more\n", entries.size());
  return exit_code::ok;
}

result<exit_code> check(const command& c, questions& q) {
  auto problems = json::array();
  auto counts = json::object();
  std::string cursor;
  bool watched = ::isatty(STDERR_FILENO) == 1;
  {
    bench::progress bar("check", 100);
    do {
      auto answer = q.ask("check", {{"cursor", cursor}});
      if (!answer)
        return answer.error();
      for (auto& problem : answer->at("problems"))
        problems.push_back(std::move(problem));
      counts = answer->at("counts");
      cursor = answer->at("cursor").get<std::string>();
      auto done = answer->at("done").get<std::uint64_t>();
      auto total = std::max<std::uint64_t>(answer->at("total").get<std::uint64_t>(), 1);
      if (watched)
        bar.update(cursor.empty() ? 100 : std::min<std::uint64_t>(done * 100 / total, 99));
    } while (!cursor.empty());
  }
  if (c.json)
    print_json({{"problems", problems}, {"counts", counts}});
  else
    print(show_audit(problems, counts));
  return problems.empty() ? exit_code::ok : exit_code::not_found;
}

// As marud is to be told of it: a path is one of here, and marud has another working folder.
std::string told_device(const std::string& text) {
  auto spec = parse_device_spec(text);
  if (!spec)
    return text;  // marud says what is wrong with it
  std::error_code failed;
  spec->path = std::filesystem::absolute(spec->path, failed).string();
  return failed ? text : to_string(*spec);
}

// What is left on the device; empty where the pool has it no more.
std::optional<json> device_row(const json& answer, const std::string& path) {
  for (const auto& row : answer.at("devices"))
    if (row.at("path") == path)
      return row;
  return std::nullopt;
}

result<exit_code> drain(const command& c, questions& q) {
  auto begun = q.ask("device-drain", {{"device", told_device(c.device)}});
  auto spec = parse_device_spec(c.device);
  auto real = spec ? with_real_path(*std::move(spec)) : spec;
  if (!begun || !real)
    return begun ? real.error() : begun.error();
  bool watched = ::isatty(STDERR_FILENO) == 1;
  bench::progress bar("drain", 100);
  std::uint64_t first = 0;
  for (;;) {
    auto answer = q.ask("devices", json::object());
    if (!answer)
      return answer.error();
    auto row = device_row(*answer, real->path);
    if (row && row->at("state") == "serving")
      return error{ec::refused, "failed to drain device " + real->path + ": it was added again meanwhile"};
    bool done = !row || row->at("state") == "drained";
    if (done || c.no_wait) {
      if (c.json)
        print_json(*answer);
      else
        print(show_pool_devices(*answer));
      return exit_code::ok;
    }
    auto left = row->at("committed").get<std::uint64_t>() + row->at("granted").get<std::uint64_t>();
    first = std::max(first, left);
    if (watched)
      bar.update(first == 0 ? 0 : (first - left) * 100 / first);
    std::this_thread::sleep_for(drain_look_interval);
  }
}

// A change, and what the pool has then.
result<exit_code> change_device(const command& c, questions& q, const char* verb) {
  if (auto done = q.ask(verb, {{"device", told_device(c.device)}}); !done)
    return done.error();
  return ask_once(c, q, "devices", json::object(), show_pool_devices);
}

result<exit_code> ask_and_show(const command& c) {
  auto q = questions::open(c);
  if (!q)
    return q.error();
  switch (c.what) {
    case verb::status:
      return ask_once(c, *q, "status", json::object(), [&](const json& a) { return show_status(a, c.server); });
    case verb::sessions: return ask_once(c, *q, "sessions", json::object(), show_sessions);
    case verb::end_session:
      return ask_once(c, *q, "session-end", {{"session", c.session}}, [](const json&) { return "ended\n"; });
    case verb::device_status: return ask_once(c, *q, "devices", json::object(), show_pool_devices);
    case verb::device_add: return change_device(c, *q, "device-add");
    case verb::device_remove: return change_device(c, *q, "device-remove");
    case verb::device_drain: return drain(c, *q);
    case verb::evict: return ask_once(c, *q, "evict", {{"bytes", c.bytes}}, show_evicted);
    case verb::log_level: {
      auto wanted = c.level.empty() ? json::object() : json{{"level", c.level}};
      return ask_once(c, *q, "log-level", std::move(wanted), show_log_level);
    }
    case verb::stat: return stat(c, *q);
    case verb::ls: return ls(c, *q);
    default: return check(c, *q);
  }
}

}  // namespace

result<exit_code> ask(const command& c) {
  try {
    return ask_and_show(c);
  } catch (const json::exception& e) {
    return {ec::corrupt, "failed to read the answer of marud at " + c.server + ": " + e.what()};
  }
}

}  // namespace maru::ctl
