// What every operation on keys begins with: their hashes, under the secret of the session that they are asked of.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/types.hpp"
#include "net/client_impl.hpp"
#include "net/operations.hpp"

namespace maru::net {

struct hashed_keys {
  std::shared_ptr<const session_life> life;
  std::vector<key_hash> hashes;
};

// `what` names the operation in errors. session_over; too_large: more keys than a batch takes, or too long a key; invalid: an
// empty one.
result<hashed_keys> hash_keys(client_impl& impl, const char* what, key_list keys);

inline std::vector<key_hash> picked(std::span<const key_hash> hashes, std::span<const std::uint32_t> positions) {
  std::vector<key_hash> out;
  out.reserve(positions.size());
  for (auto i : positions)
    out.push_back(hashes[i]);
  return out;
}

}  // namespace maru::net
