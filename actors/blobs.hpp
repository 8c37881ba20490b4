// Splitting and joining of message blobs inside marud: a session splits a request by shard and joins the answers.
// REQUIRES of all: the blob was checked at the door (a whole number of records).
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "actors/environment.hpp"
#include "base/types.hpp"
#include "net/records.hpp"

namespace maru::actors {

inline std::vector<key_hash> hashes_of(std::string_view blob) {
  std::vector<key_hash> out(blob.size() / sizeof(key_hash));
  if (!out.empty())
    std::memcpy(out.data(), blob.data(), out.size() * sizeof(key_hash));
  return out;
}

// The same hashes as pins by key.
inline std::vector<pin_id> key_pins_of(std::string_view blob) {
  std::vector<pin_id> out;
  out.reserve(blob.size() / sizeof(key_hash));
  for (const auto& hash : hashes_of(blob))
    out.push_back({hash, {}});
  return out;
}

inline key_hash hash_at(std::string_view blob, std::size_t i) {
  key_hash h;
  std::memcpy(&h, blob.data() + i * sizeof h, sizeof h);
  return h;
}

// What one shard gets of a blob of hashes, and where its answers belong.
struct shard_part {
  std::string hashes;
  std::vector<std::uint32_t> positions;
};

inline std::vector<shard_part> split_by_shard(std::string_view hashes, std::size_t shards) {
  std::vector<shard_part> parts(shards);
  for (std::uint32_t i = 0; i < hashes.size() / sizeof(key_hash); ++i) {
    auto& part = parts[shard_of(hash_at(hashes, i), shards)];
    part.hashes.append(hashes.substr(i * sizeof(key_hash), sizeof(key_hash)));
    part.positions.push_back(i);
  }
  return parts;
}

inline std::vector<std::vector<pin_id>> split_by_shard(const std::vector<pin_id>& pins, std::size_t shards) {
  std::vector<std::vector<pin_id>> parts(shards);
  for (const auto& pin : pins)
    parts[shard_of(pin.hash, shards)].push_back(pin);
  return parts;
}

// Puts the records of one shard's answer where they belong in `out`.
inline void place_records(std::string& out, std::string_view records, const std::vector<std::uint32_t>& positions,
                          std::size_t record_bytes) {
  for (std::size_t n = 0; n < positions.size() && (n + 1) * record_bytes <= records.size(); ++n)
    std::memcpy(out.data() + positions[n] * record_bytes, records.data() + n * record_bytes, record_bytes);
}

}  // namespace maru::actors
