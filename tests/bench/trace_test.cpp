// Goal: the trace reader takes exactly the published format and names the line of what it refuses; the generator makes
// what it promises: seeded, prefix blocks that recur. Method: small texts by hand, properties of generated traces.
#include "app/bench/trace.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <unordered_map>

namespace maru::bench {
namespace {

constexpr auto good_line =
  R"({"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]})";

class TraceFile : public ::testing::Test {
protected:
  std::string write(const std::string& text) {
    path_ = (std::filesystem::temp_directory_path() / ("maru-trace-" + std::to_string(::getpid()))).string();
    std::ofstream(path_) << text;
    return path_;
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_;
};

TEST(Trace, PublishedLineIsRead) {
  auto r = parse_request(good_line, 1);
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(*r, (request{27482, 6955, 52, {46, 47, 2353}}));
}

TEST(Trace, BadLinesAreRefusedWithTheirNumber) {
  for (const char* line :
       {"", "[]", "{", "{}", "nonsense", "\xff\xfe",
        R"({"timestamp": -1, "input_length": 1, "output_length": 1, "hash_ids": []})",
        R"({"timestamp": 1.5, "input_length": 1, "output_length": 1, "hash_ids": []})",
        R"({"timestamp": "1", "input_length": 1, "output_length": 1, "hash_ids": []})",
        R"({"input_length": 1, "output_length": 1, "hash_ids": []})",
        R"({"timestamp": 1, "input_length": 1, "output_length": 1})",
        R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": 7})",
        R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [1, -2]})",
        R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [1, null]})",
        R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [99999999999999999999999]})"}) {
    auto r = parse_request(line, 17);
    ASSERT_FALSE(r) << line;
    EXPECT_EQ(r.code(), ec::invalid);
    EXPECT_NE(r.error().message.find("line 17"), std::string::npos) << r.error().message;
  }
}

TEST(Trace, BoundsOfALineHold) {
  std::string ids = "1";
  for (std::size_t i = 1; i < trace_blocks_max; ++i)
    ids += ",1";
  auto line = [](const std::string& list) {
    return R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [)" + list + "]}";
  };
  EXPECT_TRUE(parse_request(line(ids), 1));
  EXPECT_FALSE(parse_request(line(ids + ",1"), 1));
  EXPECT_FALSE(parse_request(std::string(trace_line_bytes_max + 1, ' '), 1));
}

TEST_F(TraceFile, ReadsRequestsInOrderAndSkipsEmptyLines) {
  auto t = read_trace(write(std::string{good_line} + "\n\n"
                            + R"({"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [46, 5]})"));
  ASSERT_TRUE(t) << t.error().message;
  ASSERT_EQ(t->requests.size(), 2u);
  EXPECT_EQ(t->block_count(), 5u);
  EXPECT_EQ(t->distinct_blocks(), 4u);
  EXPECT_EQ(t->longest(), 3u);
}

TEST_F(TraceFile, BadLineNamesNumberAndFile) {
  auto t = read_trace(write(std::string{good_line} + "\n" + good_line + "\noops\n"));
  ASSERT_FALSE(t);
  EXPECT_NE(t.error().message.find("line 3"), std::string::npos) << t.error().message;
  EXPECT_NE(t.error().message.find(path_), std::string::npos) << t.error().message;
}

TEST_F(TraceFile, StopsAfterTheRequestsAskedFor) {
  auto t = read_trace(write(std::string{good_line} + "\noops\n"), 1);
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ(t->requests.size(), 1u);
}

TEST_F(TraceFile, EmptyAndMissingFilesAreErrors) {
  EXPECT_EQ(read_trace(write("\n")).code(), ec::invalid);
  EXPECT_EQ(read_trace(path_ + ".not-there").code(), ec::missing);
}

TEST(Conversations, SameSeedSameTraceOtherSeedOtherTrace) {
  conversation_options options;
  options.requests = 300;
  auto a = generate_conversations(options), b = generate_conversations(options);
  EXPECT_EQ(a.requests, b.requests);
  options.seed = 2;
  EXPECT_NE(a.requests, generate_conversations(options).requests);
}

TEST(Conversations, BlocksFitTheTokensAndTimesGrow) {
  conversation_options options;
  auto t = generate_conversations(options);
  ASSERT_EQ(t.requests.size(), options.requests);
  std::uint64_t last = 0;
  for (const auto& r : t.requests) {
    EXPECT_EQ(r.blocks.size(), (r.input_tokens + block_tokens - 1) / block_tokens);
    EXPECT_GE(r.timestamp_ms, last);
    last = r.timestamp_ms;
  }
}

TEST(Conversations, AnIdAlwaysFollowsTheSamePrefix) {
  std::unordered_map<std::uint64_t, std::uint64_t> before;
  for (const auto& r : generate_conversations({}).requests) {
    std::uint64_t previous = UINT64_MAX;
    for (auto block : r.blocks) {
      auto [known, added] = before.try_emplace(block, previous);
      ASSERT_EQ(known->second, previous) << "block " << block;
      previous = block;
    }
  }
}

TEST(Conversations, LaterTurnsShareWhatWasSaidBefore) {
  auto t = generate_conversations({});
  auto shared = 1.0 - static_cast<double>(t.distinct_blocks()) / static_cast<double>(t.block_count());
  EXPECT_GT(shared, 0.3);
  EXPECT_LT(shared, 0.95);
}

}  // namespace
}  // namespace maru::bench
