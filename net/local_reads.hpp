// Lookups and pins without a message, in the pool itself. What they cannot answer is left open, to be asked of marud.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "net/local_pool.hpp"
#include "net/records.hpp"

namespace maru::net {

struct session_life;

struct local_answers {
  std::vector<found> items;         // one a key; `missing` where it is open
  std::vector<local_pin> pins;      // one a key where pins were asked for: of the hits
  std::vector<std::uint32_t> open;  // keys that marud has to be asked for, in order
  bool too_many = false;            // pins of this session: none was taken, and nothing is to be asked
};

// Looks the keys up, as a lookup_request would. With `prefix_stop` all from the first one on that cannot be answered are
// open. Pins by key are in the session's holds then, a view's is the caller's to keep.
local_answers read_locally(const session_life& life, std::span<const key_hash> hashes, holding takes, bool prefix_stop);
// Tells which keys are there; does not count as a lookup or a use.
local_answers exist_locally(const session_life& life, std::span<const key_hash> hashes);
// Ends the pins of an answer that nobody gets.
void undo(const session_life& life, std::span<const key_hash> hashes, holding takes, const local_answers& answers);

// Ends pins by key that were taken locally: true per key of which there was one.
std::vector<bool> unpin_locally(const session_life& life, std::span<const key_hash> hashes);

}  // namespace maru::net
