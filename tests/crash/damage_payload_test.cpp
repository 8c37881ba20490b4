// Goal: with payload checksums a damaged payload is a miss that is counted, never wrong bytes; its page is quarantined and
// everything else is served. Method: bits of pages that hold committed chunks are flipped in the pool's file while marud
// serves, while it is down, and all bytes of the file are zeroed; every key is read and compared.
//
// Flips depend on MARU_SEED alone.
#include <gtest/gtest.h>

#include "tests/crash/loads.hpp"
#include "tests/crash/scene.hpp"

namespace maru::test {
namespace {

constexpr std::size_t page_bytes = 4096, keys = 200, flipped = 30;

std::string key(std::size_t n) { return "key" + std::to_string(n); }

class damaged_payload : public ::testing::Test {
protected:
  random_source random{0};
  marud server{{"--pool-size=4MiB", "--payload-checksums=verify"}};

  void SetUp() override {
    auto c = server.open();
    for (std::size_t n = 0; n < keys; ++n)
      ASSERT_TRUE(c && put(*c, key(n), page_bytes));
  }

  // Flips a bit of the first byte of content that belongs to key n, wherever its page is.
  void flip_a_bit_of(std::size_t n) {
    auto pool = read_file(server.pool());
    auto at = pool.find(content_of(key(n), page_bytes));
    ASSERT_NE(at, pool.npos) << key(n);
    flip_bit(server.pool(), at * 8 + random.below(page_bytes * 8));
  }
  std::set<std::size_t> flip_some() {
    std::set<std::size_t> some;
    while (some.size() < flipped)
      if (auto n = random.below(keys); some.insert(n).second)
        flip_a_bit_of(n);
    return some;
  }
  void expect_missing(const std::set<std::size_t>& damaged) {
    auto c = server.open();
    ASSERT_TRUE(c);
    for (std::size_t n = 0; n < keys; ++n)
      EXPECT_EQ(read_back(*c, key(n), page_bytes), damaged.contains(n) ? "missing" : "ok") << key(n);
    EXPECT_EQ(server.audit(), "");
  }
};

TEST_F(damaged_payload, OfAServingPoolIsAMissAndItsPageIsQuarantined) {
  auto damaged = flip_some();
  expect_missing(damaged);
  EXPECT_EQ(server.ask("status")["pages"]["quarantined"], flipped);
  auto c = server.open();
  for (auto n : damaged)
    EXPECT_TRUE(c && put(*c, key(n), page_bytes)) << "the key can be stored again";
  expect_missing({});
}

TEST_F(damaged_payload, OfAPoolThatWasDownIsAMiss) {
  server.kill_hard();
  auto damaged = flip_some();
  ASSERT_TRUE(server.start()) << server.log();
  expect_missing(damaged);
}

TEST_F(damaged_payload, AllZerosAreAllMisses) {
  server.kill_hard();
  write_file(server.pool(), std::string(4 << 20, '\0'));
  ASSERT_TRUE(server.start()) << server.log();
  std::set<std::size_t> all;
  for (std::size_t n = 0; n < keys; ++n)
    all.insert(n);
  expect_missing(all);
}

}  // namespace
}  // namespace maru::test
