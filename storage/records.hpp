// The byte form of what the store keeps, the same for every backend.
//
// A record is {version: 1 byte, fields (base/codec.hpp), crc32c of all bytes before it: 4 bytes}. RocksDB checks its
// blocks too; the record's own checksum says that these bytes are one whole record of this version, so that a
// truncated, mixed-up or newer record is refused and never read as something else.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/types.hpp"
#include "storage/metadata_store.hpp"

namespace maru::storage {

inline constexpr std::uint8_t record_version = 1;

// `too_large`: the key, or one of the names, is over its bound (base/bounds.hpp). `out` is replaced.
status encode(const entry_record& record, std::string& out);
status encode(const session_record& record, std::string& out);
std::string encode(const pool_record& record);

// `corrupt`: not a record of this version.
result<entry_record> decode_entry(std::string_view bytes);
result<session_record> decode_session(std::string_view bytes);
result<pool_record> decode_pool(std::string_view bytes);

// The 16 bytes an entry is stored under, low word first. Byte order of these strings is the order of a scan.
std::array<char, 16> entry_key(const key_hash& hash);
// Empty where the bytes are not a key of this form.
std::optional<key_hash> parse_entry_key(std::string_view bytes);

// Sessions are stored in the order of their ids: 8 bytes, most significant first.
std::array<char, 8> session_key(session_id id);

inline std::string_view view(const auto& bytes) { return {bytes.data(), bytes.size()}; }

}  // namespace maru::storage
