// "HOST:PORT" as options write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace maru {

struct host_port {
  std::string host;  // without the brackets of an IPv6 address; 127.0.0.1 for localhost
  std::uint16_t port = 0;
};

// Splits "127.0.0.1:5555", "name:5555" or "[::1]:5555". `bad_option` for anything else, such as a missing port or an
// IPv6 address without brackets.
result<host_port> parse_host_port(std::string_view text);

// True for localhost, ::1 and every address of 127.0.0.0/8. Names are not resolved: what a resolver says today may
// change tomorrow.
bool is_loopback(std::string_view host);

}  // namespace maru
