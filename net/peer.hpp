// Who is at the other end of a connection, and whether they may come in.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace maru::net {

// Of TCP: the address. Of a Unix socket: what the kernel says of the process that connected, as seen from this
// process's user namespace.
struct peer {
  // What connections are counted by: an address (IPv6: the network of 64 bits; all of loopback is one), or a user.
  std::string key;
  std::string text;  // for people: "10.0.0.7 port 41234", "pid 4711, uid 1000, gid 1000"
  bool local_user = false;
  uid_t uid = 0;
  std::vector<gid_t> gids;  // the first and the further ones
};

// `io`: the socket is not connected any more.
result<peer> peer_of(int socket);

// Users and groups whose processes may come through Unix sockets. None of both: all.
struct allowed_users {
  std::vector<uid_t> uids;
  std::vector<gid_t> gids;

  bool admits(const peer& who) const;
};

// Reads names and numbers with commas between them. `bad_option`: a name that this system does not know.
result<std::vector<uid_t>> parse_uids(const std::string& list);
result<std::vector<gid_t>> parse_gids(const std::string& list);

// Counts the connections of each peer and of all.
// Concurrency: any thread.
class connection_count {
public:
  explicit connection_count(std::size_t peer_max) : shared_(std::make_shared<shared>()), peer_max_(peer_max) {}

  // Counts one more until the ticket is let go; may outlive this object. Null: there are `all_max` in all already, or as
  // many of this peer as may be; `why`: which.
  enum class full { no, all, peer };
  std::shared_ptr<const void> enter(const std::string& key, std::size_t all_max, full& why);
  std::size_t of(const std::string& key) const;
  std::size_t all() const;

private:
  struct shared {
    std::mutex mutex;
    std::map<std::string, std::size_t> by_key;
    std::size_t all = 0;
  };

  const std::shared_ptr<shared> shared_;
  const std::size_t peer_max_;
};

}  // namespace maru::net
