// What a test does in another process: run a function there, or watch it instruction by instruction.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

namespace maru::test {

// Forks, runs `body` in the child and ends it at once with what it returned (0 to 255), without destructors or exit
// handlers. Empty where the child died of a signal.
template <class F>
std::optional<int> in_child(F body) {
  auto pid = ::fork();
  if (pid == 0)
    ::_exit(body());
  int how = 0;
  if (pid < 0 || ::waitpid(pid, &how, 0) != pid || !WIFEXITED(how))
    return std::nullopt;
  return WEXITSTATUS(how);
}

// A child that is stopped before it runs `body`, and traced from here; -1 where the system forbids to trace.
template <class F>
pid_t traced_child(F body) {
  auto pid = ::fork();
  if (pid == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0)
      ::_exit(77);
    ::raise(SIGSTOP);
    body();
    ::_exit(0);
  }
  int how = 0;
  if (pid < 0 || ::waitpid(pid, &how, 0) != pid || !WIFSTOPPED(how))
    return -1;
  return pid;
}

// Runs `body` in a child one machine instruction at a time and calls `look` here after each: every state in which a
// kill could leave memory that both share. Returns the number of steps, or -1 where the system forbids to trace.
template <class F, class G>
long single_step(F body, G look) {
  auto pid = traced_child(body);
  if (pid < 0)
    return -1;
  int how = -1;  // no exit yet
  long steps = 0;
  while (::ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) == 0) {
    if (::waitpid(pid, &how, 0) != pid || !WIFSTOPPED(how))
      break;
    ++steps;
    look();
  }
  return WIFEXITED(how) && WEXITSTATUS(how) == 0 ? steps : -1;
}

enum class cut { killed, finished, not_allowed };

// Runs `body` in a child and kills it when its n-th system call (n >= 1) has been done: with every n in turn, each state
// that a kill between two system calls can leave.
template <class F>
cut kill_at_system_call(F body, int n) {
  auto pid = traced_child(body);
  if (pid < 0)
    return cut::not_allowed;
  int how = 0;
  for (int stops = 2 * n; stops > 0; --stops)  // one on the way in, one on the way out
    if (::ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr) != 0 || ::waitpid(pid, &how, 0) != pid || !WIFSTOPPED(how))
      return cut::finished;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  return cut::killed;
}

}  // namespace maru::test
