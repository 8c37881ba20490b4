// Tells systemd, or whoever started marud and listens at NOTIFY_SOCKET, how it is: the protocol of sd_notify, which is a
// datagram of lines.
//
// Concurrency: `tell` from any thread.
// Limits: what cannot be sent is dropped: nobody waits for a service manager.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace maru::daemon {

class service_manager {
public:
  // From NOTIFY_SOCKET (a path, or @ and an abstract name), WATCHDOG_USEC and WATCHDOG_PID. Without them, nothing is told.
  static service_manager from_environment();
  service_manager() = default;
  service_manager(service_manager&& other) noexcept;
  service_manager& operator=(service_manager&&) = delete;
  ~service_manager();

  // Lines such as "READY=1\nSTATUS=serving".
  void tell(std::string_view lines) const;
  // How often it wants to hear "WATCHDOG=1" at least; empty: it does not.
  std::optional<std::chrono::microseconds> watchdog() const { return watchdog_; }

private:
  int socket_ = -1;
  std::string address_;  // bytes of the sockaddr_un
  std::optional<std::chrono::microseconds> watchdog_;
};

// The lines that begin and end a reload: systemd compares the first one's time with that of its own signal.
std::string reloading_lines();

}  // namespace maru::daemon
