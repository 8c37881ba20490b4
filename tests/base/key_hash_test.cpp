// Goal: hash_key() is SipHash-2-4 with 128 bits of output, so that client and server of any build agree. Method: two
// vectors of the function's authors, and an implementation of its definition written here (Aumasson and Bernstein,
// "SipHash: a fast short-input PRF", 2012, and the 128-bit variant of their reference code).
#include "base/key_hash.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <set>
#include <string>

namespace maru {
namespace {

struct sip_state {
  std::uint64_t v0, v1, v2, v3;

  void rounds(int n) {
    for (; n > 0; --n) {
      v0 += v1;
      v2 += v3;
      v1 = std::rotl(v1, 13) ^ v0;
      v3 = std::rotl(v3, 16) ^ v2;
      v0 = std::rotl(v0, 32);
      v2 += v1;
      v0 += v3;
      v1 = std::rotl(v1, 17) ^ v2;
      v3 = std::rotl(v3, 21) ^ v0;
      v2 = std::rotl(v2, 32);
    }
  }
  void word(std::uint64_t m) {
    v3 ^= m;
    rounds(2);
    v0 ^= m;
  }
};

key_hash by_definition(const hash_secret& secret, const std::string& key) {
  std::uint64_t k[2];
  std::memcpy(k, secret.data(), 16);
  sip_state s{k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d ^ 0xee, k[0] ^ 0x6c7967656e657261,
              k[1] ^ 0x7465646279746573};
  for (std::size_t i = 0; i <= key.size() / 8; ++i) {
    std::uint64_t m = 0;
    auto rest = std::min<std::size_t>(8, key.size() - i * 8);
    std::memcpy(&m, key.data() + i * 8, rest);
    if (rest < 8)
      m |= std::uint64_t{key.size() & 0xff} << 56;
    s.word(m);
  }
  s.v2 ^= 0xee;
  s.rounds(4);
  key_hash out;
  out.low = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
  s.v1 ^= 0xdd;
  s.rounds(4);
  out.high = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
  return out;
}

hash_secret counting_secret() {
  hash_secret secret;
  for (std::size_t i = 0; i < secret.size(); ++i)
    secret[i] = static_cast<std::uint8_t>(i);
  return secret;
}

TEST(KeyHash, AgreesWithThePublishedVectors) {
  EXPECT_EQ(hash_key(counting_secret(), ""), (key_hash{0xe6a825ba047f81a3, 0x930255c71472f66d}));
  EXPECT_EQ(hash_key(counting_secret(), std::string(1, '\0')), (key_hash{0x44af996bd8c187da, 0x45fc229b11597634}));
}

TEST(KeyHash, AgreesWithTheDefinitionAtEveryLength) {
  std::mt19937_64 random{2};
  std::string key;
  for (std::size_t size = 0; size <= 1024; ++size) {
    hash_secret secret;
    for (auto& b : secret)
      b = static_cast<std::uint8_t>(random());
    ASSERT_EQ(hash_key(secret, key), by_definition(secret, key)) << size;
    key += static_cast<char>(random());
  }
}

TEST(KeyHash, DependsOnEveryBitOfKeyAndSecret) {
  std::set<key_hash> seen{hash_key(counting_secret(), "0123456789")};
  for (int bit = 0; bit < 128; ++bit) {
    auto secret = counting_secret();
    secret[static_cast<std::size_t>(bit / 8)] ^= static_cast<std::uint8_t>(1 << (bit % 8));
    seen.insert(hash_key(secret, "0123456789"));
  }
  for (int bit = 0; bit < 80; ++bit) {
    std::string key = "0123456789";
    key[static_cast<std::size_t>(bit / 8)] ^= static_cast<char>(1 << (bit % 8));
    seen.insert(hash_key(counting_secret(), key));
  }
  EXPECT_EQ(seen.size(), 1u + 128 + 80);
}

TEST(KeyHash, ZeroBytesAtTheEndCount) {
  EXPECT_NE(hash_key({}, "a"), hash_key({}, std::string("a\0", 2)));
  EXPECT_NE(hash_key({}, ""), hash_key({}, std::string("\0", 1)));
}

}  // namespace
}  // namespace maru
