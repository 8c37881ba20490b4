// Goal: what was encoded decodes to the same, and nothing else decodes at all. Method: round trips, and every
// truncation, every flipped bit, and other versions of a record.
#include <gtest/gtest.h>

#include "base/bounds.hpp"
#include "base/codec.hpp"
#include "base/crc32c.hpp"
#include "storage/records.hpp"
#include "tests/storage/samples.hpp"

using namespace maru;
using namespace maru::storage;
using namespace maru::storage::test;

namespace {

std::string bytes_of(const auto& record) {
  std::string out;
  auto s = encode(record, out);
  EXPECT_TRUE(s) << s.error().message;
  return out;
}

// The same fields under another version byte, with a checksum that fits.
std::string with_version(std::string bytes, std::uint8_t version) {
  bytes.resize(bytes.size() - 4);
  bytes[0] = static_cast<char>(version);
  auto crc = crc32c(bytes.data(), bytes.size());
  writer{bytes}.number(crc);
  return bytes;
}

template <class Decode>
void expect_only_the_whole_record_decodes(const std::string& bytes, Decode decode) {
  ASSERT_TRUE(decode(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(decode(std::string_view{bytes}.substr(0, size)).code(), ec::corrupt) << "cut to " << size;
  EXPECT_EQ(decode(bytes + '\0').code(), ec::corrupt);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(decode(damaged).code(), ec::corrupt) << "bit " << bit;
  }
  for (int version = 0; version < 256; ++version)
    if (version != record_version) {
      auto other = decode(with_version(bytes, static_cast<std::uint8_t>(version)));
      EXPECT_EQ(other.code(), ec::corrupt) << "version " << version;
      EXPECT_NE(other.error().message.find("version " + std::to_string(version)), std::string::npos);
    }
  // A checksum that fits does not save a record whose fields do not fill it.
  auto longer = bytes.substr(0, bytes.size() - 4) + "x" + bytes.substr(bytes.size() - 4);
  EXPECT_EQ(decode(with_version(longer, record_version)).code(), ec::corrupt);
  auto shorter = bytes;
  shorter.erase(shorter.size() - 5, 1);
  EXPECT_EQ(decode(with_version(shorter, record_version)).code(), ec::corrupt);
}

}  // namespace

TEST(Records, EntryComesBackAsItWas) {
  for (std::uint64_t n : {0ull, 1ull, 12345ull, ~0ull})
    EXPECT_EQ(*decode_entry(bytes_of(entry_of(n))), entry_of(n));
  EXPECT_EQ(*decode_entry(bytes_of(entry_record{})), entry_record{});
  entry_record widest{.key = std::string(bounds::key_bytes_max, '\0'),
                      .owner = std::string(bounds::name_bytes_max, '\xff')};
  EXPECT_EQ(*decode_entry(bytes_of(widest)), widest);
}

TEST(Records, SessionComesBackAsItWas) {
  for (std::uint64_t n : {0ull, 1ull, 12345ull, ~0ull})
    EXPECT_EQ(*decode_session(bytes_of(session_of(n))), session_of(n));
}

TEST(Records, SessionOfBeforeThereWereRegionsHasNone) {
  auto record = session_of(5);
  auto bytes = bytes_of(record);
  record.shown.clear();
  constexpr std::size_t share = 9;
  bytes.resize(bytes.size() - 4 - share * session_of(5).shown.size());
  EXPECT_EQ(*decode_session(with_version(bytes + "crc?", record_version)), record);
}

TEST(Records, PoolComesBackAsItWas) {
  pool_record pool{uuid_of(1), uuid_of(2), "/dev/shm/pool"};
  EXPECT_EQ(*decode_pool(encode(pool)), pool);
}

TEST(Records, DamagedOrOtherVersionsOfAnEntryAreRefused) {
  expect_only_the_whole_record_decodes(bytes_of(entry_of(7)), decode_entry);
}

TEST(Records, DamagedOrOtherVersionsOfASessionAreRefused) {
  expect_only_the_whole_record_decodes(bytes_of(session_of(8)), decode_session);
}

TEST(Records, DamagedOrOtherVersionsOfAPoolAreRefused) {
  expect_only_the_whole_record_decodes(encode(pool_record{uuid_of(1), uuid_of(2), "/p"}), decode_pool);
}

TEST(Records, FieldsOverTheirBoundAreRefused) {
  std::string out;
  EXPECT_EQ(encode(entry_record{.key = std::string(bounds::key_bytes_max + 1, 'k')}, out).code(), ec::too_large);
  EXPECT_EQ(encode(entry_record{.owner = std::string(bounds::name_bytes_max + 1, 'o')}, out).code(), ec::too_large);
  EXPECT_EQ(encode(session_record{.host = std::string(bounds::name_bytes_max + 1, 'h')}, out).code(), ec::too_large);
  EXPECT_EQ(encode(session_record{.instance = std::string(70000, 'i')}, out).code(), ec::too_large);
  EXPECT_EQ(encode(session_record{.lock_path = std::string(70000, 'l')}, out).code(), ec::too_large);
  session_record much;
  much.shown.resize(bounds::shown_regions_max);
  EXPECT_TRUE(encode(much, out));
  much.shown.emplace_back();
  EXPECT_EQ(encode(much, out).code(), ec::too_large);
}

TEST(Records, EntryKeysAreTheHashLowWordFirst) {
  auto key = entry_key({0x0807060504030201, 0x100f0e0d0c0b0a09});
  EXPECT_EQ(view(key), "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10");
  EXPECT_EQ(parse_entry_key(view(key)), (key_hash{0x0807060504030201, 0x100f0e0d0c0b0a09}));
  EXPECT_EQ(parse_entry_key("short"), std::nullopt);
}

TEST(Records, SessionKeysSortAsTheirIds) {
  EXPECT_LT(std::string{view(session_key(session_id{255}))}, std::string{view(session_key(session_id{256}))});
  EXPECT_LT(std::string{view(session_key(session_id{1}))}, std::string{view(session_key(session_id{1ull << 63}))});
}
