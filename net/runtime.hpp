// One CAF runtime per process, shared by all its clients and gone with the last of them.
#pragma once

#include <csignal>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/error.hpp"
#include "net/deadline_mutex.hpp"

namespace caf {
class actor_system;
}

namespace maru::net {

// Blocks every signal in this thread while it lives: threads made meanwhile inherit that, so that a program's signals
// never land on a thread of this library. All but those of a thread's own faults: where they are blocked the process dies
// without a word to its handlers, see cxl/fault_guard.hpp.
class signals_blocked {
public:
  signals_blocked();
  ~signals_blocked();
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;

private:
  sigset_t before_;
};

// Owns the actor system and its threads. Never a static: its destructor joins threads, which must not happen while
// the process runs its exit handlers.
// Concurrency: acquire() from any thread; the last owner to let go must not be a thread of the runtime itself.
// Limits: two runtimes can exist for a moment, while one is being stopped as another client opens.
class runtime {
public:
  // The runtime of this process; makes it where there is none. `io`: its threads or sockets could not be made.
  static result<std::shared_ptr<runtime>> acquire();
  ~runtime();

  caf::actor_system& system();
  // True in a child of the process that made it: its threads are not there, and nothing of it may be used.
  bool forked() const;
  // Whose turn it is to connect to this server. One at a time: where two connections to one node shake hands at once, CAF
  // may keep one of them here and the other one there, and what was asked over the one that goes is never answered.
  deadline_mutex& turn_to_connect(const std::string& server);

private:
  struct engine;
  explicit runtime(std::unique_ptr<engine> e);
  std::unique_ptr<engine> engine_;
  unsigned of_;  // which process, see forked()
  std::mutex turns_mutex_;
  std::map<std::string, deadline_mutex> turns_;
};

}  // namespace maru::net
