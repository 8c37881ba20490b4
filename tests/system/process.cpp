#include "tests/system/process.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "net/admin.hpp"

extern char** environ;

namespace maru::test {

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds deadline) {
  auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end)
      return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

process::process(const std::vector<std::string>& arguments) {
  int to_child[2], from_child[2];
  if (::pipe2(to_child, O_CLOEXEC) != 0 || ::pipe2(from_child, O_CLOEXEC) != 0)
    return;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_child[0], 0);
  posix_spawn_file_actions_adddup2(&actions, from_child[1], 1);
  posix_spawn_file_actions_adddup2(&actions, from_child[1], 2);
  std::vector<char*> argv;
  for (const auto& a : arguments)
    argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0)
    pid_ = -1;
  posix_spawn_file_actions_destroy(&actions);
  ::close(to_child[0]);
  ::close(from_child[1]);
  in_ = to_child[1];
  out_ = from_child[0];
}

process::process(process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      in_(std::exchange(other.in_, -1)),
      out_(std::exchange(other.out_, -1)),
      heard_(std::move(other.heard_)) {}

process& process::operator=(process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(in_, other.in_);
  std::swap(out_, other.out_);
  std::swap(heard_, other.heard_);
  return *this;
}

process::~process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (in_ >= 0)
    ::close(in_);
  if (out_ >= 0)
    ::close(out_);
}

void process::say(const std::string& line) {
  auto text = line + "\n";
  (void)!::write(in_, text.data(), text.size());
}

std::string process::hear(std::chrono::milliseconds deadline) {
  auto end = std::chrono::steady_clock::now() + deadline;
  for (;;) {
    if (auto at = heard_.find('\n'); at != heard_.npos) {
      auto line = heard_.substr(0, at);
      heard_.erase(0, at + 1);
      return line;
    }
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd p{out_, POLLIN, 0};
    char buffer[4096];
    if (left.count() <= 0 || ::poll(&p, 1, static_cast<int>(left.count())) <= 0)
      return {};
    auto n = ::read(out_, buffer, sizeof buffer);
    if (n <= 0)
      return std::exchange(heard_, {});
    heard_.append(buffer, static_cast<std::size_t>(n));
  }
}

void process::signal(int number) const {
  if (pid_ > 0)
    ::kill(pid_, number);
}

std::optional<int> process::ended(std::chrono::milliseconds deadline) {
  int how = -1;
  if (pid_ <= 0 || !eventually([&] { return ::waitpid(pid_, &how, WNOHANG) == pid_; }, deadline))
    return std::nullopt;
  pid_ = -1;
  return how;
}

int process::wait(std::chrono::milliseconds deadline) {
  auto how = ended(deadline);
  return how && WIFEXITED(*how) ? WEXITSTATUS(*how) : -1;
}

int process::wait_signal(std::chrono::milliseconds deadline) {
  auto how = ended(deadline);
  return !how ? -1 : WIFSIGNALED(*how) ? WTERMSIG(*how) : 0;
}

void process::hang_up() {
  if (in_ >= 0)
    ::close(std::exchange(in_, -1));
}

worker::worker(const std::string& server, std::uint64_t chunk_bytes)
    : process_({WORKER_PATH, server, std::to_string(chunk_bytes)}) {
  process_.hear();  // "ready"
}

std::string worker::ask(const std::string& line) {
  process_.say(line);
  return process_.hear(20s);
}

reserved_port::reserved_port() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&a), size);
  ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&a), &size);
  number_ = ntohs(a.sin_port);
  // Only now: with it from the start, two reservations could be one port.
  int yes = 1;
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

marud::marud(std::vector<std::string> options) : options_(std::move(options)) { start(); }

marud::~marud() = default;

