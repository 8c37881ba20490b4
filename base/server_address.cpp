#include "base/server_address.hpp"

#include <algorithm>

#include "base/text_list.hpp"

namespace maru {

namespace {

result<server_address> parse_socket_path(std::string_view text, std::string_view path) {
  auto bad = [&](const std::string& cause) {
    return error{ec::bad_option, "failed to read address '" + std::string{text} + "': " + cause};
  };
  if (path.starts_with("//"))
    path.remove_prefix(2);
  constexpr std::string_view in_no_path{",\0", 2};
  if (!path.starts_with('/') || path.starts_with("//") || path.ends_with('/')
      || path.find_first_of(in_no_path) != path.npos)
    return bad("write unix: and the absolute path of a socket, such as unix:/run/maru/maru.sock");
  if (path.size() > socket_path_bytes_max)
    return bad("the path of a socket has at most " + std::to_string(socket_path_bytes_max) + " bytes");
  return server_address{{}, std::string{path}};
}

}  // namespace

result<server_address> parse_server_address(std::string_view text) {
  constexpr std::string_view unix_scheme = "unix:";
  if (text.starts_with(unix_scheme))
    return parse_socket_path(text, text.substr(unix_scheme.size()));
  auto rest = text;
  for (std::string_view scheme : {"tcp://", "maru://"})
    if (text.starts_with(scheme))
      rest = text.substr(scheme.size());
  auto tcp = parse_host_port(rest);
  if (!tcp)
    return {ec::bad_option, "failed to read address '" + std::string{text}
                              + "': write HOST:PORT, such as 127.0.0.1:5555, or unix:/PATH"};
  return server_address{*std::move(tcp), {}};
}

result<std::vector<server_address>> parse_server_addresses(std::string_view text) {
  std::vector<server_address> out;
  for (auto item : split_list(text)) {
    auto one = parse_server_address(item);
    if (!one)
      return one.error();
    // Port 0 takes a free one, each time another.
    bool twice = std::any_of(out.begin(), out.end(), [&](const server_address& known) {
      return to_string(known) == to_string(*one) && (known.is_unix() || known.tcp.port != 0);
    });
    if (twice)
      return {ec::bad_option, "failed to read addresses: '" + std::string{item} + "' is there twice"};
    out.push_back(*std::move(one));
  }
  if (out.empty())
    return {ec::bad_option, "failed to read addresses: there is none"};
  return out;
}

std::string to_string(const server_address& address) {
  if (address.is_unix())
    return "unix:" + address.path;
  const auto& [host, port] = address.tcp;
  auto scheme = host == "unix" ? "tcp://" : "";  // a host of that name
  return scheme + (host.find(':') == host.npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

}  // namespace maru
