// The pool_manager's supply: free pages come from regions that are opened further, from new ones, from eviction.
#include <algorithm>

#include "actors/pool_manager.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto retry_after = 1s;  // after the device had no space

}  // namespace

void pool_manager::supply(std::uint64_t page_bytes) {
  auto& c = class_of(page_bytes);
  serve_waiting(page_bytes);
  std::uint64_t wanted = 0;
  for (const auto& w : c.waiting)
    wanted += opening_own(w.request.session) ? 0 : share_of(w.request);
  auto target = (c.in_demand ? c.reserve.pages(table_->capacity(page_bytes)) : 0) + wanted;
  bool short_of = table_->free_pages(page_bytes, page_part::nobodys) < target + c.reserve.lead();
  if (!c.preparing && short_of && !grow(page_bytes) && wanted > 0)
    open_step(table_->next_step_of(page_bytes, page_part::assigned), true);
  auto free = table_->free_pages(page_bytes);
  if (c.preparing || free >= target || grace_)
    return;
  if (free + c.evicting < target)
    evict(page_bytes, target - free - c.evicting,
          c.waiting.empty() ? metrics::evicted_for::reserve : metrics::evicted_for::request);
}

bool pool_manager::has_space() const { return clock().now() >= no_space_until_; }

bool pool_manager::can_grow(std::uint64_t page_bytes) const {
  return has_space()
         && (table_->next_step_of(page_bytes, page_part::nobodys) || (!rows_held_ && table_->find_place(page_bytes)));
}

// Begins to make more of nobody's pages ready. False where there is no room for any.
bool pool_manager::grow(std::uint64_t page_bytes) {
  if (open_step(table_->next_step_of(page_bytes, page_part::nobodys), true))
    return true;
  auto place = rows_held_ || !has_space() ? std::nullopt : table_->find_place(page_bytes);
  auto row = place ? make_region(*place, page_bytes) : std::nullopt;
  return row && open_step(table_->next_step(row->id, page_part::nobodys), true);
}

std::optional<cxl::region_row> pool_manager::make_region(const page_table::place& place, std::uint64_t page_bytes) {
  auto row = env_->pool->add_region(place.offset, place.length, page_bytes, place.device);
  if (!row) {
    log::error("no_region", "{}", to_string(row.error()));
    no_space_ = true;
    no_space_until_ = clock().now() + retry_after;
    return std::nullopt;
  }
  if (auto added = table_->add_region(*row); !added) {
    log::error("no_region", "{}", to_string(added.error()));
    return std::nullopt;
  }
  env_->regions->add(*row);
  return *row;
}

bool pool_manager::remove_region(region_id id, bool with_retired) {
  if (!table_->remove_region(id, with_retired))
    return false;
  shown_.drop(id);
  env_->regions->remove(id);
  if (auto removed = env_->pool->remove_region(id); !removed)
    log::error("region_stays", "{}", to_string(removed.error()));
  return true;
}

// Has the preparer take storage for a step. `for_all`: others wait for its pages too. False where there is no step, or no
// space.
bool pool_manager::open_step(const std::optional<page_table::step>& step, bool for_all) {
  if (!step || !has_space())
    return false;
  table_->begin_step(*step);
  auto page_bytes = table_->find(step->region)->page_bytes;
  class_of(page_bytes).preparing |= for_all;
  auto finish = [this, step = *step, page_bytes, for_all](ec code, const std::vector<cxl::failed_piece>& failed) {
    if (for_all)
      class_of(page_bytes).preparing = false;
    retire_failed(step.region, failed);
    end_step(step, code);
    supply(page_bytes);
  };
  request(preparer_, caf::infinite, prepare_pages{step->offset, step->length, step->device})
    .then([finish](const prepared& p) { finish(p.code, p.failed); },
          [finish](const caf::error&) { finish(ec::stopping, {}); });
  return true;
}

void pool_manager::end_step(const page_table::step& step, ec code) {
  table_->end_step(step, code == ec::ok);
  no_space_ = code != ec::ok;
  if (no_space_)
    no_space_until_ = clock().now() + retry_after;
  // Nothing keeps a region that got no storage, or whose session ended meanwhile.
  if (no_space_ || step.part == page_part::assigned)
    give_back_if_unused(step.region);
}

