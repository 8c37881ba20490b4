// Goal: a wrong byte is always seen. Method: payloads of odd sizes against themselves, with each kind of damage: a
// flipped bit anywhere, another key's page, a page shifted by a block, zeros.
#include "app/bench/payload.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace maru::bench {
namespace {

std::vector<std::byte> payload_of(const std::string& key, std::size_t size) {
  std::vector<std::byte> bytes(size);
  fill_payload(payload_seed(key), bytes);
  return bytes;
}

TEST(Payload, IsAFunctionOfTheKeyForAllSizes) {
  for (std::size_t size : {0, 1, 7, 8, 9, 63, 4095, 4096, 4097, 8192, 10'001}) {
    auto bytes = payload_of("trace/4096/7", size);
    EXPECT_EQ(bytes, payload_of("trace/4096/7", size));
    EXPECT_EQ(wrong_payload_bytes(payload_seed("trace/4096/7"), bytes), 0u) << size;
    EXPECT_EQ(wrong_payload_bytes_sampled(payload_seed("trace/4096/7"), bytes), 0u) << size;
  }
}

TEST(Payload, EveryFlippedBitIsOneWrongByte) {
  auto seed = payload_seed("k");
  auto bytes = payload_of("k", 4096 + 13);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{static_cast<unsigned char>(1u << (i % 8))};
    ASSERT_EQ(wrong_payload_bytes(seed, bytes), 1u) << i;
    bytes[i] ^= std::byte{static_cast<unsigned char>(1u << (i % 8))};
  }
}

TEST(Payload, PagesOfOtherKeysAndZerosAreWrong) {
  auto seed = payload_seed("trace/4096/7");
  for (const char* other : {"trace/4096/8", "trace/4096/70", "trace/4096/", ""}) {
    EXPECT_GT(wrong_payload_bytes(seed, payload_of(other, 4096)), 3500u) << other;
    EXPECT_GT(wrong_payload_bytes_sampled(seed, payload_of(other, 4096)), 40u) << other;
  }
  EXPECT_GT(wrong_payload_bytes(seed, std::vector<std::byte>(4096)), 4000u);
}

TEST(Payload, BlocksOfOneChunkCannotBeSwapped) {
  auto bytes = payload_of("k", 8192);
  std::rotate(bytes.begin(), bytes.begin() + 4096, bytes.end());
  EXPECT_GT(wrong_payload_bytes(payload_seed("k"), bytes), 7000u);
  EXPECT_GT(wrong_payload_bytes_sampled(payload_seed("k"), bytes), 80u);
}

TEST(Payload, SeedsOfManyKeysDiffer) {
  std::set<std::uint64_t> seeds;
  for (int i = 0; i < 100'000; ++i)
    seeds.insert(payload_seed("trace/4096/" + std::to_string(i)));
  EXPECT_EQ(seeds.size(), 100'000u);
}

}  // namespace
}  // namespace maru::bench
