// Goal: the main job gives the right numbers on real processes. Method: the built maru-bench replays generated chats
// through its own marud, with room for all and with too little, with one and with several workers; what it reports is
// held against the exact LRU that it simulates.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "app/bench/child_process.hpp"

namespace maru::bench {
namespace {

using namespace std::chrono_literals;

class Replay : public ::testing::Test {
protected:
  nlohmann::json run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "replay");
    for (const char* more : {"--chunk-size", "4KiB", "--verify", "--json"})
      arguments.push_back(more);
    arguments.push_back(json_);
    auto child = child_process::start({.program = MARU_BENCH_PROGRAM, .arguments = arguments, .log_path = log_});
    if (!child) {
      ADD_FAILURE() << child.error().message;
      return {};
    }
    auto code = child->wait(50s);
    std::ifstream log(log_);
    EXPECT_EQ(code, 0) << std::string{std::istreambuf_iterator<char>(log), {}};
    std::ifstream file(json_);
    return nlohmann::json::parse(file, nullptr, false);
  }
  void TearDown() override {
    std::filesystem::remove(json_);
    std::filesystem::remove(log_);
  }
  std::string base_ = (std::filesystem::temp_directory_path() / ("maru-replay-" + std::to_string(::getpid()))).string();
  std::string json_ = base_ + ".json", log_ = base_ + ".log";
};

TEST_F(Replay, WithRoomForAllHitsExactlyWhatWasStored) {
  auto r = run({"--requests", "400"});
  ASSERT_TRUE(r.is_object());
  EXPECT_EQ(r["prefix_hit_rate"], r["simulated_prefix_hit_rate"]);
  EXPECT_GT(r["prefix_hit_rate"], 0.5);
  EXPECT_EQ(r["wrong_bytes"], 0);
  EXPECT_EQ(r["errors"], 0);
  EXPECT_EQ(r["requests"], 400);
  EXPECT_GT(r["requests_per_s"], 0);
}

TEST_F(Replay, SmallPoolHitsWhatAnExactLruHits) {
  auto r = run({"--requests", "600", "--pool-pages", "400"});
  ASSERT_TRUE(r.is_object());
  EXPECT_NEAR(r["prefix_hit_rate"], r["simulated_prefix_hit_rate"], 0.01);
  EXPECT_EQ(r["wrong_bytes"], 0);
  EXPECT_EQ(r["errors"], 0);
}

TEST_F(Replay, ReadsInThePoolItselfKeepWhatReadsByMessageKeep) {
  double rate[2] = {};
  for (bool messages : {false, true}) {
    std::vector<std::string> words = {"--requests", "1500", "--pool-pages", "600"};
    if (messages)
      words.push_back("--messages");
    auto r = run(words);
    ASSERT_TRUE(r.is_object());
    EXPECT_EQ(r["local_workers"], messages ? 0 : 1);
    rate[messages] = r["prefix_hit_rate"];
  }
  EXPECT_NEAR(rate[false], rate[true], 0.01) << "recency without messages";
}

TEST_F(Replay, WorkersShareOnePoolWithoutAWrongByte) {
  auto r = run({"--requests", "600", "--workers", "3", "--pool-pages", "1500"});
  ASSERT_TRUE(r.is_object());
  EXPECT_EQ(r["wrong_bytes"], 0);
  EXPECT_EQ(r["errors"], 0);
  EXPECT_EQ(r["requests"], 600);
}

TEST_F(Replay, MessagesGiveTheSameAnswersAndAreNamed) {
  auto r = run({"--requests", "400", "--workers", "2", "--messages"});
  ASSERT_TRUE(r.is_object());
  EXPECT_EQ(r["local_workers"], 0);
  EXPECT_EQ(r["parameters"]["messages"], true);
  EXPECT_EQ(r["wrong_bytes"], 0);
  EXPECT_EQ(r["errors"], 0);
  EXPECT_EQ(r["requests"], 400);
  std::ifstream log(log_);
  std::string text{std::istreambuf_iterator<char>(log), {}};
  EXPECT_NE(text.find("by message, as asked"), text.npos) << text;
}

}  // namespace
}  // namespace maru::bench