std::vector<std::string> marud::command() const {
  std::vector<std::string> all = {MARUD_PATH, "--pool",  pool(),   "--state-dir", state(),
                                  "--listen", address(), "--http", "127.0.0.1:0"};
  bool sized = false, paged = false;
  for (const auto& o : options_) {
    sized |= o.starts_with("--pool-size");
    paged |= o.starts_with("--page-min");
  }
  if (!sized)
    all.push_back("--pool-size=16MiB");
  if (!paged)
    all.push_back("--page-min=4KiB");
  all.insert(all.end(), options_.begin(), options_.end());
  return all;
}

bool marud::start(const std::vector<std::string>& more) {
  auto all = command();
  all.insert(all.end(), more.begin(), more.end());
  process_ = process{all};
  log_.clear();
  for (;;) {
    auto line = process_.hear(20s);
    if (line.empty())
      return false;
    log_ += line + "\n";
    if (line.find("ready: serving") != line.npos || line.find("\"event\":\"ready\"") != line.npos)
      return true;
  }
}

int marud::stop() {
  process_.signal(SIGTERM);
  return process_.wait(20s);
}

void marud::kill_hard() {
  process_.signal(SIGKILL);
  process_.wait();
}

std::shared_ptr<client> marud::open(client_options options) {
  options.server = address();
  if (options.chunk_bytes == 0)
    options.chunk_bytes = 4096;
  if (options.timeout == client_options{}.timeout)
    options.timeout = 10s;  // the machine may be busy
  auto c = client::open(std::move(options));
  return c ? *c : nullptr;
}

nlohmann::json marud::ask(const std::string& verb, const nlohmann::json& arguments) {
  auto answer = net::ask_admin(address(), verb, arguments.dump(), 10s);
  return answer ? nlohmann::json::parse(*answer, nullptr, false) : nlohmann::json{};
}

std::string marud::metric(const std::string& name) const {
  constexpr std::string_view before = "metrics on port ";
  auto at = log_.rfind(before);
  if (at == log_.npos)
    return {};
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(static_cast<std::uint16_t>(std::stoi(log_.substr(at + before.size()))));
  std::string text;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0) {
    std::string_view request = "GET /metrics HTTP/1.1\r\nHost: maru\r\nConnection: close\r\n\r\n";
    (void)!::write(fd, request.data(), request.size());
    char buffer[4096];
    for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  auto line = text.find("\n" + name + " ");
  if (line == text.npos)
    return {};
  auto value = line + name.size() + 2;
  return text.substr(value, text.find('\n', value) - value);
}

std::string marud::audit() {
  auto connection = net::admin::open(address(), 10s);  // one for all slices: a pool has many
  std::string problems, cursor;
  do {
    auto answer = connection ? connection->ask("check", nlohmann::json{{"cursor", cursor}}.dump(), 10s)
                             : result<std::string>{connection.error()};
    if (!answer)
      return to_string(answer.error());
    auto slice = nlohmann::json::parse(*answer);
    for (const auto& p : slice["problems"])
      problems += p["page"].get<std::string>() + ": " + p["problem"].get<std::string>() + "\n";
    cursor = slice["cursor"];
  } while (!cursor.empty());
  return problems;
}

std::uint64_t pages(marud& m, const char* state) { return m.ask("status")["pages"][state].get<std::uint64_t>(); }

bool evict_all(marud& m) {
  auto c = m.open();
  auto evicted = [&m] { return m.ask("status")["evicted"].get<std::uint64_t>(); };
  auto before = evicted();
  for (int i = 0; i < 3000; ++i)
    if (!c || !put(*c, "filler" + std::to_string(i)))
      return false;
  return evicted() > before + 1000;
}

status put(client& c, const std::string& key, std::size_t size) {
  auto bytes = content_of(key, size);
  return c.store(key, std::as_bytes(std::span{bytes}));
}

std::string read_back(client& c, const std::string& key, std::size_t size) {
  auto v = c.retrieve(key);
  if (!v)
    return std::string{to_string(v.code())};
  auto wanted = content_of(key, size);
  bool same = v->bytes().size() == size && std::memcmp(v->bytes().data(), wanted.data(), size) == 0;
  return !v->intact() ? "memory_failed" : same ? "ok" : "wrong";
}

}  // namespace maru::test
