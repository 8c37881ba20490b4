// Goal: `maru-bench local` measures every cell on real processes without an error, and judges what it measured. Method:
// the built program on a small pool, its rows read back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "app/bench/child_process.hpp"
#include "app/bench/local_rows.hpp"

namespace maru::bench {
namespace {

using namespace std::chrono_literals;

class Local : public ::testing::Test {
protected:
  // What the program printed.
  std::string run(std::vector<std::string> arguments, int code) {
    auto child = child_process::start({.program = MARU_BENCH_PROGRAM, .arguments = arguments, .log_path = log_});
    if (!child) {
      ADD_FAILURE() << child.error().message;
      return {};
    }
    auto ended = child->wait(110s);
    std::ifstream log(log_);
    std::string text{std::istreambuf_iterator<char>(log), {}};
    EXPECT_EQ(ended, code) << text;
    return text;
  }
  void TearDown() override {
    std::filesystem::remove(json_);
    std::filesystem::remove(log_);
  }
  std::string base_ = (std::filesystem::temp_directory_path() / ("maru-local-" + std::to_string(::getpid()))).string();
  std::string json_ = base_ + ".json", log_ = base_ + ".log";
};

TEST_F(Local, MeasuresEveryCellOnBothPathsAndBesideAWriter) {
  auto text = run({"local", "--keys", "2000", "--seconds", "0.02", "--json", json_}, 0);
  auto rows = read_rows(json_);
  ASSERT_TRUE(rows) << rows.error().message;
  std::set<std::string> cells;
  double written = 0;
  for (const auto& r : *rows) {
    auto name = r.system + " " + r.op + " " + std::to_string(r.batch) + " " + std::to_string(r.clients)
                + (r.hot ? " hot" : "") + (r.writer ? " writer" : "");
    EXPECT_TRUE(cells.insert(name).second) << name;
    EXPECT_EQ(r.errors, 0u) << name;
    if (r.op == idle_op)
      continue;
    EXPECT_GT(r.keys_per_s, 0) << name;
    EXPECT_GE(r.p99_us, r.p50_us) << name;
    EXPECT_GE(r.p999_us, r.p99_us) << name;
    EXPECT_EQ(r.extra.contains(server_cpu_extra), r.system == local_system || r.system == messages_system) << name;
    EXPECT_EQ(r.extra.contains(writer_extra), r.writer) << name;
    if (r.writer)
      written += r.extra.at(writer_extra);
    if (r.system == messages_system) {
      EXPECT_EQ(r.extra.at(reads_locally_extra), 0) << name;
    }
  }
  // 3 floors; 5 operations on 2 paths, with and without a writer; each in 8 cells. The idle server, and alloc.
  EXPECT_EQ(rows->size(), 3u * 8 + 2 + 5u * 2 * 2 * 8);
  EXPECT_GT(written, 0);
  EXPECT_NE(text.find("pinned lookup + unpin, hot"), text.npos) << text;
  EXPECT_NE(text.find("alloc of a page that is granted"), text.npos) << text;
  EXPECT_NE(text.find("server CPU beside local reads"), text.npos) << text;
  // The same rows from the file give the same verdicts, and those decide the exit code.
  bool missed = local_targets_of(*rows).find("MISSED") != std::string::npos;
  EXPECT_NE(run({"targets", json_}, missed ? 1 : 0).find("pinned lookup + unpin, hot"), std::string::npos);
}

TEST_F(Local, OnlyOneOperationIsMeasuredWhereAsked) {
  run({"local", "--keys", "1000", "--seconds", "0.02", "--only", "miss", "--json", json_}, 0);
  auto rows = read_rows(json_);
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(std::count_if(rows->begin(), rows->end(), [](const row& r) { return r.op == "miss"; }), 2 * 2 * 8);
  EXPECT_TRUE(std::none_of(rows->begin(), rows->end(), [](const row& r) { return r.op == "exists"; }));
}

}  // namespace
}  // namespace maru::bench
