// Goal: crc32c() is the CRC-32C of RFC 3720. Method: the vectors of its appendix B.4, the check value of the
// polynomial, and a bitwise computation for every length that the fast code treats differently.
#include "base/crc32c.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace maru {
namespace {

using bytes = std::vector<std::uint8_t>;

std::uint32_t bit_by_bit(const std::uint8_t* data, std::size_t size) {
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit)
      crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);  // the reversed Castagnoli polynomial
  }
  return ~crc;
}

TEST(Crc32c, AgreesWithThePublishedVectors) {
  bytes up(32), down(32);
  std::iota(up.begin(), up.end(), std::uint8_t{0});
  std::iota(down.rbegin(), down.rend(), std::uint8_t{0});
  EXPECT_EQ(crc32c(bytes(32, 0x00).data(), 32), 0x8a9136aau);
  EXPECT_EQ(crc32c(bytes(32, 0xff).data(), 32), 0x62a8ab43u);
  EXPECT_EQ(crc32c(up.data(), 32), 0x46dd794eu);
  EXPECT_EQ(crc32c(down.data(), 32), 0x113fdb5cu);
  EXPECT_EQ(crc32c("123456789", 9), 0xe3069283u);
}

TEST(Crc32c, OfNothingIsZero) { EXPECT_EQ(crc32c("", 0), 0u); }

TEST(Crc32c, AgreesWithTheDefinitionAtEveryLengthAndAlignment) {
  std::mt19937 random{1};
  bytes data(2000);
  for (auto& b : data)
    b = static_cast<std::uint8_t>(random());
  for (std::size_t size = 0; size < 1200; size += size < 300 ? 1 : 37)
    for (std::size_t start : {0, 1, 7})
      ASSERT_EQ(crc32c(data.data() + start, size), bit_by_bit(data.data() + start, size)) << size << " at " << start;
}

}  // namespace
}  // namespace maru
