// How a device is named everywhere, by one text: PATH[,size=SIZE][,node=N].
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace maru {

struct device_spec {
  std::string path;
  std::uint64_t size = 0;        // bytes of data; 0: as the device, its file or the pool on it has it
  std::optional<int> node = {};  // NUMA node that the file's memory comes from (tmpfs and hugetlbfs)
  friend bool operator==(const device_spec&, const device_spec&) = default;
};

// `bad_option`: no path, an unknown word, or a number that is none.
result<device_spec> parse_device_spec(std::string_view text);
// Several, with semicolons between them; empty for an empty text.
result<std::vector<device_spec>> parse_device_specs(std::string_view text);
// What parse_device_spec reads back.
std::string to_string(const device_spec& spec);
// With the path that all its names lead to: links are followed. `bad_option`: empty. `invalid`: a link to nothing.
result<device_spec> with_real_path(device_spec spec);

}  // namespace maru
