// Goal: whatever became of RocksDB's files, a start serves a part of what was acknowledged, each key with its own bytes,
// or stops with a sentence and the command that goes on. Method: the files that a killed and a stopped marud left are cut
// off at every byte of the last records, and bits of them flipped; each time the start is done and every key compared.
//
// MARU_ROUNDS=5000 for a long run. A failing MARU_SEED reproduces.
#include <gtest/gtest.h>

#include <filesystem>
#include <iostream>
#include <map>

#include "tests/crash/loads.hpp"
#include "tests/crash/scene.hpp"

namespace maru::test {
namespace {

// Offsets at which the records of a log begin. RocksDB cuts its logs into blocks of 32 KiB; a record never has fewer
// than 7 bytes before its data {crc 4, length 2, type 1}, and no record begins in the last 6 bytes of a block.
std::vector<std::size_t> record_offsets(const std::string& log) {
  constexpr std::size_t block = 32768, header = 7;
  std::vector<std::size_t> out;
  for (std::size_t at = 0; at + header <= log.size();) {
    if (block - at % block < header) {
      at += block - at % block;
      continue;
    }
    out.push_back(at);
    auto length = static_cast<unsigned char>(log[at + 4]) | static_cast<unsigned char>(log[at + 5]) << 8;
    at += header + static_cast<std::size_t>(length);
  }
  return out;
}

// A start that was refused for damage of the store: what it says.
void expect_clear_refusal(const scene& s, const scene::outcome& o) {
  EXPECT_EQ(o.code, ec::corrupt) << "exit code 6: " << o.message;
  EXPECT_NE(o.message.find(s.db()), std::string::npos) << "names the place: " << o.message;
  EXPECT_NE(o.message.find("--on-damage=start-empty"), std::string::npos) << "names the command: " << o.message;
}

TEST(DamageOfTheLog, EveryByteOfTheLastRecordsCut) {
  scene s{left_by::kill};
  auto log = s.db_files(".log").back();
  auto bytes = read_file(log);
  auto records = record_offsets(bytes);
  ASSERT_GT(records.size(), s.keys());
  constexpr std::size_t cut_records = 2;
  auto first = records[records.size() - cut_records];
  std::cout << "the last " << cut_records << " records have " << bytes.size() - first << " bytes\n";
  for (auto size = bytes.size(); size >= first; --size) {
    SCOPED_TRACE("cut to " + std::to_string(size) + " of " + std::to_string(bytes.size()));
    s.restore();
    std::filesystem::resize_file(log, size);
    auto o = s.start_here();
    ASSERT_EQ(o.code, ec::ok) << o.message;
    ASSERT_EQ(o.wrong, 0u);
    auto whole = static_cast<std::size_t>(std::count_if(records.end() - cut_records, records.end(), [&](auto at) {
      return size == bytes.size() || (at != records.back() && size >= records.back());
    }));
    ASSERT_TRUE(is_prefix(o.found));
    ASSERT_EQ(o.found.size(), s.keys() - cut_records + whole);
  }
}

TEST(DamageOfTheLog, CutAnywhereItKeepsWhatWasWrittenBefore) {
  scene s{left_by::kill};
  random_source random{0};
  auto log = s.db_files(".log").back();
  auto bytes = read_file(log);
  for (auto rounds = number_from_environment("MARU_ROUNDS", 60); rounds > 0; --rounds) {
    auto size = random.below(bytes.size());
    SCOPED_TRACE("cut to " + std::to_string(size));
    s.restore();
    std::filesystem::resize_file(log, size);
    auto o = s.start_here();
    if (o.code != ec::ok) {  // not even the record of the pool is left
      ASSERT_EQ(o.code, ec::unknown_contents) << o.message;
      ASSERT_LT(size, record_offsets(bytes)[3]);
      continue;
    }
    ASSERT_EQ(o.wrong, 0u);
    ASSERT_TRUE(is_prefix(o.found));
  }
}

// -- flipped bits

struct tally {
  std::size_t refused = 0, all_there = 0, smaller = 0;
};

// Flips a bit of one of `files` each round, and starts.
tally flip_and_start(scene& s, const std::vector<std::string>& files, std::uint64_t rounds, random_source& random) {
  tally t;
  std::vector<std::string> contents;
  for (const auto& file : files)
    contents.push_back(read_file(file));
  for (; rounds > 0; --rounds) {
    auto i = random.below(files.size());
    auto bit = random.below(contents[i].size() * 8);
    SCOPED_TRACE(files[i] + ", bit " + std::to_string(bit));
    s.restore();
    flip_bit(files[i], bit);
    auto o = s.start_here();
    EXPECT_EQ(o.wrong, 0u);
    if (o.code != ec::ok) {
      expect_clear_refusal(s, o);
      ++t.refused;
    } else {
      EXPECT_TRUE(is_prefix(o.found)) << "what is lost are the last puts";
      ++(o.found.size() == s.keys() ? t.all_there : t.smaller);
    }
  }
  std::cout << t.refused << " refused, " << t.smaller << " with fewer entries, " << t.all_there << " unharmed\n";
  return t;
}

TEST(DamageOfTheLog, AFlippedBitIsToldOrLosesLastPutsOnly) {
  scene s{left_by::kill};
  random_source random{1};
  auto t = flip_and_start(s, s.db_files(".log"), number_from_environment("MARU_ROUNDS", 60), random);
  EXPECT_GT(t.refused, 0u);
  EXPECT_EQ(t.all_there, 0u) << "every byte of a log is under a checksum";
}

TEST(DamageOfTheTables, AFlippedBitIsTold) {
  scene s{left_by::stop};
  random_source random{2};
  auto files = s.db_files(".sst");
  ASSERT_FALSE(files.empty());
  auto t = flip_and_start(s, files, number_from_environment("MARU_ROUNDS", 60), random);
  EXPECT_GT(t.refused, 0u);
  EXPECT_EQ(t.smaller, 0u) << "a table is whole or damaged";
}

TEST(DamageOfTheManifest, AFlippedBitIsTold) {
  scene s{left_by::stop};
  random_source random{3};
  auto files = s.db_files("MANIFEST");
  files.push_back(s.db() + "/CURRENT");
  auto t = flip_and_start(s, files, number_from_environment("MARU_ROUNDS", 40), random);
  EXPECT_GT(t.refused, 0u);
}

}  // namespace
}  // namespace maru::test
