#include "app/bench/replay.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "app/bench/child_process.hpp"
#include "app/bench/interrupt.hpp"
#include "app/bench/machine.hpp"
#include "app/bench/progress.hpp"
#include "app/bench/replay_report.hpp"
#include "app/bench/replay_shared.hpp"
#include "app/bench/server_process.hpp"
#include "app/bench/simulator.hpp"
#include "base/bounds.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

// Sizes of the pool for a run, or why they make no sense.
result<replay_plan> plan_of(const replay_options& options, const trace& t) {
  replay_plan plan;
  plan.blocks = t.block_count();
  plan.distinct = t.distinct_blocks();
  plan.page_bytes = std::bit_ceil(std::max<std::uint64_t>(options.chunk_bytes, bounds::page_bytes_min));
  if (!options.server.empty())
    return plan;
  auto least = std::uint64_t{options.workers} * t.longest();
  plan.chunks = options.pool_pages;
  if (plan.chunks == 0) {
    // Half of what is free leaves room for whoever else works on this machine.
    auto fits = pool_bytes_available() / 2 / (plan.page_bytes + 64);
    plan.chunks = std::min(std::max(plan.distinct, least), fits);
  }
  if (plan.chunks < least)
    return error{ec::no_space, "failed to plan the pool: room for " + std::to_string(plan.chunks)
                                 + " chunks is less than the " + std::to_string(least)
                                 + " that the workers hold at the same time"};
  plan.evicts = plan.chunks < plan.distinct;
  // Workers that fetch ahead have up to two batches idle.
  plan.pages = plan.chunks + reserve_pages(plan.page_bytes)
               + (plan.evicts ? 0 : options.workers * 2 * grants_ahead(plan.page_bytes));
  return plan;
}

result<std::vector<child_process>> start_workers(const replay_options& options, const replay_plan& plan,
                                                 const std::string& address, const shared_memory& memory) {
  std::vector<child_process> workers;
  for (unsigned i = 0; i < options.workers; ++i) {
    replay_job job{.index = i,
                   .server = address,
                   .trace_path = options.trace_path,
                   .conversations = options.conversations,
                   .requests = options.requests,
                   .chunk_bytes = options.chunk_bytes,
                   .verify = options.verify,
                   .spare_grants = plan.evicts,
                   .messages = options.messages};
    auto worker = child_process::start({.program = own_program(),
                                        .arguments = {"replay-worker", to_text(job)},
                                        .log_path = {},
                                        .hand_on_fd = memory.fd()});
    if (!worker)
      return worker.error();
    workers.push_back(*std::move(worker));
  }
  return workers;
}

class replay_run {
public:
  replay_run(std::vector<child_process> workers, const shared_memory& memory)
      : workers_(std::move(workers)), memory_(memory) {}

  // Until all requests are served or somebody gives up. The time it took, in seconds.
  result<double> drive(std::size_t requests) {
    auto deadline = std::chrono::steady_clock::now() + 60s;
    while (count(&replay_counts::ready) < workers_.size()) {
      if (auto alive = check(); !alive)
        return alive.error();
      if (std::chrono::steady_clock::now() > deadline)
        return error{ec::timeout, "failed to start the workers: not ready after 60 s"};
      std::this_thread::sleep_for(1ms);
    }
    auto& control = memory_.at<replay_control>(0);
    progress bar("replay", requests);
    auto begin = std::chrono::steady_clock::now();
    control.go = 1;
    auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); };
    while (!ended()) {
      if (auto alive = check(); !alive) {
        control.stop = 1;
        return alive.error();
      }
      bar.update(count(&replay_counts::requests), hit_note());
      std::this_thread::sleep_for(20ms);
    }
    auto total = seconds();
    bar.update(count(&replay_counts::requests), hit_note());
    if (auto good = check(); !good)
      return good.error();
    return total;
  }

