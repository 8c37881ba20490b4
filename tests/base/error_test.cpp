// Goal: codes keep their numbers (they travel in messages) and their names (callers and scripts match them). Method:
// the whole table written out again.
#include "base/error.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "base/types.hpp"

namespace maru {
namespace {

TEST(ErrorCode, KeepsItsNumberAndName) {
  struct row {
    int number;
    ec code;
    const char* name;
  };
  int rows = 0;
  for (auto [number, code, name] : {row{0, ec::ok, "ok"},
                                    {1, ec::missing, "missing"},
                                    {2, ec::exists, "exists"},
                                    {3, ec::pinned, "pinned"},
                                    {4, ec::not_pinned, "not_pinned"},
                                    {5, ec::gone, "gone"},
                                    {6, ec::not_granted, "not_granted"},
                                    {7, ec::busy, "busy"},
                                    {8, ec::too_large, "too_large"},
                                    {9, ec::invalid, "invalid"},
                                    {10, ec::out_of_memory, "out_of_memory"},
                                    {11, ec::session_over, "session_over"},
                                    {12, ec::version_mismatch, "version_mismatch"},
                                    {13, ec::refused, "refused"},
                                    {14, ec::timeout, "timeout"},
                                    {15, ec::unavailable, "unavailable"},
                                    {16, ec::stopping, "stopping"},
                                    {17, ec::io, "io"},
                                    {18, ec::in_use, "in_use"},
                                    {19, ec::unknown_contents, "unknown_contents"},
                                    {20, ec::no_space, "no_space"},
                                    {21, ec::corrupt, "corrupt"},
                                    {22, ec::storage_failed, "storage_failed"},
                                    {23, ec::bad_option, "bad_option"},
                                    {24, ec::memory_failed, "memory_failed"}}) {
    EXPECT_EQ(static_cast<int>(code), number) << name;
    EXPECT_EQ(to_string(code), name);
    ++rows;
  }
  EXPECT_EQ(rows, static_cast<int>(ec::last_) + 1) << "a new code needs its row here";
}

TEST(ErrorCode, ThatNobodyKnowsHasANameToo) {
  EXPECT_EQ(to_string(static_cast<ec>(static_cast<int>(ec::last_) + 1)), "unknown");
  EXPECT_EQ(to_string(ec{255}), "unknown");
}

TEST(Error, IsPrintedWithItsCode) {
  EXPECT_EQ(to_string(error{ec::pinned, "failed to remove 'k': it is pinned"}),
            "pinned: failed to remove 'k': it is pinned");
  EXPECT_EQ(to_string(error{ec::busy, ""}), "busy");
}

TEST(Error, OfASystemCallNamesActionAndCause) {
  auto e = errno_error("open pool /x", ENOENT);
  EXPECT_EQ(e.code, ec::io);
  EXPECT_EQ(e.message, "failed to open pool /x: No such file or directory");
}

TEST(Result, HoldsAValueOrAnError) {
  result<int> good{7};
  EXPECT_TRUE(good);
  EXPECT_EQ(*good, 7);
  EXPECT_EQ(good.code(), ec::ok);
  result<int> bad{ec::missing, "why"};
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.code(), ec::missing);
  EXPECT_EQ(bad.error().message, "why");
}

TEST(Result, GivesUpWhatCannotBeCopied) {
  result<std::unique_ptr<int>> r{std::make_unique<int>(3)};
  auto taken = *std::move(r);
  EXPECT_EQ(*taken, 3);
}

TEST(Status, IsGoodUntilAnErrorIsPutIn) {
  status s;
  EXPECT_TRUE(s);
  EXPECT_EQ(s.code(), ec::ok);
  s = error{ec::io, "why"};
  EXPECT_FALSE(s);
  EXPECT_EQ(s.error().message, "why");
}

TEST(Types, ArePrintedAsLogsAndToolsShowThem) {
  EXPECT_EQ(to_string(page_ref{region_id{3}, page_index{14}}), "3:14");
  EXPECT_EQ(to_string(key_hash{0x1, 0xabc}), "0000000000000abc0000000000000001");
  EXPECT_EQ(packed({region_id{3}, page_index{14}}), 0x30000000eu);
}

}  // namespace
}  // namespace maru
