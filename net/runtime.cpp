#include "net/runtime.hpp"

#include <pthread.h>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <atomic>
#include <exception>
#include <future>
#include <mutex>
#include <string>

#include "net/protocol.hpp"
#include "net/transport.hpp"

namespace maru::net {

namespace {

struct client_config : caf::actor_system_config {
  client_config() {
    configure_transport(*this, transport_options{});
    add_protocol_types(*this);
  }
};

// How many forks lie between this process and the one that loaded the library. Counted, since getpid() is a system call,
// and every page and every view asks.
std::atomic<unsigned> forks{0};

// False where forks cannot be counted.
bool count_forks() {
  static const bool counted =
    pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); }) == 0;
  return counted;
}

// Where the process's runtime is found. Each process has its own: a child must not wait for a mutex that a thread of its
// parent held when it forked.
struct place {
  unsigned of = forks;
  std::mutex mutex;
  std::weak_ptr<runtime> current;
};

place& place_of_this_process() {
  static std::atomic<place*> known{nullptr};
  auto* seen = known.load();
  if (seen && seen->of == forks)
    return *seen;
  auto* fresh = new place;
  if (known.compare_exchange_strong(seen, fresh))
    return *fresh;
  delete fresh;
  return *seen;
}

}  // namespace

signals_blocked::signals_blocked() {
  sigset_t all;
  sigfillset(&all);
  for (auto fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL})
    sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before_);
}

signals_blocked::~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

struct runtime::engine {
  client_config config;
  caf::actor_system system{config};
};

runtime::runtime(std::unique_ptr<engine> e) : engine_(std::move(e)), of_(forks) {}

runtime::~runtime() = default;

result<std::shared_ptr<runtime>> runtime::acquire() {
  if (!count_forks())
    return {ec::io, "failed to have the client's forks noticed: out of memory"};
  auto& here = place_of_this_process();
  std::lock_guard lock(here.mutex);
  if (auto known = here.current.lock())
    return known;
  try {
    signals_blocked quiet;
    // On a thread that ends: the one that makes an actor system keeps CAF's logger in a thread-local variable, and the
    // system's destructor, on any other thread, would wait for that for as long as it lives.
    auto made_elsewhere = std::async(std::launch::async, [] { return std::make_unique<engine>(); }).get();
    std::shared_ptr<runtime> made{new runtime(std::move(made_elsewhere))};
    here.current = made;
    return made;
  } catch (const std::exception& e) {
    return {ec::io, std::string{"failed to start the client's message threads: "} + e.what()};
  }
}

caf::actor_system& runtime::system() { return engine_->system; }

deadline_mutex& runtime::turn_to_connect(const std::string& server) {
  std::lock_guard lock(turns_mutex_);
  return turns_[server];
}

bool runtime::forked() const { return forks.load(std::memory_order_relaxed) != of_; }

}  // namespace maru::net
