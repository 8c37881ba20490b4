#include "app/bench/local.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include "app/bench/format.hpp"
#include "app/bench/histogram.hpp"
#include "app/bench/interrupt.hpp"
#include "app/bench/local_calls.hpp"
#include "app/bench/local_floor.hpp"
#include "app/bench/local_pool.hpp"
#include "app/bench/local_rows.hpp"
#include "app/bench/machine.hpp"
#include "app/bench/maru_target.hpp"
#include "app/bench/progress.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr unsigned batches[] = {1, 128};
constexpr unsigned thread_counts[] = {1, 2};
constexpr std::uint64_t cells_of_call = 8;  // batches, threads, hot and cold
constexpr double cell_phases = 3;           // two measured ones, and what comes before, between and after them
constexpr double spare_cells = 8;           // beside a writer, before the keys must be made new again
constexpr std::uint64_t spare_pages_min = 4096;
constexpr auto idle_time = 2s;

// What a group of cells calls.
struct subject {
  const char* system;
  local_op op;
  loop_call call;
  client* pool = nullptr;                  // that it calls; null: a floor, no server has to do with it
  const first_problem* problem = nullptr;  // that it met
};

double cpu_seconds(pid_t server) {
  auto usage = usage_of(server);
  return usage ? usage->cpu_seconds : 0;
}

double seconds_since(std::uint64_t ns) { return static_cast<double>(monotonic_ns() - ns) * 1e-9; }

class local_run {
public:
  explicit local_run(const local_options& options)
      : options_(options),
        phase_(static_cast<std::int64_t>(options.seconds * 1e3)),
        clock_(cycle_clock::calibrate()),
        bar_("local", cells_of_call * (3 + 4 * ops()) + 1 + (wants(alloc_op) ? 1 : 0)) {}

  status all() {
    if (auto done = floors(); !done)
      return done;
    auto cell_seconds = cell_phases * options_.seconds;
    // Enough for some cells beside a writer.
    auto spare = static_cast<std::uint64_t>(spare_cells * cell_seconds * static_cast<double>(options_.writer_rate));
    auto pool = local_pool::start(
      {.keys = options_.keys, .writer_rate = options_.writer_rate, .spare_pages = std::max(spare, spare_pages_min)});
    if (!pool)
      return pool.error();
    pool_ = &*pool;
    auto done = paths();
    pool_ = nullptr;
    return done ? pool->stop() : done;
  }

  const std::vector<row>& rows() const { return rows_; }

  std::string parameters() const {
    auto out = format(
      "%llu keys of 60 bytes, hot: %llu of them; pages of 4 KiB, the first 64 bytes written; two phases "
      "of %g s a cell\n",
      static_cast<unsigned long long>(options_.keys),
      static_cast<unsigned long long>(std::min(options_.keys, hot_keys)), options_.seconds);
    out += "clock: " + clock_.text() + ", which is taken off\n";
    out += format("writer: another process, at most %llu keys/s, into a full pool of %llu pages\n",
                  static_cast<unsigned long long>(options_.writer_rate), static_cast<unsigned long long>(pages_));
    return out + local_system + ": "
           + (reads_locally_ ? "in the pool itself" : "by message, this client does not read the pool itself") + "\n";
  }

private:
  bool wants(const char* op) const { return options_.only.empty() || options_.only == op; }
  std::uint64_t ops() const {
    return static_cast<std::uint64_t>(
      std::count_if(local_ops.begin(), local_ops.end(), [this](auto& op) { return wants(op.name); }));
  }

  status floors() {
    floor_maps maps(options_.keys);
    const subject all[] = {{loop_system, {"nothing", false}, no_call()},
                           {map_system, {"lookup", false}, maps.by_text()},
                           {hash_map_system, {"lookup", false}, maps.by_hash()}};
    for (const auto& floor : all)
      if (auto done = cells(floor, false); !done)
        return done;
    return {};
  }

  status paths() {
    pages_ = pool_->pages();
    auto local = open(true), messages = open(false);
    if (!local || !messages)
      return (local ? messages : local).error();
    reads_locally_ = (*local)->info().local_reads;
    client* const clients[] = {local->get(), messages->get()};
    for (auto* one : clients)
      if (auto checked = pool_->check_bytes(*one); !checked)
        return checked;
    if (auto rested = idle(); !rested)
      return rested;
    if (wants(alloc_op))
      if (auto done = allocs(**local); !done)
        return done;
    for (bool writer : {false, true})
      for (auto* one : clients)
        for (const auto& op : local_ops) {
          first_problem problem;
          auto* system = one == local->get() ? local_system : messages_system;
          if (wants(op.name))
            if (auto done = cells({system, op, call_of(op, *one, problem), one, &problem}, writer); !done)
              return done;
        }
    return {};
  }

  result<std::shared_ptr<client>> open(bool local_reads) const {
    client_options options;
    options.server = pool_->address();
    options.instance = local_reads ? local_system : messages_system;
    options.chunk_bytes = cell_page_bytes;
    options.timeout = 15s;
    options.local_reads = local_reads;
    return client::open(options);
  }

  // What the server does by itself.
  status idle() {
    row r{.system = local_system, .op = idle_op};
    auto cpu = cpu_seconds(pool_->server_pid());
    auto begin = monotonic_ns();
    pause_for(idle_time);
    r.seconds = seconds_since(begin);
    r.extra[server_cpu_extra] = cpu_seconds(pool_->server_pid()) - cpu;
    return add(std::move(r));
  }

