// Fixed records in message blobs. CAF moves one blob 20 to 30 times cheaper than a list of strings or structs, so
// batches travel as a byte string of records, in order. Decoders check every bound: the bytes come from strangers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"

namespace maru::net {

// One key hash: low, high (16 bytes).
std::string encode_hashes(std::span<const key_hash> hashes);
// Empty optional where the size is no multiple of 16 or over the batch bound.
std::optional<std::vector<key_hash>> decode_hashes(std::string_view blob);

// One view's pin (32 bytes): hash 16, region 4, page 4, generation 8.
inline constexpr std::size_t view_pin_bytes = 32;
std::string encode_view_pins(std::span<const pin_id> pins);
// Empty optional also where a record names no page.
std::optional<std::vector<pin_id>> decode_view_pins(std::string_view blob);

// One answer of a lookup or pin (32 bytes): region 4, page 4, length 4, code 1, zero 3, generation 8, checksum 8.
struct found {
  ec code = ec::missing;  // ok, or missing
  location where;
  friend bool operator==(const found&, const found&) = default;
};
inline constexpr std::size_t found_bytes = 32;
std::string encode_found(std::span<const found> items);
std::optional<std::vector<found>> decode_found(std::string_view blob);

// One granted page (16 bytes): region 4, page 4, generation 8.
std::string encode_grants(std::span<const page_grant> grants);
std::optional<std::vector<page_grant>> decode_grants(std::string_view blob);

// One code per item (1 byte).
std::string encode_codes(std::span<const ec> codes);
std::optional<std::vector<ec>> decode_codes(std::string_view blob);

// One key to commit: region 4, page 4, generation 8, length 4, key size 4, checksum 8, then the key.
// `key` points into the blob.
struct commit_item {
  std::string_view key;
  location where;
};
std::string encode_commits(std::span<const commit_item> items);
// Empty optional where the blob is malformed or over the batch bound. Empty and oversized keys decode (each is an error
// of its item, not of the batch).
std::optional<std::vector<commit_item>> decode_commits(std::string_view blob);

}  // namespace maru::net
