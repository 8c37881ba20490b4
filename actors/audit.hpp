// The audit behind `maructl check` (invariant 3): every page is in exactly one state, and page table, descriptors, RocksDB
// and index agree on it.
//
// Operation: two passes over slices of bounds::slice_pages: first all pages against descriptor, record and index, then all
// records against the pages. marud goes on meanwhile, so what disagrees is looked at again a few times before it is
// reported: a put or a removal that is under way settles within that.
// Concurrency: one thread, which may block.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/environment.hpp"
#include "actors/index.hpp"
#include "actors/page_table.hpp"

namespace maru::actors {

class audit {
public:
  using ask_states = std::function<std::vector<page_state>(region_id, std::uint32_t from, std::uint32_t count)>;
  using ask_index = std::function<std::optional<index::details>(const key_hash&)>;

  audit(environment_ptr env, ask_states states, ask_index entries, std::vector<cxl::region_row> rows);

  struct disagreement {
    std::string what;  // "region:page", or a key's hash
    std::string problem;
  };
  struct slice {
    std::vector<disagreement> problems;
    std::uint64_t done = 0, total = 0;  // pages and records so far, of all
    std::string cursor;                 // for the next slice; empty when done
  };
  // `cursor`: empty for the first slice, else the one of the slice before. An unknown cursor starts from the beginning.
  slice next(std::string_view cursor);

private:
  slice check_pages(std::uint64_t from);
  slice check_records(const std::string& from, std::uint64_t done);
  // What is wrong with a page; empty when all agree.
  std::string page_problem(const cxl::region_row& row, page_index page, page_state state) const;
  std::string record_problem(const key_hash& hash, const storage::entry_record& record) const;
  std::string reader_problem(const key_hash& hash, std::uint64_t slot) const;

  environment_ptr env_;
  ask_states states_;
  ask_index entries_;
  std::vector<cxl::region_row> rows_;
  cxl::pool_reader readers_;
  std::uint64_t total_pages_ = 0;
};

}  // namespace maru::actors
