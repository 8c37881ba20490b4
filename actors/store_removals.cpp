// The store_worker's removals: entries that go, unless a worker holds them, and what becomes of their pages.
#include <algorithm>
#include <chrono>

#include "actors/store_worker.hpp"
#include "base/kill_point.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto look_again_after = 20ms;  // at pages that workers view without a message

}  // namespace

caf::typed_response_promise<forgotten> store_worker::begin_removal(const forget_entries& request) {
  auto promise = make_response_promise<forgotten>();
  for (const auto& v : request.victims)
    table_.begin_removal(v.hash);
  group_.removals.push_back({request, promise, {}});
  schedule_flush();
  return promise;
}

// Marks the victims' descriptors, then looks who holds their pages: the evictor's side of cxl/pin_handshake.hpp. Sets the
// answers; who is pinned gets the mark taken back.
void store_worker::announce(std::vector<removal>& removals) {
  std::vector<std::uint64_t> slots;
  std::vector<page_ref> pages;
  for (const auto& r : removals)
    for (const auto& v : r.request.victims) {
      pages.push_back(v.where.page);
      if (auto slot = env_->slot_of(v.where.page))
        slots.push_back(*slot);
    }
  if (pages.empty())
    return;
  env_->pool->descriptors().announce_eviction(slots);
  kill_point(kill_at::after_announce);
  auto held = env_->tables->held(pages);
  auto hold = held.begin();
  for (auto& r : removals)
    for (const auto& v : r.request.victims) {
      bool stays = r.request.removal ? hold->by_key : hold->any();
      if (stays)
        set_state(v.where.page, page_state::committed);
      r.answer.codes.push_back(stays ? ec::pinned : ec::ok);
      r.answer.viewed.push_back(!stays && (v.viewed || hold->by_view) ? 1 : 0);
      ++hold;
    }
}

void store_worker::set_state(page_ref page, page_state state) {
  if (auto slot = env_->slot_of(page))
    env_->pool->descriptors().set_state(*slot, state);
}

void store_worker::finish_removals(std::vector<removal>& removals, bool written) {
  std::vector<put_item_ref> again;
  std::vector<page_ref> kept;
  for (auto& r : removals) {
    for (std::size_t i = 0; i < r.request.victims.size(); ++i) {
      const auto& v = r.request.victims[i];
      auto& code = r.answer.codes[i];
      if (code != ec::ok)
        continue;
      if (!written) {
        set_state(v.where.page, page_state::committed);
        kept.push_back(v.where.page);
        code = ec::storage_failed;
      } else if (r.answer.viewed[i] == 0) {
        end_generation(v.where.as_grant(), r.request.to);
      }
    }
    kill_point(kill_at::after_free);
    r.promise.deliver(std::move(r.answer));
    for (const auto& v : r.request.victims)
      pass_on(v.hash, again);
  }
  tell_pool(std::move(kept), page_state::evicting, page_state::committed);
  ask_claims(std::move(again));
}

// Pages that were announced as evicting before, by this marud or the one before it.
void store_worker::free_unheld(std::span<const page_grant> pages) {
  std::vector<page_ref> freed;
  for (const auto& page : pages)
    freed.push_back(page.page);
  auto held = env_->tables->held(freed);
  freed.clear();
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (held[i].any()) {
      still_viewed_.push_back(pages[i]);
      continue;
    }
    end_generation(pages[i], page_state::free);
    freed.push_back(pages[i].page);
  }
  tell_pool(std::move(freed), page_state::evicting, page_state::free);
  if (!still_viewed_.empty() && !std::exchange(free_scheduled_, true))
    delayed_send(this, look_again_after, free_waiting{});
}

// A slice of them at a time, in turn.
void store_worker::free_waiting_pages() {
  free_scheduled_ = false;
  auto n = static_cast<std::ptrdiff_t>(std::min(still_viewed_.size(), bounds::slice_pages));
  std::vector<page_grant> slice{still_viewed_.begin(), still_viewed_.begin() + n};
  still_viewed_.erase(still_viewed_.begin(), still_viewed_.begin() + n);
  free_unheld(slice);
}

void store_worker::end_generation(const page_grant& page, page_state to) {
  if (auto slot = env_->slot_of(page.page))
    env_->pool->end_generation(*slot, page.gen, to);
}

}  // namespace maru::actors
