// Goal: promises of local reads are judged right. Method: rows at both sides of each bound, and rows that must not be
// taken for the ones that are meant.
#include "app/bench/local_rows.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace maru::bench {
namespace {

row pinned(bool hot, unsigned threads, double p50_us, double keys_per_s) {
  row r{.system = local_system, .op = pinned_op, .batch = 1, .clients = threads, .hot = hot};
  r.p50_us = p50_us;
  r.keys_per_s = keys_per_s;
  r.extra[keys_extra] = 1e6;
  return r;
}

row map_row(double p50_us) {
  row r{.system = map_system, .op = "lookup", .hot = true};
  r.p50_us = p50_us;
  return r;
}

row with_cpu(row r, double seconds, double cpu) {
  r.seconds = seconds;
  r.extra[server_cpu_extra] = cpu;
  return r;
}

row idle_row(double seconds, double cpu) { return with_cpu({.system = local_system, .op = idle_op}, seconds, cpu); }

// "met", "MISSED", "" where the promise is not judged, "several" where more than one is.
std::string verdict(const std::vector<row>& rows) {
  auto lines = local_targets_of(rows);
  if (std::count(lines.begin(), lines.end(), '\n') > 1)
    return "several";
  if (lines.find("MISSED") != lines.npos)
    return "MISSED";
  return lines.find(" met") != lines.npos ? "met" : lines;
}

TEST(LocalTargets, WithoutRowsNothingIsJudged) {
  EXPECT_EQ(local_targets_of({}), "");
  EXPECT_EQ(verdict({map_row(0.05)}), "");
}

TEST(LocalTargets, HotPinnedLookupIsUnderAMicrosecond) {
  EXPECT_EQ(verdict({pinned(true, 1, 0.999, 1)}), "met");
  EXPECT_EQ(verdict({pinned(true, 1, 1, 1)}), "MISSED");
}

TEST(LocalTargets, OtherCellsAreNotTakenForIt) {
  auto batch = pinned(true, 1, 9, 1);
  batch.batch = 128;
  auto writer = pinned(true, 1, 9, 1);
  writer.writer = true;
  auto messages = pinned(true, 1, 9, 1);
  messages.system = messages_system;
  auto exists = pinned(true, 1, 9, 1);
  exists.op = "exists";
  EXPECT_EQ(verdict({batch, writer, messages, exists}), "");
  EXPECT_EQ(verdict({batch, writer, messages, exists, pinned(true, 1, 0.5, 1)}), "met");
}

TEST(LocalTargets, AtMostFiveTimesABareMap) {
  auto missed = [](double us) {
    auto lines = local_targets_of({pinned(true, 1, us, 1), map_row(0.1)});
    EXPECT_NE(lines.find(" x (at most 5)"), lines.npos);
    return lines.find("MISSED") != lines.npos;
  };
  EXPECT_FALSE(missed(0.5));
  EXPECT_TRUE(missed(0.51));
}

TEST(LocalTargets, ColdIndexIsJudgedWithAMillionKeys) {
  EXPECT_EQ(verdict({pinned(false, 1, 1.99, 1)}), "met");
  EXPECT_EQ(verdict({pinned(false, 1, 2, 1)}), "MISSED");
  auto few = pinned(false, 1, 9, 1);
  few.extra[keys_extra] = 999'999;
  EXPECT_EQ(verdict({few}), "");
}

TEST(LocalTargets, TwoThreadsMakeOverThreeMillion) {
  EXPECT_EQ(verdict({pinned(true, 2, 9, 3e6 + 1)}), "met");
  EXPECT_EQ(verdict({pinned(true, 2, 9, 3e6)}), "MISSED");
  EXPECT_EQ(verdict({pinned(true, 2, 9, 1), pinned(false, 2, 9, 4e6)}), "MISSED");
}

TEST(LocalTargets, FastErrorsMeetNothing) {
  auto failed = pinned(true, 1, 0.1, 1);
  failed.errors = 1;
  EXPECT_EQ(verdict({failed}), "MISSED");
  auto rate = pinned(true, 2, 0.1, 9e6);
  rate.errors = 1;
  EXPECT_EQ(verdict({rate}), "MISSED");
}

TEST(LocalTargets, ServerMaySpendWhatItSpendsIdle) {
  auto cell = [](double cpu) { return with_cpu(pinned(false, 4, 1, 1), 10, cpu); };
  EXPECT_EQ(verdict({cell(0.3)}), "");  // beside what?
  EXPECT_EQ(verdict({idle_row(2, 0.04), cell(0.29)}), "met");
  EXPECT_EQ(verdict({idle_row(2, 0.04), cell(0.31)}), "MISSED");
  // Together they are within it; what messages and writers cost is not counted.
  auto writer = cell(9), messages = cell(9);
  writer.writer = true;
  messages.system = messages_system;
  EXPECT_EQ(verdict({idle_row(2, 0.04), cell(0.31), cell(0.2), writer, messages}), "met");
}

TEST(LocalTargets, AClientThatAsksByMessageIsSaid) {
  auto r = pinned(true, 4, 1, 1);
  r.extra[reads_locally_extra] = 1;
  EXPECT_EQ(verdict({r}), "met");
  r.extra[reads_locally_extra] = 0;
  EXPECT_EQ(verdict({r}), "MISSED");
}

TEST(LocalTable, HasEveryRowWithTheServersCores) {
  row redis{.system = "redis-unix", .op = "exists"};
  redis.keys_per_s = 50'000;
  redis.cpu_s_per_mkeys = 10;
  auto text = local_table_of({with_cpu(pinned(true, 2, 0.25, 4e6), 2, 0.25), redis, map_row(0.05)});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
  EXPECT_NE(text.find("0.125"), text.npos) << text;  // 0.25 s in 2 s
  EXPECT_NE(text.find("0.500"), text.npos) << text;  // 10 s a million keys, 50,000 a second
  EXPECT_NE(text.find(" 250 "), text.npos) << text;  // ns
}

TEST(LocalRows, HeatAndWriterComeBackFromAFile) {
  auto path = (std::filesystem::temp_directory_path() / ("maru-local-" + std::to_string(::getpid()))).string();
  auto r = pinned(true, 2, 1, 1);
  r.writer = true;
  ASSERT_TRUE(write_rows(path, {r, pinned(false, 1, 1, 1)}, false));
  auto back = read_rows(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_TRUE((*back)[0].hot && (*back)[0].writer);
  EXPECT_FALSE((*back)[1].hot || (*back)[1].writer);
}

}  // namespace
}  // namespace maru::bench
