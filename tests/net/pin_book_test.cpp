// Goal: the book counts pins of keys and of views apart, so that neither can end the other's.
// Method: the operations by example, and a seeded random run (MARU_SEED) against a multiset.
#include "net/pin_book.hpp"
#include "tests/support/random_run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <unordered_map>

namespace maru::net {
namespace {

pin_id key(std::uint64_t n) { return {{n, n}, {}}; }
pin_id view(std::uint64_t n, generation gen = 1) {
  return {{n, n}, {{static_cast<region_id>(1), static_cast<page_index>(n)}, gen}};
}

TEST(PinBook, AnUnpinByKeyNeverEndsAViewsPin) {
  pin_book book;
  book.add(view(1), {});
  EXPECT_FALSE(book.drop(key(1)));
  EXPECT_EQ(book.size(), 1u);
  EXPECT_TRUE(book.drop(view(1)));
  EXPECT_FALSE(book.drop(view(1)));
  EXPECT_EQ(book.size(), 0u);
}

TEST(PinBook, ViewsOfOneKeyOnTwoPagesAreTwo) {
  pin_book book;
  book.add(view(1, 1), {});
  book.add(view(1, 2), {});  // the key was removed and committed again
  EXPECT_TRUE(book.drop(view(1, 2)));
  EXPECT_FALSE(book.drop(view(1, 2)));
  EXPECT_EQ(book.all(), std::vector{view(1, 1)});
}

TEST(PinBook, DeclaresOneEntryPerPin) {
  pin_book book;
  book.add(key(1), {});
  book.add(key(1), {});
  book.add(view(1), {});
  book.add(view(2), {});
  auto all = book.all();
  EXPECT_EQ(std::count(all.begin(), all.end(), key(1)), 2);
  EXPECT_EQ(std::count(all.begin(), all.end(), view(1)), 1);
  EXPECT_EQ(std::count(all.begin(), all.end(), view(2)), 1);
}

TEST(PinBook, DroppingThePinsByKeyLeavesTheViews) {
  pin_book book;
  book.add(key(1), {});
  book.add(key(2), {});
  book.add(key(2), {});
  book.add(view(2), {});
  EXPECT_TRUE(book.has_keys());
  EXPECT_EQ(book.drop_keys().size(), 3u);
  EXPECT_FALSE(book.has_keys());
  EXPECT_EQ(book.all(), std::vector{view(2)});
  EXPECT_TRUE(book.drop_keys().empty());
}

TEST(PinBook, CountsAsAMultisetDoes) {
  std::mt19937_64 random{maru::test::test_seed()};
  pin_book book;
  std::unordered_map<pin_id, int> want;
  std::size_t total = 0;
  for (int step = 0; step < 50000; ++step) {
    auto n = random() % 8;
    auto pin = random() % 2 == 0 ? key(n) : view(n, random() % 2);
    if (random() % 2 == 0) {
      book.add(pin, {});
      ++want[pin];
      ++total;
    } else {
      ASSERT_EQ(book.drop(pin), want[pin] > 0);
      total -= want[pin] > 0 ? 1 : 0;
      want[pin] -= want[pin] > 0;
    }
    ASSERT_EQ(book.size(), total);
    bool keys = std::any_of(want.begin(), want.end(), [](auto& e) { return !e.first.by_view() && e.second > 0; });
    ASSERT_EQ(book.has_keys(), keys);
  }
}

}  // namespace
}  // namespace maru::net
