// Goal: a key that maructl prints can be given back to it, whatever its bytes. Method: known texts, and random keys
// there and back.
#include "app/maructl/key_text.hpp"
#include "tests/support/random_run.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

namespace maru::ctl {
namespace {

TEST(KeyText, PlainTextStaysAsItIs) {
  EXPECT_EQ(show_key("model/layer0/abc"), "model/layer0/abc");
  EXPECT_EQ(*parse_key("model/layer0/abc"), "model/layer0/abc");
}

TEST(KeyText, OtherBytesAreHex) {
  EXPECT_EQ(show_key("a b"), "hex:612062");
  EXPECT_EQ(show_key(std::string_view{"\0\xff", 2}), "hex:00ff");
  EXPECT_EQ(*parse_key("hex:00fF"), (std::string{"\0\xff", 2}));
}

TEST(KeyText, KeyThatLooksLikeHexIsWrittenAsHex) { EXPECT_EQ(show_key("hex:61"), "hex:6865783a3631"); }

TEST(KeyText, RefusesWhatIsNoKey) {
  for (auto bad : {"", "hex:", "hex:0", "hex:zz", "hex:0 "})
    EXPECT_EQ(parse_key(bad).code(), ec::bad_option) << bad;
  EXPECT_TRUE(parse_key(std::string(1024, 'k')));
  EXPECT_FALSE(parse_key(std::string(1025, 'k')));
}

TEST(KeyText, RandomKeysComeBack) {
  std::mt19937_64 random{maru::test::test_seed()};
  for (int i = 0; i < 2000; ++i) {
    std::string key(1 + random() % 40, '\0');
    for (auto& c : key)
      c = static_cast<char>(i % 2 == 0 ? random() : ' ' + random() % 95);
    auto back = parse_key(show_key(key));
    ASSERT_TRUE(back);
    ASSERT_EQ(*back, key);
  }
}

}  // namespace
}  // namespace maru::ctl
