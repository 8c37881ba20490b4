// Goal: what a token file says is what is asked for: several tokens for a rotation, never none by mistake, and none of
// them in a message. Method: texts, files and variables, whole and broken.
#include "base/token_file.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/temp_folder.hpp"

namespace maru {
namespace {

using tokens = std::vector<std::string>;

TEST(TokenFile, EachLineHasOneAndRemarksAreNone) {
  EXPECT_EQ(*parse_tokens("new\n  old \r\n\n# until May\nthird a remark", "x"), (tokens{"new", "old", "third"}));
}

TEST(TokenFile, NoneIsNeverNoneByMistake) {
  test::temp_folder folder;
  EXPECT_FALSE(read_tokens(folder / "missing"));
  EXPECT_FALSE(read_tokens(folder.path().string())) << "a folder";
  for (auto empty : {"", "\n \n", "# s3cret\n"}) {
    std::ofstream{folder / "file"} << empty;
    EXPECT_EQ(read_tokens(folder / "file").code(), ec::bad_option) << empty;
  }
}

TEST(TokenFile, BoundsAreHeldAndNoTokenIsRepeated) {
  EXPECT_TRUE(parse_tokens(std::string(256, 's'), "x"));
  auto longer = parse_tokens(std::string(257, 's'), "x");
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().message.find("sss"), std::string::npos);
  std::string many;
  for (std::size_t i = 0; i <= tokens_max; ++i)
    many += "s3cret" + std::to_string(i) + "\n";
  auto refused = parse_tokens(many, "x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("s3cret"), std::string::npos);
  test::temp_folder folder;
  std::ofstream{folder / "long"} << std::string(1 << 20, '\n');
  EXPECT_FALSE(read_tokens(folder / "long"));
}

TEST(TokenFile, AClientShowsTheFirstOfWhatItWasGivenElseOfTheEnvironment) {
  test::temp_folder folder;
  std::ofstream{folder / "mine"} << "from-file\nolder\n";
  std::ofstream{folder / "theirs"} << "from-variables-file\n";
  auto shown = [](const std::string& file, const std::string& text) {
    return token_source{file, text}.or_environment().read();
  };
  EXPECT_EQ(*shown("", ""), "");
  ::setenv("MARU_TOKEN", "from-variable", 1);
  EXPECT_EQ(*shown("", ""), "from-variable");
  ::setenv("MARU_TOKEN_FILE", (folder / "theirs").c_str(), 1);
  EXPECT_EQ(*shown("", ""), "from-variables-file");
  EXPECT_EQ(*shown("", "given"), "given");
  EXPECT_EQ(*shown(folder / "mine", "given"), "from-file");
  EXPECT_EQ(shown(folder / "missing", "").code(), ec::bad_option);
  ::unsetenv("MARU_TOKEN");
  ::unsetenv("MARU_TOKEN_FILE");
}

}  // namespace
}  // namespace maru
