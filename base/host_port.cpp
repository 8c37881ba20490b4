#include "base/host_port.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace maru {

result<host_port> parse_host_port(std::string_view text) {
  auto bad = [&] {
    return error{ec::bad_option,
                 "failed to read address '" + std::string{text} + "': write HOST:PORT, such as 127.0.0.1:5555"};
  };
  auto colon = text.rfind(':');
  if (colon == text.npos)
    return bad();
  auto host = text.substr(0, colon);
  auto port = text.substr(colon + 1);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed)
    host = host.substr(1, host.size() - 2);
  if (host.find_first_of(bracketed ? "[]" : "[]:") != host.npos)
    return bad();
  host_port out;
  auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  constexpr std::string_view in_no_host{" \t/\0", 4};  // system calls would take a name up to a NUL
  if (host.empty() || host.find_first_of(in_no_host) != host.npos || code != std::errc{}
      || end != port.data() + port.size())
    return bad();
  // No resolver is asked for this name (RFC 6761, 6.3): it may not know it, or say what is no loopback.
  out.host = host == "localhost" ? "127.0.0.1" : host;
  return out;
}

bool is_loopback(std::string_view host) {
  std::string text{host};
  in_addr v4{};
  in6_addr v6{};
  if (text == "localhost")
    return true;
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1)
    return (ntohl(v4.s_addr) >> 24) == 127;
  return ::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace maru
