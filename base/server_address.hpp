// Where a marud is reached: over TCP or through a Unix socket. What `--listen`, `--server` and client_options::server
// take.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/host_port.hpp"

namespace maru {

struct server_address {
  host_port tcp;     // unless it is a Unix socket
  std::string path;  // of a Unix socket, absolute; empty: TCP

  bool is_unix() const { return !path.empty(); }
  // True where only this host reaches it.
  bool local() const { return is_unix() || is_loopback(tcp.host); }
};

inline constexpr std::size_t socket_path_bytes_max = 107;  // sun_path of Linux, less its end

// Reads "HOST:PORT", also behind "tcp://" or "maru://", and "unix:/PATH", also as "unix:///PATH". `bad_option` for
// anything else: no port, a path that is relative, too long for a socket, or holds a NUL or a comma.
result<server_address> parse_server_address(std::string_view text);

// One or more, with commas between them. `bad_option`: none, one that is no address, or one twice.
result<std::vector<server_address>> parse_server_addresses(std::string_view text);

// "127.0.0.1:5555", "[::1]:5555" or "unix:/run/maru/maru.sock": reads back as the same.
std::string to_string(const server_address& address);

}  // namespace maru
