// A session's file of a test's own, with both sides of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "cxl/held_pages.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::cxl::test {

inline page_ref page(std::uint32_t n) { return {region_id{1}, page_index{n}}; }

// An empty file, as marud makes it before a session is opened.
struct session_file {
  maru::test::temp_folder folder;
  std::string path = folder / "session";
  session_file() { std::ofstream{path}; }
  std::unique_ptr<held_pages> worker() const {
    auto opened = held_pages::open(path);
    return opened ? *std::move(opened) : nullptr;
  }
  held_pages_reader reader() const { return *held_pages_reader::open(path); }
};

// A page's state word, as the descriptor has it.
struct state {
  std::uint64_t word = 2;
  std::atomic_ref<std::uint64_t> operator()() { return std::atomic_ref{word}; }
};

// The first `n` pages that share a line in `level`, and so in all levels before.
inline std::vector<page_ref> pages_of_one_line(std::size_t level, std::size_t n) {
  std::vector<page_ref> out;
  for (std::uint32_t i = 1; out.size() < n; ++i)
    if (out.empty() || held_pages_file::line_of(page(i), level) == held_pages_file::line_of(out[0], level))
      out.push_back(page(i));
  return out;
}

// What marud sees of one page.
inline held_pages_reader::kinds seen(const held_pages_reader& reader, page_ref which) {
  held_pages_reader::kinds out;
  EXPECT_TRUE(reader.look_up({&which, 1}, {&out, 1}));
  return out;
}

}  // namespace maru::cxl::test
