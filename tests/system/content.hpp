// What a test stores under a key: bytes that follow from the key, so that a reader can tell wrong ones.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace maru::test {

inline std::string content_of(std::string_view key, std::size_t size) {
  std::uint64_t state = std::hash<std::string_view>{}(key);
  std::string out(size, '\0');
  for (auto& c : out) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    c = static_cast<char>(state >> 56);
  }
  return out;
}

}  // namespace maru::test
