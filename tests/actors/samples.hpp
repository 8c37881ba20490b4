// What the tests of this folder share: key hashes, locations, and the seed of a random test.
#pragma once

#include <cstdint>
#include <random>

#include "base/types.hpp"
#include "tests/storage/samples.hpp"

namespace maru::actors::test {

using storage::test::hash_of;

inline page_ref page_at(std::uint32_t region, std::uint32_t page) { return {region_id{region}, page_index{page}}; }

inline location place_of(std::uint32_t n) { return {page_at(1 + n / 1000, n % 1000), 100 + n % 50, 7 + n, n * 3}; }

// A random source that names its seed, so that a failure can be run again: MARU_SEED=... gives it.
class random_source {
public:
  explicit random_source(std::uint64_t salt) : engine_(storage::test::test_seed() + salt) {}
  // A number below `end`. REQUIRES: end > 0.
  std::size_t below(std::size_t end) { return static_cast<std::size_t>(engine_() % end); }
  bool chance(unsigned percent) { return engine_() % 100 < percent; }
  std::mt19937_64& engine() { return engine_; }

private:
  std::mt19937_64 engine_;
};

}  // namespace maru::actors::test
