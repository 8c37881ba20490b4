#include "base/uuid.hpp"

#include <sys/random.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace maru {

void random_bytes(void* data, std::size_t size) {
  auto* p = static_cast<std::uint8_t*>(data);
  while (size > 0) {
    auto n = ::getrandom(p, size, 0);
    if (n < 0)
      std::abort();  // no randomness: nothing here can be safe
    p += n;
    size -= static_cast<std::size_t>(n);
  }
}

std::uint64_t random_u64() {
  std::uint64_t n = 0;
  random_bytes(&n, sizeof n);
  return n;
}

uuid random_uuid() {
  uuid id;
  random_bytes(id.bytes.data(), id.bytes.size());
  id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x40);
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id;
}

std::string to_string(const uuid& id) {
  std::string out;
  char two[3];
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      out += '-';
    std::snprintf(two, sizeof two, "%02x", id.bytes[i]);
    out += two;
  }
  return out;
}

result<uuid> parse_uuid(std::string_view text) {
  uuid id;
  std::size_t digits = 0;
  for (char c : text) {
    if (c == '-')
      continue;
    int v = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : -1;
    if (v < 0 || digits == 32)
      return {ec::invalid, "failed to read UUID '" + std::string{text} + "'"};
    id.bytes[digits / 2] = static_cast<std::uint8_t>(id.bytes[digits / 2] << 4 | v);
    ++digits;
  }
  if (digits != 32)
    return {ec::invalid, "failed to read UUID '" + std::string{text} + "'"};
  return id;
}

uuid host_boot_id() {
  std::ifstream in{"/proc/sys/kernel/random/boot_id"};
  std::string text;
  in >> text;
  auto id = parse_uuid(text);
  return id ? *id : uuid{};
}

std::string host_id() {
  std::ifstream in{"/etc/machine-id"};
  std::string text;
  in >> text;
  return text.empty() ? to_string(host_boot_id()) : text;
}

}  // namespace maru
