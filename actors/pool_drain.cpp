// The pool_manager's draining: regions of one page size become another's.
#include "actors/pool_manager.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto drain_again_after = 250ms;  // after no region could be emptied

}  // namespace

void pool_manager::begin_drain(std::uint64_t page_bytes) {
  auto now = clock().now();
  if (drain_ || grace_ || now < no_drain_until_ || now < no_space_until_)
    return;
  auto regions = table_->cheapest_window(page_bytes, stuck_);
  if (regions.empty()) {
    if (!std::exchange(stuck_, {}).empty())
      no_drain_until_ = now + drain_again_after;
    return;
  }
  drain_.emplace();
  drain_->for_page_bytes = page_bytes;
  drain_->regions = regions;
  log::info("drain", "{} regions are emptied for pages of {} bytes, which have nothing else to make room from",
            regions.size(), page_bytes);
  for (auto id : regions)
    table_->set_draining(id, true);
  continue_drain();
}

std::vector<victim> pool_manager::next_victims() {
  auto& d = *drain_;
  std::vector<victim> out;
  for (std::size_t looked_at = 0; looked_at < bounds::slice_pages && d.region < d.regions.size(); ++looked_at) {
    auto id = d.regions[d.region];
    page_ref page{id, page_index{d.page}};
    auto* row = table_->find(id);
    if (!row || ++d.page >= row->page_count()) {
      ++d.region;
      d.page = 0;
    }
    if (auto state = table_->state_of(page); !state || *state != page_state::committed)
      continue;
    if (auto found = env_->pool->descriptors().read(*env_->slot_of(page)))
      out.push_back({found->hash, {page, found->length, found->gen, found->checksum}});
  }
  return out;
}

void pool_manager::continue_drain() {
  auto& d = *drain_;
  auto victims = d.failed ? std::vector<victim>{} : next_victims();
  if (victims.empty()) {
    if (d.failed || d.region == d.regions.size())
      end_drain();
    else
      send(this, drain_slice{});
    return;
  }
  std::vector<evict_entries> parts(shards_.size(), {{}, d.for_page_bytes != 0});
  for (const auto& v : victims)
    parts[shard_of(v.hash, shards_.size())].entries.push_back(v);
  for (std::size_t i = 0; i < parts.size(); ++i)
    d.open_requests += parts[i].entries.empty() ? 0 : 1;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].entries.empty())
      continue;
    auto finish = [this](bool failed) {
      drain_->failed |= failed && drain_->for_page_bytes != 0;  // a device goes on with what nobody holds
      if (--drain_->open_requests == 0)
        continue_drain();
    };
    request(shards_[i], caf::infinite, std::move(parts[i]))
      .then([finish](const evicted& e) { finish(e.pinned > 0); }, [finish](const caf::error&) { finish(true); });
  }
}

void pool_manager::end_drain() {
  auto d = std::move(*drain_);
  drain_.reset();
  for (auto id : d.regions) {
    const auto* row = table_->find(id);
    if (!row || remove_region(id) || table_->closed(row->device))
      continue;
    table_->set_draining(id, false);
    stuck_.insert(id);  // pinned, or a put under way: another region may do
  }
  if (d.for_page_bytes != 0)
    supply(d.for_page_bytes);
}

}  // namespace maru::actors
