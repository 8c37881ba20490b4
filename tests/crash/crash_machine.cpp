#include "tests/crash/crash_machine.hpp"

#include <csignal>
#include <cstdlib>
#include <sstream>

#include "tests/support/environment_variable.hpp"

namespace maru::test {

namespace {

constexpr auto pause_max = 90s;       // a call that waits for marud, and the answers that it still has to get
constexpr std::size_t batch = 512;    // keys of one read
constexpr std::uint64_t removed = 2;  // how many earlier incarnations of each slot are looked for

}  // namespace

crash_machine::crash_machine(std::uint64_t seed, crash_pool pool)
    : pool_(std::move(pool)), board_(folder_ / "board"), marud_(pool_.options) {
  std::signal(SIGPIPE, SIG_IGN);  // a worker that has failed reads no more orders
  for (std::uint32_t n = 0; n < crash_workers; ++n) {
    // Two of four ask for everything, one of these with a region of its own.
    environment_variable reads{"MARU_LOCAL_READS", n / 2 % 2 == 0 ? "1" : "0"};
    std::vector<std::string> command = {CRASH_WORKER_PATH,
                                        marud_.address(),
                                        folder_ / "board",
                                        std::to_string(n),
                                        std::to_string(mixed(seed + n)),
                                        pool_.evicts ? "evicts" : "keeps"};
    workers_.emplace_back(command);
    if (auto line = workers_.back().hear(20s); line != "ready")
      throw std::runtime_error{"a worker did not start: " + line + "\n" + marud_.log()};
  }
}

void crash_machine::kill() {
  marud_.kill_hard();
  ++kills_;
}

bool crash_machine::start(const std::string& kill_point) {
  if (!kill_point.empty())
    ::setenv("MARU_KILL_POINT", kill_point.c_str(), 1);
  bool ready = marud_.start();
  ::unsetenv("MARU_KILL_POINT");
  return ready;
}

bool crash_machine::died(std::chrono::milliseconds deadline) {
  bool by_kill = marud_.body().wait_signal(deadline) == SIGKILL;
  kills_ += by_kill ? 1 : 0;
  return by_kill;
}

bool crash_machine::worked(std::uint64_t keys) {
  return eventually([&] { return board_.counts().puts >= keys; }, 60s);
}

std::string crash_machine::pause() {
  for (auto& w : workers_)
    w.say("pause");
  std::string problems;
  for (auto& w : workers_)
    if (auto line = w.hear(pause_max); line != "paused")
      problems += (line.empty() ? "a worker does not answer" : line) + "\n";
  return problems;
}

void crash_machine::go() {
  for (auto& w : workers_)
    w.say("go");
}

std::string crash_machine::complaints() {
  auto problems = pause();
  go();
  return problems;
}

std::string crash_machine::check() {
  auto problems = pause();
  if (problems.empty())
    problems = check_all();
  go();
  return problems;
}

std::string crash_machine::start_and_check_before_workers() {
  for (auto& w : workers_)
    w.signal(SIGSTOP);
  auto problems = start() ? check_all() : "marud does not start\n";
  for (auto& w : workers_)
    w.signal(SIGCONT);
  return problems;
}

std::string crash_machine::check_all() {
  ++checks_;
  return check_keys() + marud_.audit();
}

std::string crash_machine::check_keys() {
  auto c = marud_.open();
  if (!c)
    return "the check cannot connect\n";
  std::string problems;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> keys;
  for (std::uint32_t slot = 0; slot < crash_slots; ++slot) {
    auto now = board_.at(slot).incarnation;
    for (auto i = now - std::min(now, removed); i <= now; ++i)
      keys.emplace_back(slot, i);
    if (keys.size() >= batch || slot + 1 == crash_slots)
      problems += check_slots(*c, std::exchange(keys, {}));
  }
  return problems;
}

std::string crash_machine::check_slots(client& c, const std::vector<std::pair<std::uint32_t, std::uint64_t>>& keys) {
  std::vector<std::string> names;
  for (auto [slot, incarnation] : keys)
    names.push_back(key_of(slot, incarnation));
  std::vector<std::string_view> asked{names.begin(), names.end()};
  auto views = c.retrieve_batch(asked);
  if (!views)
    return "a read of the check fails: " + to_string(views.error()) + "\n";
  std::string problems;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    auto [slot, incarnation] = keys[i];
    const auto& v = (*views)[i];
    auto now = board_.at(slot);
    if (auto wrong = contradiction(slot, now, now, incarnation, bool{v}, pool_.evicts); !wrong.empty())
      problems += wrong + "\n";
    auto wanted = bytes_of(slot, incarnation);
    if (v && (v.bytes().size() != wanted.size() || std::memcmp(v.bytes().data(), wanted.data(), wanted.size()) != 0))
      problems += names[i] + " shows wrong bytes\n";
    ++keys_checked_;
  }
  return problems;
}

std::string crash_machine::finish() {
  auto problems = pause();
  for (auto& w : workers_) {
    w.hang_up();
    if (w.wait(20s) != 0)
      problems += "a worker did not end well: " + w.hear(0s) + "\n";
  }
  bool empty = eventually([this] {
    auto s = marud_.ask("status");
    return s["sessions"] == 0 && s["pages"]["granted"] == 0 && s["pages"]["quarantined"] == 0 && s["pins"] == 0;
  });
  if (!empty)
    problems += "something is held after the last worker: " + marud_.ask("status").dump() + "\n";
  if (pool_.evicts && board_.counts().lost == 0)
    problems += "nothing was ever evicted: the test does not test what it says\n";
  for (std::size_t code = 0; code < board_.counts().errors.size(); ++code)
    if (board_.counts().errors[code] > 0)
      problems += "a worker's call ended with " + std::string{to_string(static_cast<ec>(code))} + "\n";
  return problems + marud_.audit();
}

std::string crash_machine::report(std::uint64_t rounds) {
  auto& c = board_.counts();
  std::ostringstream out;
  out << rounds << " rounds, " << kills_ << " kills, " << checks_ << " checks of " << keys_checked_
      << " keys; workers: " << c.puts << " keys put, " << c.removes << " removed, " << c.reads << " read (" << c.hits
      << " hits, " << c.lost << " evicted), " << c.views_checked << " views and " << c.pins_checked << " pins checked, "
      << c.sessions_lost << " sessions lost; errors:";
  for (std::size_t code = 0; code < c.errors.size(); ++code)
    if (c.errors[code] > 0)
      out << " " << to_string(static_cast<ec>(code)) << "=" << c.errors[code];
  return out.str();
}

}  // namespace maru::test
