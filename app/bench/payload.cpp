#include "app/bench/payload.hpp"

#include <algorithm>
#include <cstring>

#include "app/bench/random.hpp"

namespace maru::bench {

namespace {

constexpr std::size_t word = sizeof(std::uint64_t);
constexpr std::size_t cache_line = 64;

struct sequence {
  std::uint64_t start, step;
  std::uint64_t at(std::size_t i) const { return start + i * step; }
};

sequence block_sequence(std::uint64_t seed, std::size_t block) {
  return {mix(seed + 2 * block + 1), mix(seed + 2 * block + 2) | 1};
}

std::size_t wrong_in_block(sequence s, std::span<const std::byte> bytes) {
  std::uint64_t differs = 0;
  std::size_t words = bytes.size() / word;
  for (std::size_t i = 0; i < words; ++i) {
    std::uint64_t have;
    std::memcpy(&have, bytes.data() + i * word, word);
    differs |= have ^ s.at(i);
  }
  if (differs == 0 && words * word == bytes.size())
    return 0;
  std::size_t wrong = 0;  // the slow way, only for blocks that are wrong and for a last odd piece
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto expected = static_cast<std::byte>(s.at(i / word) >> (8 * (i % word)));
    wrong += bytes[i] != expected;
  }
  return wrong;
}

std::size_t wrong_bytes(std::uint64_t seed, std::span<const std::byte> bytes, std::size_t per_block) {
  std::size_t wrong = 0;
  for (std::size_t at = 0, block = 0; at < bytes.size(); at += payload_block_bytes, ++block)
    wrong += wrong_in_block(block_sequence(seed, block), bytes.subspan(at, std::min(per_block, bytes.size() - at)));
  return wrong;
}

}  // namespace

std::uint64_t payload_seed(std::string_view key) {
  std::uint64_t h = key.size();
  while (key.size() >= word) {
    std::uint64_t piece;
    std::memcpy(&piece, key.data(), word);
    h = mix(h ^ piece) + 0x9e3779b97f4a7c15ull;
    key.remove_prefix(word);
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, key.data(), key.size());
  return mix(h ^ rest);
}

void fill_payload(std::uint64_t seed, std::span<std::byte> out) {
  for (std::size_t at = 0, block = 0; at < out.size(); at += payload_block_bytes, ++block) {
    auto s = block_sequence(seed, block);
    auto piece = out.subspan(at, std::min(payload_block_bytes, out.size() - at));
    std::size_t words = piece.size() / word;
    for (std::size_t i = 0; i < words; ++i) {
      std::uint64_t value = s.at(i);
      std::memcpy(piece.data() + i * word, &value, word);
    }
    std::uint64_t last = s.at(words);
    if (auto rest = piece.size() % word)
      std::memcpy(piece.data() + words * word, &last, rest);
  }
}

std::size_t wrong_payload_bytes(std::uint64_t seed, std::span<const std::byte> bytes) {
  return wrong_bytes(seed, bytes, payload_block_bytes);
}

std::size_t wrong_payload_bytes_sampled(std::uint64_t seed, std::span<const std::byte> bytes) {
  return wrong_bytes(seed, bytes, cache_line);
}

}  // namespace maru::bench
