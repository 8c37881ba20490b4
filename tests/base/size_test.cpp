// Goal: sizes are read as people mean them and anything doubtful is refused. Method: a table of spellings; printing
// and reading back.
#include "base/size.hpp"

#include <gtest/gtest.h>

#include <string>

namespace maru {
namespace {

constexpr std::uint64_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB, TiB = 1024 * GiB;

TEST(ParseSize, ReadsNumbersAndUnits) {
  struct spelling {
    const char* text;
    std::uint64_t bytes;
  };
  for (auto [text, bytes] : {spelling{"0", 0},
                             {"1", 1},
                             {"4096", 4096},
                             {"4096B", 4096},
                             {"64K", 64 * KiB},
                             {"64KiB", 64 * KiB},
                             {"64kib", 64 * KiB},
                             {"64kB", 64'000},
                             {"256MiB", 256 * MiB},
                             {"256m", 256 * MiB},
                             {"256MB", 256'000'000},
                             {"1.5GiB", GiB + GiB / 2},
                             {"2G", 2 * GiB},
                             {"3GB", 3'000'000'000},
                             {"1TiB", TiB},
                             {"1T", TiB},
                             {"2TB", 2'000'000'000'000},
                             {"1 MiB", MiB},
                             {"0.5KiB", 512},
                             {"9007199254740993", 9007199254740993},
                             {"9223372036854775807", 9223372036854775807}}) {
    auto read = parse_size(text);
    ASSERT_TRUE(read) << text << ": " << read.error().message;
    EXPECT_EQ(*read, bytes) << text;
  }
}

TEST(ParseSize, RefusesTheRestAndSaysWhat) {
  for (const char* text : {"",
                           " ",
                           "MiB",
                           "-1",
                           "+1",
                           "1.5",
                           "1.5.5MiB",
                           ".",
                           ".KiB",
                           "1e3",
                           "0x10",
                           "1 2",
                           "12MiBs",
                           "1EiB",
                           "nan",
                           "inf",
                           "9223372036854775808",
                           "99999999999999999999",
                           "99999999TiB",
                           "1,5MiB"}) {
    auto read = parse_size(text);
    ASSERT_FALSE(read) << text << " read as " << *read;
    EXPECT_EQ(read.code(), ec::bad_option);
    EXPECT_NE(read.error().message.find("'" + std::string{text} + "'"), std::string::npos) << read.error().message;
  }
}

TEST(FormatSize, IsShortAndExactWhereItCanBe) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(KiB), "1 KiB");
  EXPECT_EQ(format_size(KiB + KiB / 2), "1.50 KiB");
  EXPECT_EQ(format_size(64 * MiB), "64 MiB");
  EXPECT_EQ(format_size(3 * GiB), "3 GiB");
  EXPECT_EQ(format_size(5 * TiB), "5 TiB");
  EXPECT_EQ(format_size(~0ull), "16777216 TiB");
}

TEST(FormatSize, OfWholeUnitsIsReadBack) {
  for (std::uint64_t n : {1ul, 7ul, 1000ul})
    for (std::uint64_t unit : {std::uint64_t{1}, KiB, MiB, GiB, TiB})
      EXPECT_EQ(*parse_size(format_size(n * unit)), n * unit);
}

TEST(Align, RoundsToMultiples) {
  EXPECT_EQ(align_up(0, 4096), 0u);
  EXPECT_EQ(align_up(1, 4096), 4096u);
  EXPECT_EQ(align_up(4096, 4096), 4096u);
  EXPECT_EQ(align_up(10, 3), 12u);
  EXPECT_EQ(align_down(4095, 4096), 0u);
  EXPECT_EQ(align_down(4096, 4096), 4096u);
}

}  // namespace
}  // namespace maru
