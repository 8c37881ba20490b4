// Records, hashes and whole-store views that the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>

#include "base/codec.hpp"
#include "storage/metadata_store.hpp"
#include "storage/records.hpp"
#include "tests/support/random_run.hpp"

namespace maru::storage::test {

using maru::test::mixed;

inline key_hash hash_of(std::uint64_t n) { return {mixed(n), mixed(~n)}; }

inline entry_record entry_of(std::uint64_t n) {
  return {.key = "model/layer/" + std::to_string(n),
          .where = {.page = {region_id{static_cast<std::uint32_t>(1 + n % 64)},
                             page_index{static_cast<std::uint32_t>(n * 2654435761u)}},
                    .length = static_cast<std::uint32_t>(n * 40503),
                    .gen = n & generation_max,
                    .checksum = ~n},
          .committed_ms = 1700000000000 + n,
          .owner = "worker-" + std::to_string(n % 7)};
}

inline uuid uuid_of(std::uint8_t n) {
  uuid id;
  id.bytes.fill(n);
  return id;
}

inline session_record session_of(std::uint64_t n) {
  auto byte = static_cast<std::uint8_t>(n);
  std::vector<region_share> shown;
  for (std::uint32_t i = 0; i < n % 3; ++i)
    shown.push_back({region_id{byte + i + 1u}, 100 + i, i == 1});
  return {.id = session_id{n},
          .resume_secret = uuid_of(byte),
          .boot_id = uuid_of(static_cast<std::uint8_t>(byte + 1)),
          .host = "host-" + std::to_string(n % 3),
          .instance = "instance-" + std::to_string(n),
          .lock_path = n % 2 ? "" : "/run/locks/" + std::to_string(n),
          .page_bytes = 4096ull << (n % 8),
          .opened_ms = n,
          .shown = shown};
}

// Everything the store holds, in the order of a scan.
using contents = std::map<std::string, entry_record>;

inline contents read_all(const metadata_store& store) {
  contents out;
  auto s = store.scan_entries({}, [&](const key_hash& hash, const entry_record& record) {
    auto key = std::string{view(entry_key(hash))};
    EXPECT_TRUE(out.empty() || out.rbegin()->first < key) << "a scan out of order";
    out[key] = record;
    return true;
  });
  EXPECT_TRUE(s) << s.error().message;
  return out;
}

using maru::test::test_seed;

}  // namespace maru::storage::test
