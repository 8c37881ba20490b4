// How a random test is run again, and for longer: MARU_SEED=n and MARU_ROUNDS=n.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace maru::test {

// A number that the environment gives, e.g. MARU_KILLS=500 for a long run by hand.
inline std::uint64_t number_from_environment(const char* name, std::uint64_t usual) {
  const char* given = std::getenv(name);
  return given ? std::strtoull(given, nullptr, 10) : usual;
}

// The seed of a random test: MARU_SEED, or a new one. Printed, so that a failure can be run again.
inline std::uint64_t test_seed() {
  auto seed = number_from_environment("MARU_SEED", std::random_device{}());
  std::cout << "MARU_SEED=" << seed << std::endl;
  return seed;
}

// How many rounds: MARU_ROUNDS, or as many as CI has time for.
inline std::uint64_t test_rounds(std::uint64_t in_ci) { return number_from_environment("MARU_ROUNDS", in_ci); }

// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): numbers that follow from others, but look random.
inline std::uint64_t mixed(std::uint64_t n) {
  n += 0x9e3779b97f4a7c15;
  n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
  n = (n ^ n >> 27) * 0x94d049bb133111eb;
  return n ^ n >> 31;
}

}  // namespace maru::test