// Opens the next step of a session's regions where fewer than `count` pages are left there, or than half a step. True where
// one is under way.
bool pool_manager::open_own(session_id session, std::uint64_t count) {
  std::uint64_t free = 0;
  for (const auto& share : shown_.of(session)) {
    if (table_->opening(share.region))
      return true;
    auto part = share.shared ? page_part::all : page_part::assigned;
    free += table_->free_pages_in(share.region, part);
    auto next = table_->next_step(share.region, part);
    if (next && free < std::max<std::uint64_t>(count, next->count / 2))
      return open_step(next, false);
  }
  return false;
}

bool pool_manager::opening_own(session_id session) const {
  const auto& own = shown_.of(session);
  return std::any_of(own.begin(), own.end(), [this](const auto& share) { return table_->opening(share.region); });
}

void pool_manager::evict(std::uint64_t page_bytes, std::uint64_t count, metrics::evicted_for reason) {
  auto& c = class_of(page_bytes);
  auto each = (count + shards_.size() - 1) / shards_.size();
  auto asked = static_cast<std::uint32_t>(std::min<std::uint64_t>(each, bounds::slice_pages));
  for (auto& shard : shards_) {
    c.evicting += asked;
    request(shard, caf::infinite, evict_coldest{page_bytes, asked, reason})
      .then([this, page_bytes, asked](const evicted& e) { evicted_some(page_bytes, asked, e.pages); },
            [this, page_bytes, asked](const caf::error&) { evicted_some(page_bytes, asked, 0); });
  }
}

void pool_manager::evicted_some(std::uint64_t page_bytes, std::uint32_t asked, std::uint32_t gone) {
  auto& c = class_of(page_bytes);
  c.evicting -= asked;
  if (gone > 0)
    supply(page_bytes);
  else if (c.evicting == 0 && starves(c))
    begin_drain(page_bytes);
}

caf::typed_response_promise<evicted_bytes> pool_manager::evict_for_operator(std::uint64_t bytes) {
  struct job {
    std::uint64_t wanted, open = 0;
    evicted_bytes sum{};
    caf::typed_response_promise<evicted_bytes> promise;
  };
  auto j = std::make_shared<job>();
  j->wanted = bytes;
  j->promise = make_response_promise<evicted_bytes>();
  // A slice of each shard at a time, one page size after the other, until enough went or nothing goes.
  auto round = std::make_shared<std::function<void()>>();
  *round = [this, j, weak = std::weak_ptr{round}] {
    auto again = weak.lock();
    std::uint64_t before = j->sum.pages;
    auto expected = j->sum.bytes;  // if all goes that this round asks for
    for (auto page_bytes : table_->page_sizes()) {
      if (expected >= j->wanted || env_->stopping->load(std::memory_order_relaxed))
        break;
      auto left = (j->wanted - expected + page_bytes - 1) / page_bytes;
      auto each = std::clamp<std::uint64_t>((left + shards_.size() - 1) / shards_.size(), 1, bounds::slice_pages);
      expected += page_bytes * std::min(each * shards_.size(), table_->counts(page_bytes).committed);
      for (auto& shard : shards_) {
        ++j->open;
        auto finish = [j, again, page_bytes, before](std::uint32_t gone) {
          j->sum.pages += gone;
          j->sum.bytes += gone * page_bytes;
          if (--j->open > 0)
            return;
          if (j->sum.bytes < j->wanted && j->sum.pages > before)
            (*again)();
          else
            j->promise.deliver(j->sum);
        };
        request(shard, caf::infinite,
                evict_coldest{page_bytes, static_cast<std::uint32_t>(each), metrics::evicted_for::operator_})
          .then([finish](const evicted& e) { finish(e.pages); }, [finish](const caf::error&) { finish(0); });
      }
    }
    if (j->open == 0)
      j->promise.deliver(j->sum);
  };
  (*round)();
  return j->promise;
}

}  // namespace maru::actors
