#include "app/bench/rpc.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <vector>

#include "app/bench/caf_echo.hpp"
#include "app/bench/cell.hpp"
#include "app/bench/interrupt.hpp"
#include "app/bench/local_rows.hpp"
#include "app/bench/machine.hpp"
#include "app/bench/maru_target.hpp"
#include "app/bench/progress.hpp"
#include "app/bench/rows.hpp"
#include "app/bench/server_process.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr const char* cell_ops[] = {"lookup", "exists", "pin+unpin", "put"};
constexpr unsigned batches[] = {1, 128};
constexpr unsigned client_counts[] = {1, 4};
constexpr unsigned fill_clients = 2;
constexpr std::uint64_t put_round_keys = 128 * 1024;  // of all clients together, before they are removed again
constexpr std::uint64_t reserve = 256;                // pages that eviction keeps free
constexpr std::uint64_t grants_each = 2048;           // pages that may lie granted with a client
constexpr std::uint64_t evict_pages = 32 * 1024;      // of the pool that put-evict fills
constexpr unsigned evict_writers = 4;
constexpr double evict_seconds_min = 5;

class rpc_run {
public:
  explicit rpc_run(const rpc_options& options)
      : options_(options), time_(static_cast<std::int64_t>(options.seconds * 1e3)), bar_("rpc", steps()) {}

  status all() {
    if (wants("echo")) {
      auto echo = measure_echo(time_);
      if (!echo)
        return echo.error();
      rows_ = *std::move(echo);
      bar_.update(done_ += 2);
    }
    if (std::any_of(std::begin(cell_ops), std::end(cell_ops), [this](const char* op) { return wants(op); }))
      if (auto done = cells(); !done)
        return done;
    if (wants("put-evict"))
      return put_evict();
    return {};
  }

  const std::vector<row>& rows() const { return rows_; }

private:
  bool wants(const std::string& op) const { return options_.only.empty() || options_.only == op; }

  // Rows to come: two of echo, the fill, four cells of each operation, put-evict.
  std::uint64_t steps() const {
    std::uint64_t n = (wants("echo") ? 2 : 0) + (wants("put-evict") ? 1 : 0);
    std::uint64_t cells = 0;
    for (const char* op : cell_ops)
      cells += wants(op) ? std::size(batches) * std::size(client_counts) : 0;
    return n + cells + (cells > 0 ? 1 : 0);
  }

  void add(row r, const char* op, unsigned batch, const cell& c) {
    r.system = options_.durability == "host" ? "maru-host" : "maru";
    r.op = op;
    r.batch = batch;
    if (r.errors != 0)
      std::fprintf(stderr, "maru-bench: %s, batch %u, %u clients: %llu errors, the first: %s\n", op, batch, r.clients,
                   static_cast<unsigned long long>(r.errors), c.problem().c_str());
    rows_.push_back(std::move(r));
    bar_.update(++done_, op);
  }

  // Puts the keys that reads choose among, into a server of its own size, and sees what they cost in memory.
  status fill(const server_process& server, std::uint64_t keys, bool report) {
    cell_job job{.system = "maru",
                 .op = "put",
                 .server = server.address(),
                 .batch = 128,
                 .keys = keys,
                 .round_keys = (keys + fill_clients - 1) / fill_clients};
    auto before = usage_of(server.pid());
    if (!before)
      return before.error();
    auto c = start_maru_cell(fill_clients, job);
    if (!c)
      return c.error();
    auto wall = c->run_step(command::fill, 10min);
    if (!wall)
      return wall.error();
    if (c->errors() != 0)
      return {ec::io, "failed to fill the pool: " + c->problem()};
    auto after = usage_of(server.pid());
    if (!after)
      return after.error();
    if (auto done = c->finish(); !done || !report)
      return done;
    auto latency = c->latency();
    row r{.clients = fill_clients, .seconds = *wall};
    r.ops_per_s = static_cast<double>(latency.count()) / *wall;
    r.keys_per_s = static_cast<double>(c->keys()) / *wall;
    r.p50_us = latency.quantile_ns(0.5) / 1e3;
    r.p99_us = latency.quantile_ns(0.99) / 1e3;
    r.p999_us = latency.quantile_ns(0.999) / 1e3;
    r.cpu_s_per_mkeys = (after->cpu_seconds - before->cpu_seconds) / static_cast<double>(keys) * 1e6;
    auto grown = static_cast<double>(after->rss_anon_bytes) - static_cast<double>(before->rss_anon_bytes);
    r.extra = {{"keys", static_cast<double>(keys)}, {"rss_anon_bytes_per_key", grown / static_cast<double>(keys)}};
    add(std::move(r), "fill", 128, *c);
    return {};
  }

  status cells() {
    auto server = server_process::start({.pages = options_.keys + put_round_keys + reserve + 4 * grants_each,
                                         .page_bytes = cell_page_bytes,
                                         .reserve_pages = reserve,
                                         .prefault = "start",
                                         .durability = options_.durability});
    if (!server)
      return server.error();
    if (auto filled = fill(*server, options_.keys, true); !filled)
      return filled;
    for (const char* op : cell_ops)
      for (unsigned batch : batches)
        for (unsigned clients : client_counts)
          if (wants(op))
            if (auto done = one_cell(*server, op, batch, clients); !done)
              return done;
    return server->stop();
  }

