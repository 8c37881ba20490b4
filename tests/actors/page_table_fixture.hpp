// What tests of the page table share: rows of small regions, and regions that are open.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "actors/page_table.hpp"
#include "tests/actors/samples.hpp"

namespace maru::actors::test {

using bounds::MiB;

inline constexpr std::uint64_t extent = 2 * MiB;
inline constexpr std::uint64_t half = 1 * MiB;

inline cxl::region_row row_of(std::uint32_t id, std::uint64_t offset, std::uint64_t length, std::uint64_t page_bytes) {
  return {region_id{id}, 0, offset, length, page_bytes};
}

// Opens a region step by step, all of it.
inline void open_all(page_table& t, std::uint32_t id) {
  while (auto step = t.next_step(region_id{id}, page_part::all)) {
    t.begin_step(*step);
    t.end_step(*step, true);
  }
}

// A region of one extent with pages of 1 MiB at the n-th extent, open.
inline void add_open(page_table& t, std::uint32_t id, std::uint64_t n, std::uint64_t page_bytes = half) {
  auto length = std::max(page_bytes, extent);
  ASSERT_TRUE(t.add_region(row_of(id, n * extent, length, page_bytes)));
  open_all(t, id);
}

}  // namespace maru::actors::test
