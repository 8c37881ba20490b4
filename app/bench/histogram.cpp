#include "app/bench/histogram.hpp"

#include <algorithm>
#include <cmath>

namespace maru::bench {

void histogram::merge(const histogram& other) {
  for (std::size_t i = 0; i < buckets; ++i)
    counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

double histogram::quantile_ns(double q) const {
  if (count_ == 0)
    return 0;
  auto rank = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_)));
  rank = std::clamp<std::uint64_t>(rank, 1, count_);
  std::uint64_t seen = 0;
  std::size_t i = 0;
  while (i + 1 < buckets && seen + counts_[i] < rank)
    seen += counts_[i++];
  auto low = lower_bound(i);
  auto high = i + 1 < buckets ? lower_bound(i + 1) - 1 : low;
  return std::min((static_cast<double>(low) + static_cast<double>(high)) / 2, static_cast<double>(max_));
}

}  // namespace maru::bench
