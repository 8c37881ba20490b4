#include "app/marud/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

namespace maru::daemon {

namespace {

std::uint64_t number_of(const char* text) {
  std::uint64_t value = 0;
  if (text != nullptr)
    std::from_chars(text, text + std::strlen(text), value);
  return value;
}

// Empty where the name is none that a socket can have.
std::string address_of(std::string_view name) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (name.size() < 2 || name.size() >= sizeof a.sun_path || (name[0] != '/' && name[0] != '@'))
    return {};
  std::memcpy(a.sun_path, name.data(), name.size());
  bool is_abstract = name[0] == '@';
  if (is_abstract)
    a.sun_path[0] = '\0';
  return {reinterpret_cast<const char*>(&a), offsetof(sockaddr_un, sun_path) + name.size() + (is_abstract ? 0 : 1)};
}

}  // namespace

service_manager service_manager::from_environment() {
  service_manager out;
  const char* name = std::getenv("NOTIFY_SOCKET");
  out.address_ = address_of(name ? name : "");
  if (!out.address_.empty())
    out.socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  auto usec = number_of(std::getenv("WATCHDOG_USEC")), pid = number_of(std::getenv("WATCHDOG_PID"));
  if (out.socket_ >= 0 && usec > 0 && (pid == 0 || pid == static_cast<std::uint64_t>(::getpid())))
    out.watchdog_ = std::chrono::microseconds{usec};
  return out;
}

service_manager::service_manager(service_manager&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), address_(std::move(other.address_)), watchdog_(other.watchdog_) {}

service_manager::~service_manager() {
  if (socket_ >= 0)
    ::close(socket_);
}

void service_manager::tell(std::string_view lines) const {
  if (socket_ >= 0)
    (void)::sendto(socket_, lines.data(), lines.size(), MSG_NOSIGNAL,
                   reinterpret_cast<const sockaddr*>(address_.data()), static_cast<socklen_t>(address_.size()));
}

std::string reloading_lines() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1000);
}

}  // namespace maru::daemon
