// Where every region lies, for the actors that write descriptors. The pool_manager writes it; all read it. Region ids are
// never reused, so an answer cannot become wrong while it is used, only outdated.
//
// Concurrency: any thread.
#pragma once

#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "cxl/layout.hpp"

namespace maru::actors {

class region_directory {
public:
  void add(const cxl::region_row& row) {
    std::unique_lock guard{mutex_};
    rows_[value_of(row.id)] = row;
  }
  void remove(region_id id) {
    std::unique_lock guard{mutex_};
    rows_.erase(value_of(id));
  }
  std::optional<cxl::region_row> find(region_id id) const {
    std::shared_lock guard{mutex_};
    auto at = rows_.find(value_of(id));
    return at == rows_.end() ? std::nullopt : std::optional{at->second};
  }
  // Slot of the page's descriptor; empty for a page that does not exist.
  std::optional<std::uint64_t> slot_of(page_ref page, std::uint64_t slot_bytes) const {
    auto row = find(page.region);
    if (!row || value_of(page.page) >= row->page_count())
      return std::nullopt;
    return cxl::slot_of(*row, page.page, slot_bytes);
  }

private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::uint32_t, cxl::region_row> rows_;
};

}  // namespace maru::actors
