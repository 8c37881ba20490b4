// Goal: the simulator counts what the replay counts, by the rules of the published figures. Method: tiny traces by
// hand, a plain quadratic model on random traces, and the figures themselves where MARU_TRACE names the trace's file.
#include "app/bench/simulator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "app/bench/random.hpp"

namespace maru::bench {
namespace {

using ids = std::vector<std::uint64_t>;

TEST(Simulator, HitsEndAtTheFirstMiss) {
  lru_simulator cache(0);
  EXPECT_EQ(cache.request(ids{1, 2, 3}), 0u);
  EXPECT_EQ(cache.request(ids{1, 2, 9, 3}), 2u);
  EXPECT_EQ(cache.request(ids{8, 1, 2}), 0u);
}

TEST(Simulator, PrefixOutlivesWhatFollowsIt) {
  lru_simulator cache(4);
  cache.request(ids{1, 2, 3, 4});
  cache.request(ids{9});  // evicts 4, the end of the prefix
  EXPECT_EQ(cache.size(), 4u);
  EXPECT_EQ(cache.request(ids{1, 2, 3, 4}), 3u);
}

TEST(Simulator, AgreesWithAPlainModel) {
  const char* text = std::getenv("MARU_SEED");
  std::uint64_t seed = text ? std::strtoull(text, nullptr, 10) : 1;
  std::printf("MARU_SEED=%llu\n", static_cast<unsigned long long>(seed));
  random_source random(seed);
  for (std::size_t capacity : {1, 3, 10, 40}) {
    lru_simulator cache(capacity);
    ids order;  // most recent first
    for (int i = 0; i < 2000; ++i) {
      ids blocks;
      for (auto n = random.below(6); n > 0; --n)
        blocks.push_back(random.below(60));
      std::size_t hits = 0;
      while (hits < blocks.size() && std::find(order.begin(), order.end(), blocks[hits]) != order.end())
        ++hits;
      for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        std::erase(order, *block);
        order.insert(order.begin(), *block);
        order.resize(std::min(order.size(), capacity));
      }
      ASSERT_EQ(cache.request(blocks), hits);
    }
  }
}

TEST(Simulator, ReproducesThePublishedFigures) {
  const char* path = std::getenv("MARU_TRACE");
  if (path == nullptr)
    GTEST_SKIP() << "MARU_TRACE names no conversation trace";
  auto t = read_trace(path);
  ASSERT_TRUE(t) << t.error().message;
  EXPECT_EQ(t->requests.size(), 12'031u);
  EXPECT_EQ(t->block_count(), 288'500u);
  EXPECT_EQ(t->distinct_blocks(), 182'790u);
  EXPECT_NEAR(simulate_lru(*t, 0), 0.3664, 0.00005);
  EXPECT_NEAR(simulate_lru(*t, 3'000), 0.0653, 0.00005);
  EXPECT_NEAR(simulate_lru(*t, 10'000), 0.2116, 0.00005);
}

}  // namespace
}  // namespace maru::bench
