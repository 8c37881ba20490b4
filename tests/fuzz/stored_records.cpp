// Goal: a record of the store is read as what was written or refused (storage/records.hpp). Method: the bytes as each
// kind of record, as they are and between a version and a checksum that fit: what decodes encodes to the same bytes;
// then the bytes as keys of the store.
#include "storage/records.hpp"

#include "base/bounds.hpp"
#include "base/crc32c.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

using namespace storage;

constexpr std::size_t path_bytes_max = 4096;

template <class Record>
void hold_to_its_bytes(std::string_view bytes, const result<Record>& decoded, bool fits_bounds) {
  if (!decoded) {
    must(decoded.code() == ec::corrupt && !decoded.error().message.empty(), "a refusal says why");
    return;
  }
  must(static_cast<std::uint8_t>(bytes.front()) == record_version, "what decodes is of this version");
  std::string again;
  auto encoded = encode(*decoded, again);
  must(bool{encoded} == fits_bounds, "a record encodes if its names fit their bounds, and only then");
  if (encoded)
    must(again == bytes, "what decodes encodes to the same bytes");
}

void try_records(std::string_view bytes) {
  auto entry = decode_entry(bytes);
  hold_to_its_bytes(
    bytes, entry, entry && entry->key.size() <= bounds::key_bytes_max && entry->owner.size() <= bounds::name_bytes_max);
  auto session = decode_session(bytes);
  hold_to_its_bytes(bytes, session,
                    session && session->host.size() <= bounds::name_bytes_max
                      && session->instance.size() <= bounds::name_bytes_max
                      && session->lock_path.size() <= path_bytes_max);
  auto pool = decode_pool(bytes);
  if (!pool)
    return;
  if (pool->path.size() <= path_bytes_max)
    must(encode(*pool) == bytes, "a pool record that decodes encodes to the same bytes");
  else
    must(decode_pool(encode(*pool))->path.empty(), "a path over its bound is not kept");
}

void try_keys(reader in) {
  auto hash = in.hash();
  must(parse_entry_key(view(entry_key(hash))) == hash, "the key of an entry survives");
  session_id a{in.number<std::uint64_t>()}, b{in.number<std::uint64_t>()};
  must((value_of(a) < value_of(b)) == (view(session_key(a)) < view(session_key(b))), "sessions are in their order");
}

}  // namespace

void try_input(std::string_view bytes) {
  try_records(bytes);
  std::string sealed(1, static_cast<char>(record_version));
  sealed += bytes;
  writer{sealed}.number(crc32c(sealed.data(), sealed.size()));
  try_records(sealed);
  must(parse_entry_key(bytes).has_value() == (bytes.size() == 16), "a key of an entry has 16 bytes");
  try_keys(reader{bytes});
}

}  // namespace maru::fuzz
