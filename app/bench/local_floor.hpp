// The floor of `maru-bench local`: what looking a key up costs in one process, in bare maps that nobody else uses.
#pragma once

#include <string>
#include <unordered_map>

#include "app/bench/local_loop.hpp"
#include "base/key_hash.hpp"
#include "base/types.hpp"

namespace maru::bench {

// Benchmark keys 0 ... `keys` - 1 with a location each, once under the key's bytes and once under its 128-bit hash.
// About 400 bytes a key. Made before the loops start; their threads only read it.
class floor_maps {
public:
  explicit floor_maps(std::uint64_t keys);

  // std::unordered_map<std::string, location>: copies the key into a string that is there already, and finds it.
  loop_call by_text() const;
  // The same by the key's SipHash, which is computed first: what Maru's index pays for keys that nobody can make
  // collide.
  loop_call by_hash() const;

private:
  // The hash is good already: its first word is as good as all of it.
  struct first_word {
    std::size_t operator()(const key_hash& hash) const noexcept { return hash.low; }
  };

  hash_secret secret_;
  std::unordered_map<std::string, location> by_text_;
  std::unordered_map<key_hash, location, first_word> by_hash_;
};

// Looks nothing up: what the loop itself costs, the keys it makes included.
loop_call no_call();

}  // namespace maru::bench
