// How a random test is run again, and for longer: MARU_SEED=n and MARU_ROUNDS=n.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>

namespace maru::test {

// The seed of a random test: MARU_SEED, or a new one.
inline std::uint64_t test_seed() {
  const char* given = std::getenv("MARU_SEED");
  return given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

// How many rounds: MARU_ROUNDS, or as many as CI has time for.
inline std::uint64_t test_rounds(std::uint64_t in_ci) {
  const char* given = std::getenv("MARU_ROUNDS");
  return given ? std::strtoull(given, nullptr, 10) : in_ci;
}

// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): numbers that follow from others, but look random.
inline std::uint64_t mixed(std::uint64_t n) {
  n += 0x9e3779b97f4a7c15;
  n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
  n = (n ^ n >> 27) * 0x94d049bb133111eb;
  return n ^ n >> 31;
}

}  // namespace maru::test
