// A listening socket: TCP, or a Unix socket with its file.
//
// Operation: a Unix socket is guarded by a lock on PATH.lock for as long as it is listened on, so that of two servers
// that start at once one is refused, and what is left of one that was killed can be told from one that lives: it is
// connected to before it is removed. The file has its mode and group before anybody can connect. It is removed at the
// end, if it is still the one that was made. Concurrency: one thread. Limits: whoever may write to the socket's folder
// can put another socket in its place; keep that to marud's user.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/file_lock.hpp"
#include "base/server_address.hpp"
#include "base/unique_fd.hpp"

namespace maru::net {

struct socket_file_options {
  unsigned mode = 0600;
  std::optional<gid_t> group;  // empty: the process's own
};

class listener {
public:
  // `in_use`: somebody listens there. `io`: the address is not this host's, or the file cannot be made.
  // `unknown_contents`: the path is something else than a socket, and stays.
  static result<listener> open(const server_address& where, const socket_file_options& file = {});
  listener(listener&&) noexcept = default;
  listener& operator=(listener&&) = delete;
  ~listener();

  int fd() const { return socket_.get(); }
  // With the port that was taken for port 0.
  const server_address& address() const { return address_; }

private:
  struct made_file {
    dev_t device;
    ino_t inode;
  };

  listener(unique_fd socket, server_address address) : socket_(std::move(socket)), address_(std::move(address)) {}
  static result<listener> open_tcp(const server_address& where);
  static result<listener> open_unix(const server_address& where, const socket_file_options& file);

  unique_fd socket_;
  server_address address_;
  file_lock lock_;
  std::optional<made_file> file_;
};

}  // namespace maru::net
