// Goal: rows survive the way through a file, and promises are judged right. Method: write, append, read back; rows at
// both sides of each bound.
#include "app/bench/rows.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace maru::bench {
namespace {

row cell_row(const char* system, const char* op, unsigned batch, unsigned clients, double keys_per_s, double p50_us) {
  row r{.system = system, .op = op, .batch = batch, .clients = clients};
  r.keys_per_s = keys_per_s;
  r.p50_us = p50_us;
  return r;
}

class Rows : public ::testing::Test {
protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_ = (std::filesystem::temp_directory_path() / ("maru-rows-" + std::to_string(::getpid()))).string();
};

TEST_F(Rows, AppendedRowsComeBackInOrder) {
  auto first = cell_row("maru", "lookup", 128, 4, 1.5e6, 300);
  first.extra["keys"] = 1e6;
  first.errors = 2;
  ASSERT_TRUE(write_rows(path_, {first}, false));
  ASSERT_TRUE(write_rows(path_, {cell_row("redis", "put", 1, 4, 7, 9.25)}, true));
  auto rows = read_rows(path_);
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0].keys_per_s, 1.5e6);
  EXPECT_EQ((*rows)[0].extra.at("keys"), 1e6);
  EXPECT_EQ((*rows)[0].errors, 2u);
  EXPECT_EQ((*rows)[1].system, "redis");
  EXPECT_EQ((*rows)[1].p50_us, 9.25);
}

TEST_F(Rows, WhatIsNoListOfRowsIsRefused) {
  for (const char* text : {"", "{}", "[1]", R"([{"system": 7}])"}) {
    std::ofstream(path_) << text;
    EXPECT_EQ(read_rows(path_).code(), ec::invalid) << text;
  }
}

TEST_F(Rows, BoundsDecideWhetherATargetIsMet) {
  EXPECT_EQ(targets_of({}), "");
  auto missed = [](const std::vector<row>& rows) { return targets_of(rows).find("MISSED") != std::string::npos; };
  auto put = cell_row("maru", "put", 128, 4, 250'000, 1);
  EXPECT_FALSE(missed({put}));
  put.keys_per_s = 249'999;
  EXPECT_TRUE(missed({put}));
  auto lookup = cell_row("maru", "lookup", 128, 4, 1'100'000, 1);
  EXPECT_FALSE(missed({lookup, cell_row("memcached", "lookup", 128, 4, 1'000'000, 1)}));
  EXPECT_TRUE(missed({lookup, cell_row("memcached", "lookup", 128, 4, 1'200'000, 1)}));
  auto single = cell_row("maru", "lookup", 1, 1, 1, 150);
  EXPECT_FALSE(missed({single, cell_row("caf", "a", 1, 1, 1, 100), cell_row("caf", "b", 1, 1, 1, 120)}));
  EXPECT_TRUE(missed({single, cell_row("caf", "a", 1, 1, 1, 120), cell_row("caf", "b", 1, 1, 1, 99)}));
}

}  // namespace
}  // namespace maru::bench
