// Goal: a record is read as it was written, and a cut one is noticed without reading past its end. Method: one record
// with a field of every kind, whole and cut at every length.
#include "base/codec.hpp"

#include <gtest/gtest.h>

#include <string>

namespace maru {
namespace {

std::string a_record() {
  std::string out;
  writer w{out};
  w.number(std::uint8_t{0x11}).number(std::uint16_t{0x2233}).number(std::uint32_t{0x44556677});
  w.number(std::uint64_t{0x8899aabbccddeeff}).hash({1, 2}).text("key").text("").raw("raw", 3);
  return out;
}

TEST(Codec, WritesLittleEndianWithoutPadding) {
  std::string out;
  writer{out}.number(std::uint32_t{0x01020304}).text("ab").hash({5, 6});
  EXPECT_EQ(out, (std::string{"\x04\x03\x02\x01\x02\x00"
                              "ab\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0",
                              24}));
}

TEST(Codec, AppendsToWhatIsThere) {
  std::string out = "before";
  writer{out}.number(std::uint8_t{'!'});
  EXPECT_EQ(out, "before!");
}

TEST(Codec, ReadsBackEveryField) {
  auto record = a_record();
  reader r{record};
  EXPECT_EQ(r.number<std::uint8_t>(), 0x11);
  EXPECT_EQ(r.number<std::uint16_t>(), 0x2233);
  EXPECT_EQ(r.number<std::uint32_t>(), 0x44556677u);
  EXPECT_EQ(r.number<std::uint64_t>(), 0x8899aabbccddeeffu);
  EXPECT_EQ(r.hash(), (key_hash{1, 2}));
  EXPECT_EQ(r.text(), "key");
  EXPECT_EQ(r.text(), "");
  EXPECT_EQ(r.remaining(), 3u);
  EXPECT_FALSE(r.at_end());
  EXPECT_EQ(r.bytes(3), "raw");
  EXPECT_TRUE(r.ok());
  EXPECT_TRUE(r.at_end());
}

TEST(Codec, EveryCutIsNoticed) {
  auto record = a_record();
  for (std::size_t n = 0; n < record.size(); ++n) {
    auto cut = record.substr(0, n);  // of its own, so that a sanitizer sees a read past the end
    reader r{cut};
    r.number<std::uint8_t>();
    r.number<std::uint16_t>();
    r.number<std::uint32_t>();
    r.number<std::uint64_t>();
    r.hash();
    r.text();
    r.text();
    r.bytes(3);
    EXPECT_FALSE(r.ok()) << n;
    EXPECT_TRUE(r.at_end());
  }
}

TEST(Codec, AfterAReadPastTheEndEveryValueIsZeroOrEmpty) {
  reader r{"\x01\x02\x03"};
  EXPECT_EQ(r.number<std::uint64_t>(), 0u);
  EXPECT_EQ(r.number<std::uint8_t>(), 0u) << "though three bytes were there";
  EXPECT_EQ(r.text(), "");
  EXPECT_EQ(r.bytes(1), "");
  EXPECT_EQ(r.hash(), key_hash{});
  char untouched = 'x';
  r.raw(&untouched, 1);
  EXPECT_EQ(untouched, 'x');
  EXPECT_FALSE(r.ok());
}

TEST(Codec, TextThatSaysItIsLongerThanTheRecordIsRefused) {
  reader r{
    std::string_view{"\xff\xff"
                     "abc",
                     5}};
  EXPECT_EQ(r.text(), "");
  EXPECT_FALSE(r.ok());
}

TEST(Codec, LongestTextIsKept) {
  std::string out, longest(65535, 'x');
  writer{out}.text(longest);
  reader r{out};
  EXPECT_EQ(r.text(), longest);
  EXPECT_TRUE(r.ok() && r.at_end());
}

TEST(Codec, NothingIsLeftToReadOfNothing) {
  reader r{""};
  EXPECT_TRUE(r.ok());
  EXPECT_TRUE(r.at_end());
  EXPECT_EQ(r.bytes(0), "");
  EXPECT_TRUE(r.ok());
}

}  // namespace
}  // namespace maru
