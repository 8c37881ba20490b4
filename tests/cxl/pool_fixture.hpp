// A pool in a temporary folder, and the ways to damage it.
#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cxl/pool.hpp"
#include "cxl/superblock_pair.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::cxl {

class pool_fixture : public ::testing::Test {
protected:
  pool_options options(std::uint64_t size = 32 * bounds::MiB) {
    pool_options o;
    o.path = folder / "pool";
    o.size = size;
    return o;
  }
  std::string data() { return folder / "pool"; }
  std::string meta() { return folder / "pool.meta"; }

  // Opens, and fails the test where that is refused.
  std::unique_ptr<pool> must_open(const pool_options& o, const std::optional<known_pool>& known = std::nullopt) {
    auto p = pool::open(o, known);
    EXPECT_TRUE(p) << p.error().message;
    return p ? std::move(*p) : nullptr;
  }
  std::unique_ptr<pool> must_open(const std::optional<known_pool>& known = std::nullopt) {
    return must_open(options(), known);
  }
  // A pool of before, with a region and a committed page: what RocksDB would know of it.
  known_pool make_pool() {
    auto p = must_open();
    auto row = p->add_region(0, 2 * bounds::MiB, 64 * bounds::KiB);
    EXPECT_TRUE(row);
    descriptor d;
    d.state = page_state::committed;
    d.gen = 5;
    p->note_generation(5);
    p->descriptors().write(0, d);
    overwrite(data(), 0, std::vector<std::byte>(4096, std::byte{0x77}));
    return {p->super().pool, p->super().incarnation};
  }
  static void expect_refused(const result<std::unique_ptr<pool>>& r, ec code, std::vector<std::string> words = {}) {
    ASSERT_FALSE(r);
    EXPECT_EQ(r.code(), code) << r.error().message;
    EXPECT_TRUE(r.error().message.starts_with("failed to ")) << r.error().message;
    for (const auto& word : words)
      EXPECT_NE(r.error().message.find(word), std::string::npos) << "no '" << word << "' in: " << r.error().message;
  }

  static void overwrite(const std::string& path, std::uint64_t offset, std::span<const std::byte> bytes) {
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)), static_cast<ssize_t>(bytes.size()));
    ::close(fd);
  }
  static std::vector<std::byte> bytes_of(const std::string& path, std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> out(size);
    int fd = ::open(path.c_str(), O_RDONLY);
    EXPECT_EQ(::pread(fd, out.data(), size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    ::close(fd);
    return out;
  }
  static void flip(const std::string& path, std::uint64_t offset) {
    auto byte = bytes_of(path, offset, 1);
    byte[0] ^= std::byte{0x10};
    overwrite(path, offset, byte);
  }
  superblock stored(std::uint64_t copy) {
    auto sb = decode_superblock(bytes_of(meta(), copy, superblock_bytes));
    EXPECT_TRUE(sb);
    return sb.value_or(superblock{});
  }
  // Changes the superblock as another host or a former start would have left it.
  template <class F>
  void edit_superblock(F change) {
    edit_superblock(meta(), change);
  }
  template <class F>
  static void edit_superblock(const std::string& meta, F change) {
    for (auto copy : {superblock_a_offset, superblock_b_offset}) {
      auto sb = decode_superblock(bytes_of(meta, copy, superblock_bytes));
      ASSERT_TRUE(sb);
      change(*sb);
      overwrite(meta, copy, encode(*sb));
    }
  }

  test::temp_folder folder;
};

}  // namespace maru::cxl
