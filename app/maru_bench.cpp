// maru-bench: measures a pool the way it is used. `replay` runs a trace of requests through worker processes, `rpc`
// the message path alone, `local` reads of a worker that shares its host with the pool. Exit codes: 0 good, 1 wrong bytes, errors or missed promises, 2 could not run.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "app/bench/caf_echo.hpp"
#include "app/bench/interrupt.hpp"
#include "app/bench/local.hpp"
#include "app/bench/maru_target.hpp"
#include "app/bench/replay.hpp"
#include "app/bench/rpc.hpp"
#include "base/bounds.hpp"
#include "base/size.hpp"
#include "base/version.hpp"

namespace {

using namespace maru;

struct command_line {
  bench::replay_options replay;
  bench::rpc_options rpc;
  bench::local_options local;
  std::string chunk_size = "64KiB";
  std::string job;  // of a hidden subcommand
};

void add_replay(CLI::App& app, command_line& line) {
  auto* sub = app.add_subcommand("replay", "Replay a request trace through worker processes that share a pool");
  auto& o = line.replay;
  sub->add_option("--server", o.server,
                  "A marud to use (HOST:PORT or unix:/PATH). Without it one is started and stopped after");
  sub
    ->add_option("--pool-pages", o.pool_pages,
                 "Room for exactly so many committed chunks; reserve and grants come on top. 0: all of the trace, "
                 "or what fits into half of the free memory")
    ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1'000'000'000}))
    ->excludes("--server");
  sub->add_option("--trace", o.trace_path, "Trace file (JSON lines). Without it: generated conversations");
  sub->add_option("--seed", o.conversations.seed, "Of the generated conversations")->capture_default_str();
  sub->add_option("--workers", o.workers, "Worker processes")
    ->check(CLI::Range(1u, bench::replay_workers_max))
    ->capture_default_str();
  sub->add_option("--requests", o.requests, "Only the first so many requests. 0: all of a file, 2000 generated ones")
    ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{100'000'000}));
  sub->add_option("--chunk-size", line.chunk_size, "Bytes of a chunk")->capture_default_str();
  sub->add_flag("--verify", o.verify, "Check every byte that is read; without it one cache line of each 4 KiB");
  sub->add_flag("--messages", o.messages, "Workers ask by message also what they could look up in the pool itself");
  sub->add_flag("--simulate", o.simulate, "Start nothing: print what an exact LRU of this size hits");
  sub->add_option("--json", o.json_path, "Write the results to this file too");
}

void add_rpc(CLI::App& app, command_line& line) {
  auto* sub = app.add_subcommand("rpc", "Measure the message path: lookup, exists, pin+unpin, put");
  auto& o = line.rpc;
  sub->add_option("--keys", o.keys, "Keys in the pool that reads choose among")
    ->check(CLI::Range(std::uint64_t{1000}, std::uint64_t{100'000'000}))
    ->capture_default_str();
  sub->add_option("--seconds", o.seconds, "Measured time of each cell")
    ->check(CLI::Range(0.1, 60.0))
    ->capture_default_str();
  sub->add_option("--only", o.only, "Only cells of this operation: lookup, exists, pin+unpin, put, put-evict or echo");
  sub
    ->add_option("--durability", o.durability,
                 "process, or host: what an acknowledged put survives (then the pool is a file on the disk)")
    ->check(CLI::IsMember({"process", "host"}))
    ->capture_default_str();
  sub->add_option("--json", o.json_path, "Write the rows to this file too");
  sub->add_flag("--append", o.append, "Keep the rows that the file has already");
  auto* targets = app.add_subcommand("targets", "Hold the rows of a JSON file against what Maru promises");
  targets->add_option("file", o.json_path, "Written by rpc or local --json")->required();
}

void add_local(CLI::App& app, command_line& line) {
  auto* sub =
    app.add_subcommand("local", "Measure reads of one process on the pool's host, beside messages and bare maps");
  auto& o = line.local;
  sub->add_option("--keys", o.keys, "Keys in the pool that reads choose among")
    ->check(CLI::Range(std::uint64_t{1000}, std::uint64_t{100'000'000}))
    ->capture_default_str();
  sub->add_option("--seconds", o.seconds, "Each of the two measured phases of each cell")
    ->check(CLI::Range(0.02, 60.0))
    ->capture_default_str();
  sub->add_option("--only", o.only,
                  "Only cells of this operation: retrieve+drop, lookup, exists, miss, pin+unpin or alloc");
  sub
    ->add_option("--writer-rate", o.writer_rate,
                 "Keys a second at most that another process commits, in the cells that have a writer")
    ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000}))
    ->capture_default_str();
  sub->add_option("--json", o.json_path, "Write the rows to this file too");
  sub->add_flag("--append", o.append, "Keep the rows that the file has already");
}

void add_hidden(CLI::App& app, command_line& line) {
  for (const char* name : {"replay-worker", "rpc-client", "echo-server", "echo-client"})
    app.add_subcommand(name, "INTERNAL: a process of a benchmark")->group("")->add_option("job", line.job)->required();
}

int run(const CLI::App& app, command_line& line) {
  if (app.got_subcommand("replay-worker"))
    return bench::run_replay_worker(line.job);
  if (app.got_subcommand("rpc-client"))
    return bench::run_maru_client(line.job);
  if (app.got_subcommand("echo-server"))
    return bench::run_echo_server(line.job);
  if (app.got_subcommand("echo-client"))
    return bench::run_echo_client(line.job);
  bench::catch_interrupts();
  if (app.got_subcommand("rpc"))
    return bench::run_rpc(line.rpc);
  if (app.got_subcommand("local"))
    return bench::run_local(line.local);
  if (app.got_subcommand("targets"))
    return bench::print_targets(line.rpc.json_path);
  auto chunk = parse_size(line.chunk_size);
  if (!chunk || *chunk == 0 || *chunk > bounds::page_bytes_max) {
    std::fprintf(stderr, "maru-bench: failed to use --chunk-size: '%s' is not a size from 1 to 1GiB\n",
                 line.chunk_size.c_str());
    return 2;
  }
  line.replay.chunk_bytes = *chunk;
  return bench::run_replay(line.replay);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    CLI::App app{"Benchmarks of Maru", "maru-bench"};
    app.set_version_flag("--version", "maru-bench " + std::string{version()});
    app.require_subcommand(1);
    command_line line;
    add_replay(app, line);
    add_rpc(app, line);
    add_local(app, line);
    add_hidden(app, line);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      if (auto left = app.remaining();
          app.get_subcommands().empty() && !left.empty() && !left.front().starts_with('-')) {
        std::fprintf(stderr, "maru-bench: there is no command '%s'; --help lists them\n", left.front().c_str());
        return 2;
      }
      return app.exit(e) == 0 ? 0 : 2;
    }
    return run(app, line);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "maru-bench: failed to run: %s\n", e.what());
    return 2;
  }
}
