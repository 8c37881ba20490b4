#include "app/bench/child_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

namespace maru::bench {

namespace {

using namespace std::chrono_literals;

// In the child, between fork and exec: system calls only. `report` tells the parent why it failed.
[[noreturn]] void become(const child_options& options, char* const* argv, pid_t parent, int report) {
  auto fail = [report] {
    int cause = errno;
    [[maybe_unused]] auto n = ::write(report, &cause, sizeof cause);
    ::_exit(127);
  };
  ::setpgid(0, 0);
  if (options.end_with_parent) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
      fail();
    if (::getppid() != parent)  // it died before the line above
      ::_exit(127);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  ::signal(SIGPIPE, SIG_DFL);
  if (!options.log_path.empty()) {
    int log = ::open(options.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0 || ::dup2(log, STDOUT_FILENO) < 0 || ::dup2(log, STDERR_FILENO) < 0)
      fail();
  }
  if (options.hand_on_fd >= 0) {
    // The report pipe may have that number; it moves out of the way.
    if (report == inherited_fd && (report = ::fcntl(report, F_DUPFD_CLOEXEC, inherited_fd + 1)) < 0)
      ::_exit(127);
    if (options.hand_on_fd == inherited_fd)
      ::fcntl(inherited_fd, F_SETFD, 0);
    else if (::dup2(options.hand_on_fd, inherited_fd) < 0)
      fail();
  }
  ::execv(argv[0], argv);
  fail();
  ::_exit(127);
}

}  // namespace

child_process::child_process(child_process&& other) noexcept { *this = std::move(other); }

child_process& child_process::operator=(child_process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(exit_code_, other.exit_code_);
  return *this;
}

child_process::~child_process() {
  if (pid_ > 0)
    stop();
}

result<child_process> child_process::start(const child_options& options) {
  std::vector<std::string> words{options.program};
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  std::vector<char*> argv;
  for (auto& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0)
    return errno_error("start " + options.program, errno);
  pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid == 0)
    become(options, argv.data(), parent, report[1]);
  int fork_errno = errno;
  ::close(report[1]);
  int cause = 0;
  bool failed = pid > 0 && ::read(report[0], &cause, sizeof cause) == sizeof cause;  // nothing comes after a good exec
  ::close(report[0]);
  if (pid < 0)
    return errno_error("start " + options.program, fork_errno);
  child_process child;
  child.pid_ = pid;
  if (failed)
    return errno_error("start " + options.program, cause);
  return child;
}

std::optional<int> child_process::exit_code() {
  if (pid_ <= 0 || exit_code_)
    return exit_code_;
  int how = 0;
  pid_t ended = ::waitpid(pid_, &how, WNOHANG);
  if (ended == pid_)
    exit_code_ = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
  else if (ended < 0 && errno == ECHILD)
    exit_code_ = 127;
  return exit_code_;
}

std::optional<int> child_process::wait(std::chrono::milliseconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  while (!exit_code() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(2ms);
  return exit_code_;
}

int child_process::stop(std::chrono::milliseconds grace) {
  if (pid_ <= 0)
    return 0;
  if (!exit_code()) {
    ::kill(pid_, SIGTERM);
    if (!wait(grace)) {
      ::kill(pid_, SIGKILL);
      wait(5s);
    }
  }
  pid_ = -1;
  return exit_code_.value_or(128 + SIGKILL);
}

result<process_usage> usage_of(pid_t pid) {
  auto folder = "/proc/" + std::to_string(pid);
  std::ifstream stat_file(folder + "/stat");
  std::string stat{std::istreambuf_iterator<char>(stat_file), {}};
  auto name_end = stat.rfind(')');  // the name may hold blanks
  if (name_end == stat.npos)
    return error{ec::missing, "failed to read " + folder + ": no such process"};
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field)
    fields >> skipped;
  std::uint64_t user = 0, system = 0;
  fields >> user >> system;
  process_usage out;
  out.cpu_seconds = static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::ifstream status_file(folder + "/status");
  std::string line;
  while (std::getline(status_file, line))
    if (line.starts_with("RssAnon:"))
      out.rss_anon_bytes = std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
  return out;
}

std::string own_program() {
  std::string path(4096, '\0');
  auto n = ::readlink("/proc/self/exe", path.data(), path.size());
  path.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return path;
}

std::string program_beside(const std::string& name) {
  auto self = own_program();
  return self.substr(0, self.rfind('/') + 1) + name;
}

}  // namespace maru::bench
