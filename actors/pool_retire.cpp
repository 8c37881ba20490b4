// The pool_manager's pages whose memory failed: they leave for good, and whatever was in them with them.
#include <algorithm>

#include "actors/pool_manager.hpp"

namespace maru::actors {

// A free page at once; one that somebody has when it would be free again.
void pool_manager::retire(const std::vector<page_ref>& pages) {
  for (auto page : pages) {
    auto state = table_->state_of(page);
    if (!state || *state == page_state::retired || failed_.contains(page))
      continue;
    log::error("page_retired", "the memory of page {} failed: it is never used again", to_string(page));
    env_->metrics->memory_failed(1);
    if (*state != page_state::free)
      failed_.insert(page);
    else if (table_->move(page, page_state::free, page_state::retired) == ec::ok)
      write_over(page, page_state::retired);
  }
}

// The pages of a region that overlap these pieces of the device.
void pool_manager::retire_failed(region_id id, const std::vector<cxl::failed_piece>& pieces) {
  auto* row = table_->find(id);
  std::vector<page_ref> pages;
  for (const auto& piece : pieces) {
    if (!row || piece.offset + piece.size <= row->offset)
      continue;
    auto first = (std::max<std::uint64_t>(piece.offset, row->offset) - row->offset) / row->page_bytes;
    auto last = (piece.offset + piece.size - 1 - row->offset) / row->page_bytes;
    for (auto i = first; i <= last && i < row->page_count(); ++i)
      pages.push_back({id, page_index{static_cast<std::uint32_t>(i)}});
  }
  retire(pages);
}

// What a page becomes that is to be `to`. One in quarantine after its eviction is nobody's, as a free one is.
page_state pool_manager::state_after(page_ref page, page_state from, page_state to) {
  bool is_nobodys = to == page_state::free || (from == page_state::evicting && to == page_state::quarantined);
  return is_nobodys && failed_.erase(page) > 0 ? page_state::retired : to;
}

}  // namespace maru::actors
