// A small seeded generator with the same numbers on every platform (std's distributions differ between libraries).
#pragma once

#include <cmath>
#include <cstdint>

namespace maru::bench {

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that changes half of the bits on average.
inline constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

class random_source {
public:
  explicit random_source(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15ull); }
  // 0 <= x < n by multiplication; the bias is below n / 2^32. REQUIRES: 0 < n <= 2^32.
  std::uint64_t below(std::uint64_t n) { return ((next() >> 32) * n) >> 32; }
  // 0 <= x < 1
  double fraction() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  // Exponential with this mean.
  double exponential(double mean) { return -mean * std::log1p(-fraction()); }

private:
  std::uint64_t state_;
};

}  // namespace maru::bench
