// What marud tells the service manager again and again, each from a thread of its own: that a long start goes on, and that
// its actors answer. Whoever hangs says nothing, so that the service manager ends it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "app/marud/service_manager.hpp"
#include "base/bounds.hpp"
#include "base/repeated.hpp"

namespace maru::daemon {

// What the process has used of the machine so far: grows while it works, stands still while it waits for ever.
struct work_done {
  std::chrono::microseconds cpu{};
  long blocks = 0;  // read from and written to disks

  static work_done now();
  // Whether something was done since `before`: more than such a look costs.
  bool beyond(const work_done& before) const;
};

// Asks for more time while a start is at work: reading a large metadata store takes as long as it takes.
class start_signs {
public:
  // `work`: what is looked at; tests have their own.
  explicit start_signs(const service_manager& manager, std::chrono::microseconds interval = bounds::start_sign_interval,
                       std::function<work_done()> work = work_done::now);

private:
  repeated repeated_;
};

// Sends WATCHDOG=1 three times in the manager's interval while nobody is silent; nothing where it wants none.
class watchdog {
public:
  // `silent`: the name of an actor that does not answer; empty: all do.
  watchdog(const service_manager& manager, std::function<std::string()> silent);

private:
  std::unique_ptr<repeated> repeated_;
};

}  // namespace maru::daemon
