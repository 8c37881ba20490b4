// Programs that the benchmark starts and stops by their process id: workers and servers.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace maru::bench {

// Under this number a child finds the descriptor that was handed on to it.
inline constexpr int inherited_fd = 3;

struct child_options {
  std::string program;
  std::vector<std::string> arguments;  // without the program's name
  std::string log_path;                // standard output and error go there; empty: the parent's own
  int hand_on_fd = -1;                 // becomes `inherited_fd` in the child
  bool end_with_parent = true;         // PR_SET_PDEATHSIG: the kernel kills the child when the starter is gone
};

// Owns a running child; the destructor stops it. The child is in a process group of its own, so that Ctrl-C reaches
// the parent alone, which then stops its children in order. Start from the main thread: the child dies with the thread.
class child_process {
public:
  child_process() = default;
  child_process(child_process&& other) noexcept;
  child_process& operator=(child_process&& other) noexcept;
  ~child_process();

  // `io` where the program cannot be started.
  static result<child_process> start(const child_options& options);

  pid_t pid() const { return pid_; }
  // Empty while it runs; then its exit code, or 128 + signal.
  std::optional<int> exit_code();
  // SIGTERM, up to `grace` for it to end, then SIGKILL. Returns the exit code.
  int stop(std::chrono::milliseconds grace = std::chrono::seconds{10});
  // Waits for the end; empty when the deadline passes first.
  std::optional<int> wait(std::chrono::milliseconds limit);

private:
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

struct process_usage {
  double cpu_seconds = 0;            // user and system, all threads
  std::uint64_t rss_anon_bytes = 0;  // private memory; the pool is not in it
};
// `missing` where there is no such process.
result<process_usage> usage_of(pid_t pid);

// The file this process runs, and one in the same folder.
std::string own_program();
std::string program_beside(const std::string& name);

}  // namespace maru::bench
