// Goal: what people read lines up. Method: small tables and known numbers, compared as text.
#include "app/maructl/table.hpp"

#include <gtest/gtest.h>

namespace maru::ctl {
namespace {

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  table t{{{"key", table::align::left}, {"bytes", table::align::right}, {"owner"}}};
  t.add({"a", "1", "x"});
  t.add({"long-key", "1,000,000", ""});
  EXPECT_EQ(t.text(),
            "key           bytes  owner\n"
            "a                 1  x\n"
            "long-key  1,000,000\n");
}

TEST(Table, TitlesStandOverNoRows) {
  table t{{{"a"}, {"b"}}};
  EXPECT_TRUE(t.empty());
  EXPECT_EQ(t.text(), "a  b\n");
}

TEST(Table, LettersBeyondAsciiTakeOneColumn) {
  table t{{{"é"}, {"b"}}};
  t.add({"xx", "y"});
  EXPECT_EQ(t.text(), "é   b\nxx  y\n");
}

TEST(Table, NumbersAreGroupedByThousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(18446744073709551615ull), "18,446,744,073,709,551,615");
}

TEST(Table, DurationsShowTheirTwoLargestUnits) {
  EXPECT_EQ(duration_text(0), "0.0s");
  EXPECT_EQ(duration_text(1234), "1.2s");
  EXPECT_EQ(duration_text(65'200), "1m 5s");
  EXPECT_EQ(duration_text(3'725'000), "1h 2m");
  EXPECT_EQ(duration_text(93'784'000), "1d 2h");
}

}  // namespace
}  // namespace maru::ctl
