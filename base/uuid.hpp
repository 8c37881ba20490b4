// 128 random bits that name a pool, a device or an incarnation.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace maru {

struct uuid {
  std::array<std::uint8_t, 16> bytes{};
  friend bool operator==(const uuid&, const uuid&) = default;
  bool is_nil() const { return *this == uuid{}; }
};

// A version-4 UUID from the kernel's random source.
uuid random_uuid();

// "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
std::string to_string(const uuid& id);
result<uuid> parse_uuid(std::string_view text);

// `size` bytes from getrandom(2).
void random_bytes(void* data, std::size_t size);
std::uint64_t random_u64();

// The kernel's boot id of this host: changes with every boot.
uuid host_boot_id();

// A stable id of this host: /etc/machine-id, or the boot id where there is none.
std::string host_id();

}  // namespace maru
