// Goal: a marud that finds its files damaged starts with what is right, or stops with a sentence, its documented exit
// code and the command that goes on; and that command works. Method: real starts on what a marud left, each with one
// file removed, truncated, zeroed or overwritten; after a refusal, the option that the sentence names.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "tests/crash/scene.hpp"

namespace maru::test {
namespace {

namespace fs = std::filesystem;

constexpr int exit_unknown = 4, exit_corrupt = 6;

struct harm {
  const char* name;
  left_by how;
  std::function<void(scene&)> done;
  int exit_code;            // 0: it starts
  const char* says;         // a part of what it says
  const char* remedy = "";  // the option that it names, after a refusal
  bool serves_all = false;  // every key is there
};

// Everything that is read is right. Returns how many keys were there.
std::size_t read_all(scene& s) {
  std::size_t there = 0;
  auto c = s.server().open();
  EXPECT_TRUE(c);
  for (std::size_t n = 0; c && n < s.keys(); ++n) {
    auto answer = read_back(*c, scene::key(n));
    EXPECT_TRUE(answer == "ok" || answer == "missing") << scene::key(n) << ": " << answer;
    there += answer == "ok";
  }
  EXPECT_TRUE(c && put(*c, "new") && read_back(*c, "new") == "ok") << "it serves";
  return there;
}

// Starts with the remedy: says where the damaged files of the store are kept, and they are.
void expect_remedy_helps(scene& s, const harm& h) {
  ASSERT_TRUE(s.server().start({h.remedy})) << s.server().log();
  EXPECT_EQ(read_all(s), 0u);
  EXPECT_EQ(s.server().audit(), "");
  if (h.exit_code != exit_corrupt || std::string{h.remedy} != "--on-damage=start-empty")
    return;
  const auto& log = s.server().log();
  auto at = log.find(s.db() + ".damaged-");
  ASSERT_NE(at, log.npos) << log;
  EXPECT_TRUE(fs::exists(log.substr(at, s.db().size() + 9 + 36))) << log;
}

class damaged_files : public ::testing::TestWithParam<harm> {};

TEST_P(damaged_files, AreToldAndNeverServed) {
  const auto& h = GetParam();
  scene s{h.how, 50};
  h.done(s);
  bool started = s.server().start();
  const auto& log = s.server().log();
  EXPECT_NE(log.find(h.says), log.npos) << log;
  if (h.exit_code == 0) {
    ASSERT_TRUE(started) << log;
    EXPECT_EQ(read_all(s), h.serves_all ? s.keys() : 0);
    EXPECT_EQ(s.server().audit(), "");
    return;
  }
  ASSERT_FALSE(started) << log;
  EXPECT_EQ(s.server().body().wait(), h.exit_code) << log;
  EXPECT_NE(log.find(h.remedy), log.npos) << "names the command: " << log;
  expect_remedy_helps(s, h);
}

void remove_newest(const scene& s, const char* part) { fs::remove(s.db_files(part).back()); }
void remove_oldest(const scene& s, const char* part) { fs::remove(s.db_files(part).front()); }
void fill_with_zeros(const std::string& path) { write_file(path, std::string(fs::file_size(path), '\0')); }

constexpr auto start_empty = "--on-damage=start-empty";

const harm harms[] = {
  {"ATableRemoved", left_by::stop, [](scene& s) { remove_oldest(s, ".sst"); }, exit_corrupt,
   "start_failed: failed to open metadata", start_empty},
  {"ATableOverwritten", left_by::stop,
   [](scene& s) {
     for (const auto& file : s.db_files(".sst"))
       for (std::uint64_t bit = 800; bit < 900; ++bit)
         flip_bit(file, bit);
   },
   exit_corrupt, "start_failed: failed to", start_empty},
  {"TheManifestRemoved", left_by::stop, [](scene& s) { remove_newest(s, "MANIFEST"); }, exit_corrupt,
   "start_failed: failed to open metadata", start_empty},
  {"TheManifestCut", left_by::kill,
   [](scene& s) { fs::resize_file(s.db_files("MANIFEST").back(), fs::file_size(s.db_files("MANIFEST").back()) / 2); },
   exit_corrupt, "start_failed: failed to open metadata", start_empty},
  {"CurrentRemoved", left_by::kill, [](scene& s) { fs::remove(s.db() + "/CURRENT"); }, exit_corrupt,
   "the file CURRENT is missing", start_empty},
  {"CurrentEmptied", left_by::kill, [](scene& s) { write_file(s.db() + "/CURRENT", ""); }, exit_corrupt,
   "start_failed: failed to open metadata", start_empty},
  {"OptionsRemoved", left_by::kill,
   [](scene& s) {
     for (const auto& file : s.db_files("OPTIONS"))
       fs::remove(file);
   },
   0, "ready: serving", "", true},
  {"IdentityRemoved", left_by::kill, [](scene& s) { fs::remove(s.db() + "/IDENTITY"); }, 0, "ready: serving", "", true},
  {"ABitOfTheLogFlipped", left_by::kill, [](scene& s) { flip_bit(s.db_files(".log").back(), 8 * 2000); }, exit_corrupt,
   "start_failed: failed to open metadata", start_empty},
  {"AllOfTheStateRemoved", left_by::kill, [](scene& s) { fs::remove_all(s.server().state()); }, exit_unknown,
   "does not know", start_empty},
  {"BothSuperblocksDamaged", left_by::kill,
   [](scene& s) {
     for (auto block : {0u, 2u << 20})
       flip_bit(s.meta(), (block + 100) * 8);
   },
   exit_corrupt, "both superblocks", "--format"},
  {"TheDataTruncated", left_by::kill, [](scene& s) { fs::resize_file(s.server().pool(), 1 << 20); }, exit_corrupt,
   "truncated", "--format"},
  {"TheMetadataTruncated", left_by::kill, [](scene& s) { fs::resize_file(s.meta(), 7 << 20); }, exit_corrupt,
   "truncated", "--format"},
  {"DataAndMetadataZeroed", left_by::kill,
   [](scene& s) {
     fill_with_zeros(s.server().pool());
     fill_with_zeros(s.meta());
   },
   0, "the pool's contents are lost (new incarnation): 50 entries are dropped"},
  {"TheMetadataRemoved", left_by::kill, [](scene& s) { fs::remove(s.meta()); }, 0,
   "the pool's contents are lost (new incarnation): 50 entries are dropped"},
  {"TheDataRemoved", left_by::kill, [](scene& s) { fs::remove(s.server().pool()); }, 0,
   "the pool's contents are lost (new incarnation): 50 entries are dropped"},
};

INSTANTIATE_TEST_SUITE_P(Kinds, damaged_files, ::testing::ValuesIn(harms),
                         [](const auto& kind) { return std::string{kind.param.name}; });

}  // namespace
}  // namespace maru::test
