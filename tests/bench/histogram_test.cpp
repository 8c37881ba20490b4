// Goal: quantiles are right within the promised error. Method: the bucket functions over the whole range, and random
// samples against exact quantiles of the sorted values.
#include "app/bench/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <vector>

#include "app/bench/random.hpp"

namespace maru::bench {
namespace {

std::uint64_t seed() {
  const char* text = std::getenv("MARU_SEED");
  std::uint64_t value = text ? std::strtoull(text, nullptr, 10) : 1;
  std::printf("MARU_SEED=%llu\n", static_cast<unsigned long long>(value));
  return value;
}

TEST(Histogram, BucketsTileTheRangeWithinTheirPrecision) {
  EXPECT_EQ(histogram::bucket_of(0), 0u);
  EXPECT_EQ(histogram::bucket_of(UINT64_MAX), histogram::buckets - 1);
  for (std::size_t i = 0; i < histogram::buckets; ++i) {
    auto low = histogram::lower_bound(i);
    ASSERT_EQ(histogram::bucket_of(low), i);
    if (i + 1 == histogram::buckets)
      break;
    auto next = histogram::lower_bound(i + 1);
    ASSERT_EQ(histogram::bucket_of(next - 1), i);
    ASSERT_LE(static_cast<double>(next - 1 - low), static_cast<double>(low) / 32.0);
  }
}

TEST(Histogram, EmptyAnswersZero) {
  histogram h;
  EXPECT_EQ(h.quantile_ns(0.5), 0);
  EXPECT_EQ(h.mean_ns(), 0);
}

TEST(Histogram, QuantilesAreWithinTheirPrecision) {
  random_source random(seed());
  auto h = std::make_unique<histogram>();
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<std::uint64_t>(std::exp(random.fraction() * 20)));
    h->add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (double q : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    auto rank = std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil(q * static_cast<double>(values.size()))));
    auto exact = static_cast<double>(values[rank - 1]);
    EXPECT_NEAR(h->quantile_ns(q), exact, exact * 0.032 + 0.5) << q;
  }
  EXPECT_EQ(h->max_ns(), values.back());
}

TEST(Histogram, MergedHistogramsCountLikeOne) {
  random_source random(seed());
  auto one = std::make_unique<histogram>(), a = std::make_unique<histogram>(), b = std::make_unique<histogram>();
  for (int i = 0; i < 10'000; ++i) {
    auto value = random.below(1 << 30);
    one->add(value);
    (i % 3 ? *a : *b).add(value);
  }
  a->merge(*b);
  EXPECT_EQ(a->count(), one->count());
  EXPECT_EQ(a->max_ns(), one->max_ns());
  EXPECT_EQ(a->mean_ns(), one->mean_ns());
  for (double q : {0.01, 0.5, 0.999})
    EXPECT_EQ(a->quantile_ns(q), one->quantile_ns(q));
}

}  // namespace
}  // namespace maru::bench
