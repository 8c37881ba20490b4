// Goal: sizes, addresses, hexadecimal digits and UUIDs are read as people write them, or refused (base/size.hpp,
// host_port.hpp, server_address.hpp, hex.hpp, uuid.hpp). Method: the bytes as each of them; what was read is written
// and read again.
#include <algorithm>
#include <cctype>

#include "base/hex.hpp"
#include "base/host_port.hpp"
#include "base/server_address.hpp"
#include "base/size.hpp"
#include "base/uuid.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

std::string lower(std::string_view text) {
  std::string out{text};
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

void try_size(std::string_view text) {
  constexpr std::uint64_t written_back_max = std::uint64_t{1} << 62;  // two digits may round up past 63 bits
  auto size = parse_size(text);
  if (!size) {
    must(size.code() == ec::bad_option && !size.error().message.empty(), "a refusal says why");
    return;
  }
  must(*size <= INT64_MAX, "a size has 63 bits");
  auto same = parse_size(lower(text));
  must(same && *same == *size, "the case of a unit does not matter");
  auto plain = parse_size(std::to_string(*size));
  must(plain && *plain == *size, "plain bytes are exact");
  if (*size > written_back_max)
    return;
  auto rounded = parse_size(format_size(*size));
  must(bool{rounded}, "what is shown can be read");
  auto off = *rounded > *size ? *rounded - *size : *size - *rounded;
  must(off <= *size / 100, "what is shown is off by 1 % at most");
}

void try_address(std::string_view text) {
  auto address = parse_host_port(text);
  if (!address) {
    must(address.code() == ec::bad_option && !address.error().message.empty(), "a refusal says why");
    return;
  }
  must(!address->host.empty(), "an address has a host");
  must(address->host.find_first_of("[] \t/") == std::string::npos, "a host has no brackets, blanks or slashes");
  bool is_v6 = address->host.find(':') != std::string::npos;
  auto written = (is_v6 ? "[" + address->host + "]" : address->host) + ":" + std::to_string(address->port);
  auto again = parse_host_port(written);
  must(again && again->host == address->host && again->port == address->port, "an address survives");
  if (is_loopback(address->host))
    must(lower(address->host).find_first_not_of("0123456789abcdef.:") == std::string::npos,
         "a loopback address is made of digits");
}

void try_server_address(std::string_view text) {
  auto address = parse_server_address(text);
  if (!address) {
    must(address.code() == ec::bad_option && !address.error().message.empty(), "a refusal says why");
    return;
  }
  must(address->path.size() <= socket_path_bytes_max, "a path fits a socket");
  must(address->path.find_first_of(std::string_view{",\0", 2}) == std::string::npos, "a path ends nowhere else");
  auto again = parse_server_address(to_string(*address));
  must(again && to_string(*again) == to_string(*address) && again->path == address->path,
       "a server's address survives");
}

void try_hex(std::string_view text) {
  must(from_hex(to_hex(text)) == text, "bytes survive as digits");
  auto bytes = from_hex(text);
  if (bytes)
    must(to_hex(*bytes) == lower(text), "digits survive as bytes");
  else
    must(text.size() % 2 != 0 || text.find_first_not_of("0123456789abcdefABCDEF") != text.npos,
         "an even number of digits is read");
}

void try_uuid(std::string_view text) {
  auto id = parse_uuid(text);
  if (!id)
    return;
  auto shown = to_string(*id);
  must(parse_uuid(shown) && *parse_uuid(shown) == *id, "a UUID survives");
  auto digits = [](std::string s) { return std::erase(s, '-'), s; };
  must(digits(shown) == digits(lower(text)), "a UUID has the digits that were read");
}

}  // namespace

void try_input(std::string_view bytes) {
  try_size(bytes);
  try_address(bytes);
  try_server_address(bytes);
  try_hex(bytes);
  try_uuid(bytes);
}

}  // namespace maru::fuzz