  // Pages come from those that are granted, and go back there between the timed calls.
  status allocs(client& pool) {
    constexpr std::size_t at_once = bounds::grant_batch / 2;  // no more are fetched ahead
    row r{.system = local_system, .op = alloc_op, .batch = 1, .clients = 1, .hot = true};
    histogram times;
    std::vector<page_buffer> pages;
    pages.reserve(at_once);
    auto cpu = cpu_seconds(pool_->server_pid());
    auto begin = monotonic_ns();
    for (bool warm = false; (times.count() == 0 || r.seconds < 2 * options_.seconds) && !interrupted();
         r.seconds = seconds_since(begin)) {
      for (std::size_t i = 0; i < at_once; ++i) {
        auto since = clock_.begin();
        auto page = pool.alloc(cell_page_bytes);
        auto until = clock_.end();
        if (!page)
          return page.error();
        if (warm)
          times.add(clock_.ns(since, until));
        pages.push_back(*std::move(page));
      }
      pages.clear();
      warm = true;
    }
    r.extra[server_cpu_extra] = cpu_seconds(pool_->server_pid()) - cpu;
    r.ops_per_s = r.keys_per_s = static_cast<double>(times.count()) / r.seconds;
    r.p50_us = times.quantile_ns(0.5) / 1e3;
    r.p99_us = times.quantile_ns(0.99) / 1e3;
    r.p999_us = times.quantile_ns(0.999) / 1e3;
    return add(std::move(r));
  }

  status cells(const subject& what, bool writer) {
    for (unsigned batch : batches)
      for (bool hot : {true, false})
        for (unsigned threads : thread_counts) {
          row r{.system = what.system,
                .op = what.op.name,
                .batch = batch,
                .clients = threads,
                .hot = hot,
                .writer = writer};
          if (auto done = writer ? beside_writer(what, r) : measure_cell(what, r); !done)
            return done;
          if (r.errors != 0)
            std::fprintf(stderr, "maru-bench: %s %s, batch %u: %llu errors%s%s\n", what.system, what.op.name, batch,
                         static_cast<unsigned long long>(r.errors), what.problem ? ", the first: " : "",
                         what.problem ? what.problem->text().c_str() : "");
          if (auto done = add(std::move(r)); !done)
            return done;
        }
    return {};
  }

  status beside_writer(const subject& what, row& r) {
    if (auto begun = pool_->begin_writing(cell_phases * options_.seconds); !begun)
      return begun;
    auto begin = monotonic_ns();
    auto done = measure_cell(what, r);
    auto committed = pool_->end_writing();
    if (!done || !committed)
      return done ? committed.error() : done.error();
    r.extra[writer_extra] = static_cast<double>(*committed) / seconds_since(begin);
    return {};
  }

  // Calls are timed in one phase and counted in another: reading the clock costs as much as a short call.
  status measure_cell(const subject& what, row& r) {
    loop_job job{.threads = r.clients,
                 .batch = r.batch,
                 .keys = options_.keys,
                 .hot = r.hot,
                 .absent = what.op.absent,
                 .time = phase_};
    auto timed = run_loop(job, what.call, &clock_);
    auto cpu = what.pool ? cpu_seconds(pool_->server_pid()) : 0;
    auto begin = monotonic_ns();
    auto counted = run_loop(job, what.call, nullptr);
    r.seconds = seconds_since(begin);
    r.ops_per_s = counted.calls_per_s();
    r.keys_per_s = counted.keys_per_s();
    r.p50_us = timed.latency.quantile_ns(0.5) / 1e3;
    r.p99_us = timed.latency.quantile_ns(0.99) / 1e3;
    r.p999_us = timed.latency.quantile_ns(0.999) / 1e3;
    r.extra[keys_extra] = static_cast<double>(options_.keys);
    if (what.pool) {
      r.extra[server_cpu_extra] = cpu_seconds(pool_->server_pid()) - cpu;
      r.extra[reads_locally_extra] = what.pool->info().local_reads ? 1 : 0;
    }
    r.errors = timed.failures + counted.failures;
    auto wrong = timed.wrong + counted.wrong;
    if (r.writer && !what.op.absent)
      r.extra[missed_extra] = static_cast<double>(wrong);  // the writer may have evicted it
    else
      r.errors += wrong;
    return {};
  }

  status add(row r) {
    if (interrupted())
      return interrupt_error();
    auto note = r.system + " " + r.op;
    rows_.push_back(std::move(r));
    bar_.update(rows_.size(), note);
    return {};
  }

  const local_options& options_;
  std::chrono::milliseconds phase_;
  cycle_clock clock_;
  progress bar_;
  local_pool* pool_ = nullptr;  // while it is there
  std::uint64_t pages_ = 0;     // of it
  bool reads_locally_ = false;
  std::vector<row> rows_;
};

}  // namespace

int run_local(const local_options& options) {
  auto fail = [](const error& e) {
    std::fprintf(stderr, "maru-bench: %s\n", to_string(e).c_str());
    return 2;
  };
  local_run run(options);
  auto done = run.all();
  if (!run.rows().empty())
    std::printf("%s\n%s\n%s\n%s", to_string(this_machine()).c_str(), run.parameters().c_str(),
                local_table_of(run.rows()).c_str(), local_targets_of(run.rows()).c_str());
  if (!done)
    return fail(done.error());
  if (!options.json_path.empty())
    if (auto written = write_rows(options.json_path, run.rows(), options.append); !written)
      return fail(written.error());
  bool errors = std::any_of(run.rows().begin(), run.rows().end(), [](const row& r) { return r.errors != 0; });
  return errors ? 1 : 0;
}

}  // namespace maru::bench
