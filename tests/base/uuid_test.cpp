// Goal: UUIDs are random, well formed and read back. Method: many drawn; the text form taken apart.
#include "base/uuid.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>

namespace maru {
namespace {

TEST(Uuid, RandomOnesDifferAndAreOfVersionFour) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    auto text = to_string(random_uuid());
    seen.insert(text);
    ASSERT_EQ(text.size(), 36u);
    EXPECT_EQ(text[14], '4') << text;
    EXPECT_NE(std::string{"89ab"}.find(text[19]), std::string::npos) << text;
    for (auto dash : {8u, 13u, 18u, 23u})
      EXPECT_EQ(text[dash], '-');
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(Uuid, TextIsReadBack) {
  for (int i = 0; i < 100; ++i) {
    auto id = random_uuid();
    auto read = parse_uuid(to_string(id));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, id);
  }
  auto upper = parse_uuid("00112233-4455-6677-8899-AABBCCDDEEFF");
  ASSERT_TRUE(upper);
  EXPECT_EQ(to_string(*upper), "00112233-4455-6677-8899-aabbccddeeff");
}

TEST(Uuid, BadTextIsRefused) {
  for (const char* text : {"", "-", "0", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
                           "00112233-4455-6677-8899-aabbccddeefg", "00112233 4455 6677 8899 aabbccddeeff"}) {
    auto read = parse_uuid(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.code(), ec::invalid);
  }
}

TEST(Uuid, OnlyZerosAreNil) {
  EXPECT_TRUE(uuid{}.is_nil());
  EXPECT_FALSE(random_uuid().is_nil());
  uuid last;
  last.bytes[15] = 1;
  EXPECT_FALSE(last.is_nil());
}

TEST(RandomBytes, FillAllOfTheBufferAndNothingBeyond) {
  std::array<std::uint8_t, 300> buffer;
  std::array<bool, 256> changed{};
  for (int round = 0; round < 20; ++round) {
    buffer.fill(0);
    random_bytes(buffer.data(), 256);
    for (std::size_t i = 0; i < 256; ++i)
      changed[i] = changed[i] || buffer[i] != 0;
    EXPECT_TRUE(std::all_of(buffer.begin() + 256, buffer.end(), [](auto b) { return b == 0; }));
  }
  EXPECT_TRUE(std::all_of(changed.begin(), changed.end(), [](bool c) { return c; }));
  random_bytes(nullptr, 0);
  EXPECT_NE(random_u64(), random_u64());
}

TEST(HostIds, AreThereAndStay) {
  EXPECT_FALSE(host_boot_id().is_nil());
  EXPECT_EQ(host_boot_id(), host_boot_id());
  EXPECT_FALSE(host_id().empty());
  EXPECT_EQ(host_id(), host_id());
}

}  // namespace
}  // namespace maru
