// The seeds of a random test. CI runs the same ones every time, a block of them in each test case; by hand,
//   MARU_SEED=n    runs exactly this one, in the first case,
//   MARU_ROUNDS=n  has each case run n seeds of its own.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <vector>

namespace maru::test {

// ASan makes everything some ten times slower: its builds run this part of the seeds.
#ifdef __SANITIZE_ADDRESS__
inline constexpr std::size_t sanitizer_factor = 10;
#else
inline constexpr std::size_t sanitizer_factor = 1;
#endif

inline std::vector<std::uint64_t> seeds_of_case(std::size_t number, std::size_t per_case) {
  const char* seed = std::getenv("MARU_SEED");
  const char* rounds = std::getenv("MARU_ROUNDS");
  if (seed)
    return number == 0 ? std::vector<std::uint64_t>{std::strtoull(seed, nullptr, 10)} : std::vector<std::uint64_t>{};
  auto n = rounds ? std::strtoull(rounds, nullptr, 10) : per_case;
  std::vector<std::uint64_t> out(n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = 1 + number * n + i;
  return out;
}

// Chance from one seed, which it names, so that a failure can be run again.
class dice {
public:
  explicit dice(std::uint64_t seed) : engine_(seed) { std::cout << "MARU_SEED=" << seed << std::endl; }
  // A number below `end`. REQUIRES: end > 0.
  std::size_t below(std::size_t end) { return static_cast<std::size_t>(engine_() % end); }
  bool chance(unsigned percent) { return engine_() % 100 < percent; }

private:
  std::mt19937_64 engine_;
};

}  // namespace maru::test
