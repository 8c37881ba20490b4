#include "net/listener.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

namespace maru::net {

namespace {

constexpr int waiting_max = 512;  // connections that the kernel keeps until they are accepted

error failed(const server_address& where, const std::string& cause, ec code = ec::io) {
  return {code, "failed to listen on " + to_string(where) + ": " + cause};
}

error failed(const server_address& where, int errnum) {
  bool taken = errnum == EADDRINUSE;
  return failed(
    where, std::strerror(errnum) + std::string{taken ? " (is another marud running? choose another --listen)" : ""},
    taken ? ec::in_use : ec::io);
}

sockaddr_un socket_address(const std::string& path) {
  sockaddr_un out = {};
  out.sun_family = AF_UNIX;
  path.copy(out.sun_path, sizeof out.sun_path - 1);
  return out;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

unique_fd new_socket(int family) { return unique_fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}; }

// Removes what a server that is gone has left. Called under the lock, so no other marud makes or removes it meanwhile.
status remove_stale(const server_address& where) {
  struct stat there = {};
  if (::lstat(where.path.c_str(), &there) != 0)
    return errno == ENOENT ? status{} : status{failed(where, errno)};
  if (!S_ISSOCK(there.st_mode))
    return failed(where, "there is a file of that name that is no socket, and it stays", ec::unknown_contents);
  auto probe = new_socket(AF_UNIX);
  auto to = socket_address(where.path);
  if (!probe)
    return failed(where, errno);
  if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 || errno != ECONNREFUSED)
    return failed(where, EADDRINUSE);
  return ::unlink(where.path.c_str()) == 0 || errno == ENOENT ? status{} : status{failed(where, errno)};
}

}  // namespace

result<listener> listener::open(const server_address& where, const socket_file_options& file) {
  return where.is_unix() ? open_unix(where, file) : open_tcp(where);
}

result<listener> listener::open_tcp(const server_address& where) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const auto& [host, port] = where.tcp;
  if (int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found); code != 0)
    return failed(where, ::gai_strerror(code));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> first{found, ::freeaddrinfo};
  auto socket = new_socket(first->ai_family);
  if (!socket)
    return failed(where, errno);
  int yes = 1, no = 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (first->ai_family == AF_INET6)
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);  // [::] takes IPv4 too
  if (::bind(socket.get(), first->ai_addr, first->ai_addrlen) != 0 || ::listen(socket.get(), waiting_max) != 0)
    return failed(where, errno);
  auto address = where;
  address.tcp.port = port_of(socket.get());
  return listener{std::move(socket), std::move(address)};
}

result<listener> listener::open_unix(const server_address& where, const socket_file_options& file) {
  const auto& path = where.path;
  std::error_code ignored;  // what fails here fails at the lock, with the path
  std::filesystem::create_directories(std::filesystem::path{path}.parent_path(), ignored);
  auto lock = file_lock::acquire(path + ".lock");
  if (!lock)
    return failed(where, lock.code() == ec::in_use ? "another marud listens there" : lock.error().message, lock.code());
  if (auto free = remove_stale(where); !free)
    return free.error();
  auto socket = new_socket(AF_UNIX);
  auto to = socket_address(path);
  // Linux makes the file with the socket's own mode: nobody else can connect before mode and group are right. Nobody
  // can anyhow before listen().
  if (!socket || ::fchmod(socket.get(), 0600) != 0
      || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
    return failed(where, errno);
  listener out{std::move(socket), where};
  out.lock_ = *std::move(lock);
  struct stat made = {};
  if (::lstat(path.c_str(), &made) != 0)
    return failed(where, errno);
  out.file_ = made_file{made.st_dev, made.st_ino};
  if (file.group && ::lchown(path.c_str(), static_cast<uid_t>(-1), *file.group) != 0)
    return failed(where, "failed to give it to group " + std::to_string(*file.group) + ": " + std::strerror(errno));
  if (::chmod(path.c_str(), file.mode) != 0 || ::listen(out.fd(), waiting_max) != 0)
    return failed(where, errno);
  return out;
}

listener::~listener() {
  struct stat now = {};
  if (!socket_ || !file_ || ::lstat(address_.path.c_str(), &now) != 0)
    return;
  if (now.st_dev == file_->device && now.st_ino == file_->inode)
    ::unlink(address_.path.c_str());
}

}  // namespace maru::net
