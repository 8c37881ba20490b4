// Goal: the folders stay what docs/architecture.md says they are: an include against the arrows, or a library outside
// the folder that keeps it, is refused. Method: read every source file of the tree; the rules are first shown to refuse
// what they should.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace maru {
namespace {

namespace fs = std::filesystem;
using std::string;
using std::string_view;

const std::map<string, std::set<string>, std::less<>> arrows = {
  {"base", {"base"}},
  {"cxl", {"base", "cxl"}},
  {"storage", {"base", "storage"}},
  {"metrics", {"base", "metrics"}},
  {"net", {"base", "cxl", "net"}},
  {"actors", {"base", "cxl", "storage", "metrics", "net", "actors"}},
  {"app", {"base", "cxl", "storage", "metrics", "net", "actors", "app"}},
  {"examples", {"base", "net"}},
  {"python", {"base", "net", "python"}},
  {"bench", {"base", "cxl", "storage", "metrics", "net", "actors", "app", "bench"}},
};

// Libraries that stay behind the folders named here.
const std::map<string, std::set<string>, std::less<>> keepers = {
  {"caf", {"net", "actors", "app", "bench"}},
  {"rocksdb", {"storage"}},
  {"prometheus", {"metrics"}},
  {"CLI", {"base", "app", "bench"}},
  {"pybind11", {"python"}},
  {"spdlog", {"base"}},
  {"openssl", {"net"}},
};

// What is wrong with one line of a file in `folder`; empty: nothing.
string complaint(string_view folder, string_view line) {
  constexpr string_view include = "#include ";
  if (line.rfind(include, 0) != 0 || line.size() < include.size() + 2)
    return {};
  bool own = line[include.size()] == '"';
  auto target = line.substr(include.size() + 1);
  string top{target.substr(0, target.find('/'))};
  if (own) {
    if (target.find('/') == target.npos)
      return "includes without the folder";
    return arrows.find(folder)->second.contains(top) ? "" : "includes against the arrows";
  }
  auto kept = keepers.find(top);
  return kept == keepers.end() || kept->second.contains(string{folder}) ? ""
                                                                        : "uses " + top + ", which other folders keep";
}

std::vector<fs::path> sources_of(string_view folder) {
  std::vector<fs::path> out;
  auto top = fs::path{MARU_SOURCE_DIR} / folder;
  if (!fs::exists(top))
    return out;
  for (const auto& file : fs::recursive_directory_iterator{top})
    if (file.path().extension() == ".hpp" || file.path().extension() == ".cpp")
      out.push_back(file.path());
  return out;
}

TEST(HouseRules, ArrowsPointOneWay) {
  std::size_t files = 0;
  for (const auto& [folder, allowed] : arrows)
    for (const auto& path : sources_of(folder)) {
      std::ifstream in{path};
      string line;
      for (std::size_t number = 1; std::getline(in, line); ++number) {
        auto wrong = complaint(folder, line);
        EXPECT_TRUE(wrong.empty()) << path.string() << ":" << number << ": " << wrong << ": " << line;
      }
      ++files;
    }
  EXPECT_GT(files, 20u) << "the tree was not found";
}

TEST(HouseRules, HeadersAreGuarded) {
  for (const auto& [folder, allowed] : arrows)
    for (const auto& path : sources_of(folder)) {
      if (path.extension() != ".hpp")
        continue;
      std::ifstream in{path};
      string line;
      bool guarded = false;
      while (!guarded && std::getline(in, line) && line.rfind("#include", 0) != 0)
        guarded = line == "#pragma once";
      EXPECT_TRUE(guarded) << path.string() << ": #pragma once is missing or not before the first include";
    }
}

TEST(HouseRules, RefuseAnIncludeAgainstTheArrows) {
  EXPECT_EQ(complaint("base", "#include \"cxl/pool.hpp\""), "includes against the arrows");
  EXPECT_EQ(complaint("net", "#include \"actors/index.hpp\""), "includes against the arrows");
  EXPECT_EQ(complaint("net", "#include \"storage/metadata_store.hpp\""), "includes against the arrows");
  EXPECT_EQ(complaint("actors", "#include \"app/marud.hpp\""), "includes against the arrows");
  EXPECT_EQ(complaint("cxl", "#include \"pool.hpp\""), "includes without the folder");
  EXPECT_EQ(complaint("net", "#include \"cxl/pool.hpp\""), "");
}

TEST(HouseRules, RefuseALibraryOutsideItsFolder) {
  EXPECT_NE(complaint("actors", "#include <rocksdb/db.h>"), "");
  EXPECT_NE(complaint("cxl", "#include <caf/all.hpp>"), "");
  EXPECT_EQ(complaint("storage", "#include <rocksdb/db.h>"), "");
  EXPECT_EQ(complaint("cxl", "#include <vector>"), "");
}

}  // namespace
}  // namespace maru
