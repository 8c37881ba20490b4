#include "app/bench/cell.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/bench/interrupt.hpp"
#include "base/size.hpp"

namespace maru::bench {

using namespace std::chrono_literals;

namespace {

constexpr auto step_patience = 60s;  // for a client to end a step after halt

constexpr std::size_t line_bytes = 64;

double seconds(std::uint64_t ns) { return static_cast<double>(ns) * 1e-9; }

}  // namespace

std::string to_text(const cell_job& job) {
  return nlohmann::json{
    {"system", job.system}, {"op", job.op},     {"server", job.server},         {"batch", job.batch},
    {"index", job.index},   {"keys", job.keys}, {"round_keys", job.round_keys}, {"value_bytes", job.value_bytes},
    {"rate", job.rate}}
    .dump();
}

result<cell_job> read_cell_job(const std::string& text) {
  try {
    auto o = nlohmann::json::parse(text);
    return cell_job{o.at("system"), o.at("op"),         o.at("server"),      o.at("batch"), o.at("index"),
                    o.at("keys"),   o.at("round_keys"), o.at("value_bytes"), o.at("rate")};
  } catch (const nlohmann::json::exception& e) {
    return error{ec::invalid, std::string{"failed to read a client's job: "} + e.what()};
  }
}

std::size_t cell_client_offset(unsigned index) {
  return align_up(sizeof(cell_control), line_bytes) + index * align_up(sizeof(cell_client), line_bytes);
}

std::size_t cell_memory_bytes(unsigned clients) { return cell_client_offset(clients); }

result<cell> cell::start(unsigned clients, const starter& how) {
  cell c;
  auto memory = shared_memory::create(cell_memory_bytes(clients));
  if (!memory)
    return memory.error();
  c.memory_ = *std::move(memory);
  c.control().step = 1;  // to come up: a client reports it done when it is connected
  for (unsigned i = 0; i < clients; ++i) {
    auto options = how(i);
    options.hand_on_fd = c.memory_.fd();
    auto child = child_process::start(options);
    if (!child)
      return child.error();
    c.children_.push_back(*std::move(child));
  }
  auto deadline = std::chrono::steady_clock::now() + 30s;
  while (!c.all_done(1)) {
    if (auto alive = c.check_children(); !alive)
      return alive.error();
    if (std::chrono::steady_clock::now() > deadline)
      return error{ec::timeout, "failed to start client processes: not connected after 30 s"};
    std::this_thread::sleep_for(1ms);
  }
  return c;
}

const cell_client& cell::client(unsigned index) const { return memory_.at<cell_client>(cell_client_offset(index)); }

bool cell::all_done(std::uint64_t step) const {
  for (unsigned i = 0; i < clients(); ++i)
    if (client(i).step_done < step)
      return false;
  return true;
}

status cell::check_children() {
  if (interrupted())
    return interrupt_error();
  for (auto& child : children_)
    if (auto code = child.exit_code()) {
      auto why = problem();
      return {ec::unavailable, "failed to run a client process: it ended with code " + std::to_string(*code)
                                 + (why.empty() ? "" : " (" + why + ")")};
    }
  return {};
}

result<double> cell::run_step(command what, std::chrono::milliseconds limit) {
  begin_step(what);
  return end_step(limit);
}

void cell::begin_step(command what) {
  auto& shared = control();
  shared.halt = 0;
  shared.what = static_cast<std::uint32_t>(what);
  ++shared.step;
}

result<double> cell::end_step(std::chrono::milliseconds limit) {
  auto& shared = control();
  std::uint64_t step = shared.step;
  auto now = [] { return std::chrono::steady_clock::now(); };
  auto halt_at = now() + limit;
  while (!all_done(step)) {
    if (auto alive = check_children(); !alive)
      return alive.error();
    if (now() >= halt_at)
      shared.halt = 1;
    if (now() > halt_at + step_patience)
      return error{ec::timeout, "failed to run a benchmark step: clients are not done a minute after its end"};
    std::this_thread::sleep_for(std::clamp<std::chrono::nanoseconds>(halt_at - now(), 200us, 5ms));
  }
  std::uint64_t begin = UINT64_MAX, end = 0;
  for (unsigned i = 0; i < clients(); ++i) {
    begin = std::min(begin, client(i).begin_ns);
    end = std::max(end, client(i).end_ns);
  }
  return seconds(end - begin);
}

status cell::finish() {
  auto& shared = control();
  shared.what = static_cast<std::uint32_t>(command::stop);
  ++shared.step;
  for (auto& child : children_) {
    auto code = child.wait(10s);
    if (!code)
      return {ec::timeout, "failed to stop a client process within 10 s"};
    if (*code != 0)
      return {ec::io, "failed to run a client process: it ended with code " + std::to_string(*code)};
  }
  return {};
}

std::uint64_t cell::keys() const {
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < clients(); ++i)
    sum += client(i).keys;
  return sum;
}

std::uint64_t cell::errors() const {
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < clients(); ++i)
    sum += client(i).errors;
  return sum;
}

histogram cell::latency() const {
  histogram all;
  for (unsigned i = 0; i < clients(); ++i)
    all.merge(client(i).latency);
  return all;
}

std::string cell::problem() const {
  for (unsigned i = 0; i < clients(); ++i)
    if (client(i).problem[0] != '\0')
      return client(i).problem;
  return {};
}

namespace {

// CPU time of a server around measured steps.
class cpu_meter {
public:
  explicit cpu_meter(pid_t pid) : pid_(pid) {}
  void begin() { mark_ = now(); }
  void end() { seconds_ += now() - mark_; }
  double total() const { return seconds_; }

private:
  double now() const {
    auto usage = pid_ > 0 ? usage_of(pid_) : result<process_usage>{process_usage{}};
    return usage ? usage->cpu_seconds : 0;
  }
  pid_t pid_;
  double mark_ = 0, seconds_ = 0;
};

}  // namespace

result<row> measure(cell& c, const measurement& m) {
  cpu_meter cpu(m.server);
  double wall = 0;
  auto warm = c.run_step(command::warm, m.warm_up);
  if (!warm)
    return warm.error();
  do {
    if (m.rounds)
      if (auto removed = c.run_step(command::remove, 60s); !removed)
        return removed.error();
    cpu.begin();
    auto left = m.time - std::chrono::milliseconds{static_cast<std::int64_t>(wall * 1e3)};
    auto step = c.run_step(command::measure, std::max(left, 1ms));
    if (!step)
      return step.error();
    cpu.end();
    wall += *step;
  } while (m.rounds && wall * 1e3 + 1 < static_cast<double>(m.time.count()));
  if (m.rounds)
    if (auto removed = c.run_step(command::remove, 60s); !removed)
      return removed.error();

  row r;
  auto latency = c.latency();
  auto keys = static_cast<double>(c.keys());
  r.clients = c.clients();
  r.seconds = wall;
  r.ops_per_s = static_cast<double>(latency.count()) / wall;
  r.keys_per_s = keys / wall;
  r.p50_us = latency.quantile_ns(0.5) / 1e3;
  r.p99_us = latency.quantile_ns(0.99) / 1e3;
  r.p999_us = latency.quantile_ns(0.999) / 1e3;
  r.cpu_s_per_mkeys = keys == 0 ? 0 : cpu.total() / keys * 1e6;
  r.errors = c.errors();
  return r;
}

}  // namespace maru::bench
