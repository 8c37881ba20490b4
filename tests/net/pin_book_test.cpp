// Goal: the book counts pins of keys and of views apart, so that neither can end the other's.
// Method: the operations by example, and a seeded random run (MARU_SEED) against two multisets.
#include "net/pin_book.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

namespace maru::net {
namespace {

key_hash hash(std::uint64_t n) { return {n, n}; }

TEST(PinBook, AnUnpinByKeyNeverEndsAViewsPin) {
  pin_book book;
  book.add_view(hash(1));
  EXPECT_FALSE(book.drop_pin(hash(1)));
  EXPECT_EQ(book.size(), 1u);
  EXPECT_TRUE(book.drop_view(hash(1)));
  EXPECT_FALSE(book.drop_view(hash(1)));
  EXPECT_EQ(book.size(), 0u);
}

TEST(PinBook, DeclaresOneEntryPerPin) {
  pin_book book;
  book.add_pin(hash(1));
  book.add_pin(hash(1));
  book.add_view(hash(1));
  book.add_view(hash(2));
  auto all = book.all();
  EXPECT_EQ(std::count(all.begin(), all.end(), hash(1)), 3);
  EXPECT_EQ(std::count(all.begin(), all.end(), hash(2)), 1);
}

TEST(PinBook, DroppingAllPinsLeavesTheViews) {
  pin_book book;
  book.add_pin(hash(1));
  book.add_pin(hash(2));
  book.add_pin(hash(2));
  book.add_view(hash(2));
  EXPECT_EQ(book.drop_all_pins().size(), 3u);
  EXPECT_EQ(book.all(), std::vector{hash(2)});
  EXPECT_TRUE(book.drop_all_pins().empty());
}

TEST(PinBook, CountsAsTwoMultisetsDo) {
  auto* given = std::getenv("MARU_SEED");
  auto seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("MARU_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random{seed};
  pin_book book;
  std::map<key_hash, int> pins, views;
  for (int step = 0; step < 50000; ++step) {
    auto h = hash(random() % 8);
    switch (random() % 4) {
      case 0:
        book.add_pin(h);
        ++pins[h];
        break;
      case 1:
        book.add_view(h);
        ++views[h];
        break;
      case 2:
        ASSERT_EQ(book.drop_pin(h), pins[h] > 0);
        pins[h] -= pins[h] > 0;
        break;
      case 3:
        ASSERT_EQ(book.drop_view(h), views[h] > 0);
        views[h] -= views[h] > 0;
        break;
    }
    std::size_t total = 0;
    for (auto* m : {&pins, &views})
      for (auto& [key, n] : *m)
        total += static_cast<std::size_t>(n);
    ASSERT_EQ(book.size(), total);
  }
}

}  // namespace
}  // namespace maru::net
