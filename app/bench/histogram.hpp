// Counts of durations in buckets that grow with the value: below 64 ns each its own, above 32 a power of two, so that a
// quantile is at most 3.2 % off. Plain memory without pointers: it lives in pages that processes share.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace maru::bench {

class histogram {
public:
  static constexpr unsigned sub_bits = 5;
  static constexpr unsigned exponent_max = 44;  // 2^45 ns are 9.7 hours; longer ones count as that
  static constexpr std::size_t buckets = (exponent_max - sub_bits + 2) << sub_bits;

  void add(std::uint64_t ns) {
    ++counts_[bucket_of(ns)];
    ++count_;
    sum_ += ns;
    if (ns > max_)
      max_ = ns;
  }
  void merge(const histogram& other);

  std::uint64_t count() const { return count_; }
  std::uint64_t max_ns() const { return max_; }
  double mean_ns() const { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }
  // The middle of the bucket in which the q-th part (0..1) of the values ends, never above the maximum. 0 when empty.
  double quantile_ns(double q) const;

  static constexpr std::size_t bucket_of(std::uint64_t ns) {
    constexpr std::uint64_t largest = (std::uint64_t{1} << (exponent_max + 1)) - 1;
    if (ns > largest)
      ns = largest;
    if (ns < (std::uint64_t{2} << sub_bits))
      return ns;
    auto shift = static_cast<unsigned>(std::bit_width(ns)) - 1 - sub_bits;
    return (std::size_t{shift} << sub_bits) + (ns >> shift);
  }
  // Smallest value of a bucket.
  static constexpr std::uint64_t lower_bound(std::size_t bucket) {
    if (bucket < (std::size_t{2} << sub_bits))
      return bucket;
    auto shift = (bucket >> sub_bits) - 1;
    return (bucket - (shift << sub_bits)) << shift;
  }

private:
  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t count_ = 0, sum_ = 0, max_ = 0;
};

}  // namespace maru::bench
