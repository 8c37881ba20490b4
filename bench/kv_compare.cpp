// kv-compare: the cells of `maru-bench rpc` against Redis and memcached. The same client loop, keys, batches and
// numbers of processes; only what sends a batch differs. bench/compare.sh starts the servers and calls it.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iterator>
#include <string>
#include <vector>

#include "app/bench/cell.hpp"
#include "app/bench/cell_worker.hpp"
#include "app/bench/interrupt.hpp"
#include "app/bench/progress.hpp"
#include "app/bench/rows.hpp"
#include "bench/targets.hpp"

namespace {

using namespace maru;
using namespace maru::bench;
using namespace std::chrono_literals;

constexpr unsigned fill_clients = 2;
constexpr unsigned batches[] = {1, 128};
constexpr std::uint64_t put_round_keys = 128 * 1024;  // as maru-bench rpc has it
constexpr std::uint64_t value_bytes = 32;             // what Maru keeps for a key: one location

struct compare_options {
  std::string system, server, json_path, job;
  std::vector<std::string> ops{"lookup", "exists", "put"};
  std::vector<unsigned> clients{1, 4};
  std::string label;  // what the rows are called; empty: the system
  pid_t pid = -1;
  std::uint64_t keys = 100'000;
  double seconds = 2;
};

result<cell> start_cell(unsigned clients, const cell_job& job) {
  return cell::start(clients, [&](unsigned index) {
    auto mine = job;
    mine.index = index;
    return child_options{.program = own_program(), .arguments = {"client", to_text(mine)}, .log_path = {}};
  });
}

status fill(const compare_options& o) {
  auto c = start_cell(fill_clients, {.system = o.system,
                                     .op = "put",
                                     .server = o.server,
                                     .batch = 128,
                                     .keys = o.keys,
                                     .round_keys = (o.keys + fill_clients - 1) / fill_clients,
                                     .value_bytes = value_bytes});
  if (!c)
    return c.error();
  if (auto wall = c->run_step(command::fill, 5min); !wall)
    return wall.error();
  if (c->errors() != 0)
    return {ec::io, "failed to fill " + o.system + ": " + c->problem()};
  return c->finish();
}

result<row> one_cell(const compare_options& o, const char* op, unsigned batch, unsigned clients) {
  auto c = start_cell(clients, {.system = o.system,
                                .op = op,
                                .server = o.server,
                                .batch = batch,
                                .keys = o.keys,
                                .round_keys = put_round_keys / clients,
                                .value_bytes = value_bytes});
  if (!c)
    return c.error();
  auto r = measure(*c, {.time = std::chrono::milliseconds{static_cast<std::int64_t>(o.seconds * 1e3)},
                        .rounds = std::string_view{op} == "put",
                        .server = o.pid});
  if (!r)
    return r.error();
  r->system = o.label.empty() ? o.system : o.label;
  r->op = op;
  r->batch = batch;
  if (r->errors != 0)
    std::fprintf(stderr, "kv-compare: %s: %s\n", op, c->problem().c_str());
  if (auto done = c->finish(); !done)
    return done.error();
  return r;
}

result<std::vector<row>> compare(const compare_options& o) {
  if (auto filled = fill(o); !filled)
    return filled.error();
  progress bar(o.system, o.ops.size() * std::size(batches) * o.clients.size());
  std::vector<row> rows;
  for (const auto& op : o.ops)
    for (unsigned batch : batches)
      for (unsigned clients : o.clients) {
        auto r = one_cell(o, op.c_str(), batch, clients);
        if (!r)
          return r.error();
        rows.push_back(*std::move(r));
        bar.update(rows.size(), op);
      }
  return rows;
}

int fail(const error& e) {
  std::fprintf(stderr, "kv-compare: %s\n", to_string(e).c_str());
  return 2;
}

int run_client(const std::string& text) {
  auto job = read_cell_job(text);
  if (!job)
    return fail(job.error());
  return run_cell_client(*job, job->system == "redis" ? open_redis(*job) : open_memcached(*job));
}

int run(const compare_options& o) {
  catch_interrupts();
  auto rows = compare(o);
  if (!rows)
    return fail(rows.error());
  std::printf("%s", table_of(*rows).c_str());
  if (auto written = write_rows(o.json_path, *rows, true); !written)
    return fail(written.error());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    CLI::App app{"Measures Redis or memcached with the client loop of maru-bench rpc", "kv-compare"};
    compare_options o;
    app.add_option("--system", o.system, "redis or memcached")->check(CLI::IsMember({"redis", "memcached"}));
    app.add_option("--server", o.server, "HOST:PORT or unix:/PATH");
    app.add_option("--pid", o.pid, "Of the server, to count its CPU time");
    app.add_option("--keys", o.keys, "Keys that reads choose among")->capture_default_str();
    app.add_option("--seconds", o.seconds, "Measured time of each cell")
      ->check(CLI::Range(0.02, 60.0))
      ->capture_default_str();
    app.add_option("--only", o.ops, "Only cells of these operations: lookup, exists, put")
      ->delimiter(',')
      ->check(CLI::IsMember({"lookup", "exists", "put"}));
    app.add_option("--clients", o.clients, "Client processes of a cell; more than one number: cells of each")
      ->delimiter(',')
      ->check(CLI::Range(1u, cell_clients_max));
    app.add_option("--label", o.label, "What the rows are called, if not like the system");
    app.add_option("--json", o.json_path, "Rows are added to this file");
    auto* client = app.add_subcommand("client", "INTERNAL: one client process")->group("");
    client->add_option("job", o.job)->required();
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      return app.exit(e) == 0 ? 0 : 2;
    }
    if (app.got_subcommand(client))
      return run_client(o.job);
    if (o.system.empty() || o.server.empty() || o.json_path.empty())
      return fail({ec::bad_option, "failed to start: --system, --server and --json are needed"});
    return run(o);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kv-compare: failed to run: %s\n", e.what());
    return 2;
  }
}
