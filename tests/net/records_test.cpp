// Goal: blobs of records survive a round trip, and no blob from a stranger is taken for more than it is.
// Method: fixed byte layouts; every truncation of good blobs; each field at and past its bound; seeded random bytes
// (MARU_SEED) against the property that what decodes encodes to the same bytes.
#include "net/records.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/bounds.hpp"
#include "tests/support/random_run.hpp"

namespace maru::net {
namespace {

page_ref page(std::uint32_t region, std::uint32_t index) {
  return {static_cast<region_id>(region), static_cast<page_index>(index)};
}

std::vector<key_hash> some_hashes(std::size_t n) {
  std::vector<key_hash> out;
  for (std::size_t i = 0; i < n; ++i)
    out.push_back({i, ~i});
  return out;
}

std::vector<commit_item> some_commits() {
  return {{"a", {page(1, 2), 3, 4, 5}}, {"", {page(6, 7), 8, 9, 10}}, {"longer key", {page(11, 12), 13, 14, 15}}};
}

TEST(Records, HashesAreTwoLittleEndianNumbers) {
  std::vector<key_hash> hashes{{0x0807060504030201, 0x100f0e0d0c0b0a09}};
  auto blob = encode_hashes(hashes);
  ASSERT_EQ(blob.size(), 16u);
  for (int i = 0; i < 16; ++i)
    EXPECT_EQ(blob[static_cast<std::size_t>(i)], static_cast<char>(i + 1));
  EXPECT_EQ(decode_hashes(blob), hashes);
}

TEST(Records, EveryKindSurvivesARoundTrip) {
  auto hashes = some_hashes(17);
  EXPECT_EQ(decode_hashes(encode_hashes(hashes)), hashes);
  std::vector<found> items{{ec::ok, {page(1, 2), 3, generation_max, ~0ull}}, {ec::missing, {}}};
  EXPECT_EQ(decode_found(encode_found(items)), items);
  std::vector<page_grant> grants{{page(1, 2), 3}, {page(~0u, ~0u), generation_max}};
  EXPECT_EQ(decode_grants(encode_grants(grants)), grants);
  std::vector<pin_id> views{{{1, 2}, {page(3, 4), 5}}, {{~0ull, ~0ull}, {page(~0u, ~0u), generation_max}}};
  EXPECT_EQ(decode_view_pins(encode_view_pins(views)), views);
  std::vector<ec> codes;
  for (int i = 0; i <= static_cast<int>(ec::last_); ++i)
    codes.push_back(static_cast<ec>(i));
  EXPECT_EQ(decode_codes(encode_codes(codes)), codes);
  auto commits = some_commits();
  auto blob = encode_commits(commits);
  auto decoded = decode_commits(blob);
  ASSERT_TRUE(decoded);
  ASSERT_EQ(decoded->size(), commits.size());
  for (std::size_t i = 0; i < commits.size(); ++i) {
    EXPECT_EQ((*decoded)[i].key, commits[i].key);
    EXPECT_EQ((*decoded)[i].where, commits[i].where);
  }
}

TEST(Records, FoundRecordsHaveTheDocumentedLayout) {
  std::vector<found> items{{ec::missing, {page(1, 2), 3, 4, 5}}};
  auto blob = encode_found(items);
  ASSERT_EQ(blob.size(), found_bytes);
  const unsigned char expected[found_bytes] = {1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0,
                                               4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(blob, std::string(reinterpret_cast<const char*>(expected), found_bytes));
}

TEST(Records, EmptyBlobsAreEmptyBatches) {
  EXPECT_EQ(decode_hashes("")->size(), 0u);
  EXPECT_EQ(decode_found("")->size(), 0u);
  EXPECT_EQ(decode_grants("")->size(), 0u);
  EXPECT_EQ(decode_codes("")->size(), 0u);
  EXPECT_EQ(decode_commits("")->size(), 0u);
}

TEST(Records, FixedRecordsTakeWholeRecordsOnly) {
  auto hashes = encode_hashes(some_hashes(3));
  std::vector<found> three_found(3);
  auto items = encode_found(three_found);
  std::vector<page_grant> three_grants(3);
  auto grants = encode_grants(three_grants);
  for (std::size_t n = 0; n <= hashes.size(); ++n)
    EXPECT_EQ(decode_hashes(hashes.substr(0, n)).has_value(), n % 16 == 0) << n;
  for (std::size_t n = 0; n <= items.size(); ++n)
    EXPECT_EQ(decode_found(items.substr(0, n)).has_value(), n % found_bytes == 0) << n;
  for (std::size_t n = 0; n <= grants.size(); ++n)
    EXPECT_EQ(decode_grants(grants.substr(0, n)).has_value(), n % 16 == 0) << n;
}

TEST(Records, BatchesEndAtTheirBound) {
  auto most = bounds::batch_items_max;
  EXPECT_TRUE(decode_hashes(std::string(most * 16, '\0')));
  EXPECT_FALSE(decode_hashes(std::string((most + 1) * 16, '\0')));
  EXPECT_TRUE(decode_found(std::string(most * found_bytes, '\0')));
  EXPECT_FALSE(decode_found(std::string((most + 1) * found_bytes, '\0')));
  EXPECT_TRUE(decode_grants(std::string(most * 16, '\0')));
  EXPECT_FALSE(decode_grants(std::string((most + 1) * 16, '\0')));
  EXPECT_TRUE(decode_codes(std::string(most, '\0')));
  EXPECT_FALSE(decode_codes(std::string(most + 1, '\0')));
  EXPECT_TRUE(decode_commits(std::string(most * 32, '\0')));
  EXPECT_FALSE(decode_commits(std::string((most + 1) * 32, '\0')));
}

TEST(Records, UnknownCodesAreRefused) {
  for (int code = 0; code < 256; ++code) {
    bool known = code <= static_cast<int>(ec::last_);
    EXPECT_EQ(decode_codes(std::string(1, static_cast<char>(code))).has_value(), known) << code;
    std::string item(found_bytes, '\0');
    item[12] = static_cast<char>(code);
    EXPECT_EQ(decode_found(item).has_value(), known) << code;
  }
}

TEST(Records, BytesThatMustBeZeroAreChecked) {
  for (std::size_t at = 13; at < 16; ++at) {
    std::string item(found_bytes, '\0');
    item[at] = 1;
    EXPECT_FALSE(decode_found(item)) << at;
  }
}

TEST(Records, GenerationsOver48BitsAreRefused) {
  std::vector<page_grant> grants{{page(1, 1), generation_max}};
  EXPECT_TRUE(decode_grants(encode_grants(grants)));
  grants[0].gen = generation_max + 1;
  EXPECT_FALSE(decode_grants(encode_grants(grants)));
  std::vector<found> items{{ec::ok, {page(1, 1), 1, generation_max + 1, 0}}};
  EXPECT_FALSE(decode_found(encode_found(items)));
  std::vector<commit_item> commits{{"k", {page(1, 1), 1, generation_max + 1, 0}}};
  EXPECT_FALSE(decode_commits(encode_commits(commits)));
}

TEST(Records, AViewsPinNamesAPage) {
  std::vector<pin_id> views{{{1, 2}, {page(1, 0), 5}}};
  auto blob = encode_view_pins(views);
  ASSERT_EQ(blob.size(), view_pin_bytes);
  EXPECT_TRUE(decode_view_pins(blob));
  EXPECT_FALSE(decode_view_pins(blob.substr(1)));
  views[0].page.page = page(0, 7);
  EXPECT_FALSE(decode_view_pins(encode_view_pins(views)));
  views[0].page = {page(1, 7), generation_max + 1};
  EXPECT_FALSE(decode_view_pins(encode_view_pins(views)));
  views.assign(bounds::batch_items_max + 1, {{1, 2}, {page(1, 0), 5}});
  EXPECT_FALSE(decode_view_pins(encode_view_pins(views)));
}

TEST(Records, CommitsEndWhereAnItemEnds) {
  auto blob = encode_commits(some_commits());
  std::vector<std::size_t> ends{0, 33, 33 + 32, 33 + 32 + 42};
  ASSERT_EQ(blob.size(), ends.back());
  for (std::size_t n = 0; n <= blob.size(); ++n) {
    auto whole = std::find(ends.begin(), ends.end(), n);
    auto decoded = decode_commits(std::string_view{blob}.substr(0, n));
    EXPECT_EQ(decoded.has_value(), whole != ends.end()) << n;
    if (decoded) {
      EXPECT_EQ(decoded->size(), static_cast<std::size_t>(whole - ends.begin()));
    }
  }
}

TEST(Records, KeySizesPastTheBlobAreRefused) {
  auto blob = encode_commits(std::vector<commit_item>{{"key", {page(1, 1), 1, 1, 0}}});
  for (std::uint32_t size : {0u, 2u, 4u, 1025u, 0x7fffffffu, 0xffffffffu}) {
    std::memcpy(blob.data() + 20, &size, sizeof size);
    EXPECT_FALSE(decode_commits(blob)) << size;
  }
}

TEST(Records, OversizedKeysDecodeAsItems) {
  std::string key(bounds::key_bytes_max + 1, 'k');
  auto blob = encode_commits(std::vector<commit_item>{{key, {page(1, 1), 1, 1, 0}}});
  auto decoded = decode_commits(blob);
  ASSERT_TRUE(decoded);
  EXPECT_EQ((*decoded)[0].key, key);
}

// What a decoder accepts is exactly what its encoder writes: nothing is lost, nothing is made up.
TEST(Records, WhatDecodesEncodesToTheSameBytes) {
  std::mt19937_64 random{maru::test::test_seed()};
  std::size_t accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string blob(random() % 100, '\0');
    // Mostly small numbers, so that sizes and generations are often within their bounds.
    for (auto& byte : blob)
      byte = static_cast<char>(random() % 4 == 0 ? random() % 8 : 0);
    if (auto x = decode_hashes(blob); x && ++accepted) {
      ASSERT_EQ(encode_hashes(*x), blob);
    }
    if (auto x = decode_found(blob); x && ++accepted) {
      ASSERT_EQ(encode_found(*x), blob);
    }
    if (auto x = decode_grants(blob); x && ++accepted) {
      ASSERT_EQ(encode_grants(*x), blob);
    }
    if (auto x = decode_view_pins(blob); x && ++accepted) {
      ASSERT_EQ(encode_view_pins(*x), blob);
    }
    if (auto x = decode_codes(blob); x && ++accepted) {
      ASSERT_EQ(encode_codes(*x), blob);
    }
    if (auto x = decode_commits(blob); x && ++accepted) {
      ASSERT_EQ(encode_commits(*x), blob);
    }
  }
  EXPECT_GT(accepted, 1000u);
}

}  // namespace
}  // namespace maru::net