private:
  template <class Member>
  std::uint64_t count(Member member) const {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < workers_.size(); ++i)
      sum += (counts(i).*member).load();
    return sum;
  }
  const replay_counts& counts(unsigned worker) const { return memory_.at<replay_counts>(replay_counts_offset(worker)); }

  std::string hit_note() const {
    auto blocks = count(&replay_counts::blocks);
    char text[64];
    std::snprintf(
      text, sizeof text, "prefix hits %.2f %%",
      blocks == 0 ? 0 : 100.0 * static_cast<double>(count(&replay_counts::hit_blocks)) / static_cast<double>(blocks));
    return text;
  }

  bool ended() {
    return std::all_of(workers_.begin(), workers_.end(), [](auto& w) { return w.exit_code() == 0; });
  }
  status check() {
    if (interrupted())
      return interrupt_error();
    for (auto& w : workers_)
      if (auto code = w.exit_code(); code && *code != 0)
        return {ec::unavailable, "failed to run a worker: it ended with code " + std::to_string(*code)};
    return {};
  }

  std::vector<child_process> workers_;
  const shared_memory& memory_;
};

replay_totals add_up(const shared_memory& memory, unsigned workers) {
  replay_totals sum;
  for (unsigned i = 0; i < workers; ++i) {
    const auto& c = memory.at<replay_counts>(replay_counts_offset(i));
    sum.requests += c.requests;
    sum.blocks += c.blocks;
    sum.hit_blocks += c.hit_blocks;
    sum.read_bytes += c.read_bytes;
    sum.written_chunks += c.written_chunks;
    sum.written_bytes += c.written_bytes;
    sum.exists += c.exists;
    sum.wrong_bytes += c.wrong_bytes;
    sum.errors += c.errors;
    sum.local_workers += c.local_reads;
    for (std::size_t s = 0; s < step_count; ++s)
      sum.steps[s].merge(c.steps[s]);
    if (sum.problem.empty())
      sum.problem = c.problem;
  }
  return sum;
}

int fail(const error& e) {
  std::fprintf(stderr, "maru-bench: %s\n", to_string(e).c_str());
  return 2;
}

result<replay_totals> replay(const replay_options& options, const replay_plan& plan, const trace& t) {
  std::optional<server_process> server;
  if (options.server.empty()) {
    auto started = server_process::start({.pages = plan.pages,
                                          .page_bytes = plan.page_bytes,
                                          .reserve_pages = reserve_pages(plan.page_bytes),
                                          .grants_max = std::max<std::uint64_t>(bounds::grants_max, 2 * t.longest())});
    if (!started)
      return started.error();
    server = *std::move(started);
  }
  auto memory = shared_memory::create(replay_counts_offset(options.workers));
  if (!memory)
    return memory.error();
  auto workers = start_workers(options, plan, server ? server->address() : options.server, *memory);
  if (!workers)
    return workers.error();
  auto seconds = replay_run(*std::move(workers), *memory).drive(t.requests.size());
  if (!seconds)
    return seconds.error();
  auto totals = add_up(*memory, options.workers);
  totals.seconds = *seconds;
  if (server)
    if (auto stopped = server->stop(); !stopped)
      return stopped.error();
  return totals;
}

}  // namespace

int run_replay(const replay_options& options) {
  auto t = load_trace(options.trace_path, options.conversations, options.requests);
  if (!t)
    return fail(t.error());
  auto plan = plan_of(options, *t);
  if (!plan)
    return fail(plan.error());
  plan->simulated_hit_rate = simulate_lru(*t, plan->evicts ? plan->chunks : 0);
  if (options.simulate) {
    std::printf("%s", simulation_text(options, *plan, *t).c_str());
    return 0;
  }
  auto totals = replay(options, *plan, *t);
  if (!totals)
    return fail(totals.error());
  std::printf("%s", report_text(options, *plan, *totals).c_str());
  if (!options.json_path.empty()) {
    std::ofstream file(options.json_path);
    file << report_json(options, *plan, *totals);
    if (!file.flush())
      return fail({ec::io, "failed to write " + options.json_path});
  }
  bool complete = totals->requests == t->requests.size();
  return totals->wrong_bytes == 0 && totals->errors == 0 && complete ? 0 : 1;
}

}  // namespace maru::bench