  status one_cell(const server_process& server, const char* op, unsigned batch, unsigned clients) {
    auto c = start_maru_cell(clients, {.system = "maru",
                                       .op = op,
                                       .server = server.address(),
                                       .batch = batch,
                                       .keys = options_.keys,
                                       .round_keys = put_round_keys / clients});
    if (!c)
      return c.error();
    auto r = measure(*c, {.time = time_, .rounds = std::string_view{op} == "put", .server = server.pid()});
    if (!r)
      return r.error();
    add(*std::move(r), op, batch, *c);
    return c->finish();
  }

  // Writers on a full pool: every put has to evict. One more client looks keys up meanwhile, most of which are gone.
  status put_evict() {
    auto server = server_process::start({.pages = evict_pages + reserve,
                                         .page_bytes = cell_page_bytes,
                                         .reserve_pages = reserve,
                                         .prefault = "start",
                                         .durability = options_.durability});
    if (!server)
      return server.error();
    if (auto filled = fill(*server, evict_pages, false); !filled)
      return filled;
    cell_job writer{.system = "maru", .op = "put", .server = server->address(), .batch = 128, .keys = evict_pages};
    auto reader = writer;
    reader.op = "lookup-any";
    reader.batch = 1;
    auto c = cell::start(evict_writers + 1, [&](unsigned index) {
      auto mine = index < evict_writers ? writer : reader;
      mine.index = index;
      return maru_client(mine);
    });
    if (!c)
      return c.error();
    auto time =
      std::chrono::milliseconds{static_cast<std::int64_t>(std::max(options_.seconds, evict_seconds_min) * 1e3)};
    auto warm = c->run_step(command::warm, 1s);
    if (!warm)
      return warm.error();
    auto cpu_before = usage_of(server->pid());
    auto wall = c->run_step(command::measure, time);
    auto cpu_after = usage_of(server->pid());
    if (!wall || !cpu_before || !cpu_after)
      return {ec::unavailable, "failed to measure puts on a full pool: " + c->problem()};
    auto r = evict_row(*c, *wall, static_cast<std::size_t>(time / 1s));
    r.cpu_s_per_mkeys = (cpu_after->cpu_seconds - cpu_before->cpu_seconds) / (r.keys_per_s * *wall) * 1e6;
    add(std::move(r), "put-evict", 128, *c);
    if (auto done = c->finish(); !done)
      return done;
    return server->stop();
  }

  static row evict_row(const cell& c, double wall, std::size_t whole_seconds) {
    row r{.clients = evict_writers, .seconds = wall};
    histogram puts;
    std::uint64_t keys = 0;
    std::vector<std::uint64_t> per_second(whole_seconds);
    for (unsigned i = 0; i < evict_writers; ++i) {
      puts.merge(c.client(i).latency);
      keys += c.client(i).keys;
      for (std::size_t s = 0; s < whole_seconds; ++s)
        per_second[s] += c.client(i).per_second[s];
    }
    const auto& lookups = c.client(evict_writers).latency;
    r.ops_per_s = static_cast<double>(puts.count()) / wall;
    r.keys_per_s = static_cast<double>(keys) / wall;
    r.p50_us = puts.quantile_ns(0.5) / 1e3;
    r.p99_us = puts.quantile_ns(0.99) / 1e3;
    r.p999_us = puts.quantile_ns(0.999) / 1e3;
    r.errors = c.errors();
    r.extra = {{"min_puts_per_s", static_cast<double>(*std::min_element(per_second.begin(), per_second.end()))},
               {"max_puts_per_s", static_cast<double>(*std::max_element(per_second.begin(), per_second.end()))},
               {"lookup_p50_us", lookups.quantile_ns(0.5) / 1e3},
               {"lookup_p99_us", lookups.quantile_ns(0.99) / 1e3},
               {"lookup_p999_us", lookups.quantile_ns(0.999) / 1e3},
               {"lookups_per_s", static_cast<double>(lookups.count()) / wall}};
    return r;
  }

  const rpc_options& options_;
  std::chrono::milliseconds time_;
  progress bar_;
  std::uint64_t done_ = 0;
  std::vector<row> rows_;
};

int fail(const error& e) {
  std::fprintf(stderr, "maru-bench: %s\n", to_string(e).c_str());
  return 2;
}

}  // namespace

int run_rpc(const rpc_options& options) {
  rpc_run run(options);
  auto done = run.all();
  if (!run.rows().empty())
    std::printf("%s\n\n%s\n%s", to_string(this_machine()).c_str(), table_of(run.rows()).c_str(),
                targets_of(run.rows()).c_str());
  if (!done)
    return fail(done.error());
  if (!options.json_path.empty())
    if (auto written = write_rows(options.json_path, run.rows(), options.append); !written)
      return fail(written.error());
  bool errors = std::any_of(run.rows().begin(), run.rows().end(), [](const row& r) { return r.errors != 0; });
  return errors ? 1 : 0;
}

int print_targets(const std::string& json_path) {
  auto rows = read_rows(json_path);
  if (!rows)
    return fail(rows.error());
  bool local = std::any_of(rows->begin(), rows->end(), [](const row& r) { return r.system == local_system; });
  auto targets = local ? local_targets_of(*rows) : targets_of(*rows);
  std::printf("%s\n%s", (local ? local_table_of(*rows) : table_of(*rows)).c_str(), targets.c_str());
  return targets.find("MISSED") == targets.npos ? 0 : 1;
}

}  // namespace maru::bench
