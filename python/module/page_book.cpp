#include "python/module/page_book.hpp"

#include <utility>

namespace maru::python {

bool page_book::reserve(std::size_t budget) {
  std::lock_guard lock(mutex_);
  if (reserved_ + uncommitted_in_all_ + committed_in_all_ >= budget)
    return false;
  ++reserved_;
  return true;
}

void page_book::give_up() {
  std::lock_guard lock(mutex_);
  --reserved_;
}

void page_book::add(page_buffer page) {
  std::lock_guard lock(mutex_);
  --reserved_;
  auto grant = page.grant();
  // What was known of the page before is over, since it is granted anew.
  if (auto before = pages_.find(grant.page); before != pages_.end())
    erase(before);
  pages_[grant.page] = entry{state::open, std::move(page), {}, {}, grant.gen};
  ++uncommitted_[value_of(grant.page.region)];
  ++uncommitted_in_all_;
}

void page_book::erase(pages::iterator it) {
  if (it->second.is != state::committed)
    uncount(it->first);
  pages_.erase(it);
}

// The page is no uncommitted one any more.
void page_book::uncount(page_ref where) {
  if (auto region = uncommitted_.find(value_of(where.region)); --region->second == 0)
    uncommitted_.erase(region);
  --uncommitted_in_all_;
}

std::vector<std::optional<page_buffer>> page_book::take(std::span<const page_ref> where) {
  std::vector<std::optional<page_buffer>> out(where.size());
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < where.size(); ++i) {
    auto it = pages_.find(where[i]);
    if (it == pages_.end() || it->second.is != state::open)
      continue;
    it->second.is = state::storing;
    out[i] = std::move(it->second.page);
  }
  return out;
}

void page_book::reopen(page_buffer page) {
  {
    std::lock_guard lock(mutex_);
    if (auto it = find(page.grant()); it != pages_.end() && it->second.is == state::storing) {
      it->second.is = state::open;
      it->second.page = std::move(page);
    }
  }
  changed_.notify_all();
}

page_book::pages::iterator page_book::find(const page_grant& grant) {
  auto it = pages_.find(grant.page);
  return it == pages_.end() || it->second.gen != grant.gen ? pages_.end() : it;
}

void page_book::settle(std::span<const outcome> outcomes) {
  {
    std::lock_guard lock(mutex_);
    for (auto& o : outcomes)
      settle_one(o);
  }
  changed_.notify_all();
}

void page_book::settle_one(const outcome& o) {
  auto it = find(o.grant);
  if (it == pages_.end() || it->second.is != state::storing)  // granted anew meanwhile, or let go by clear
    return;
  if (o.what == fate::dropped)
    return erase(it);
  auto& e = it->second;
  e.key = o.key;
  e.where = {o.grant.page, static_cast<std::uint32_t>(o.length), o.grant.gen, 0};
  if (o.what == fate::doubtful) {
    e.is = state::doubtful;
    doubtful_.push_back(o.grant);
    return;
  }
  e.is = state::committed;
  uncount(o.grant.page);
  ++committed_[value_of(o.grant.page.region)];
  ++committed_in_all_;
}

std::optional<page_book::state> page_book::settled(page_ref where, std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  std::optional<state> is;
  changed_.wait_until(lock, deadline, [&] {
    auto it = pages_.find(where);
    is = it == pages_.end() ? std::nullopt : std::optional{it->second.is};
    return is != state::storing;
  });
  return is;
}

bool page_book::free(page_ref where) {
  page_buffer page;  // let go after the lock is
  std::lock_guard lock(mutex_);
  auto it = pages_.find(where);
  if (it == pages_.end() || it->second.is != state::open)
    return false;
  page = std::move(it->second.page);
  erase(it);
  return true;
}

std::size_t page_book::allocated() const {
  std::lock_guard lock(mutex_);
  return reserved_ + uncommitted_in_all_ + committed_in_all_;
}

page_book::counts page_book::allocated_by_region() const {
  std::lock_guard lock(mutex_);
  auto out = committed_;
  for (auto& [region, n] : uncommitted_)
    out[region] += n;
  return out;
}

void page_book::recounted(const counts& committed, bool all_settled) {
  std::lock_guard lock(mutex_);
  if (all_settled)
    for (auto& grant : std::exchange(doubtful_, {}))
      if (auto it = find(grant); it != pages_.end() && it->second.is == state::doubtful) {
        it->second.is = state::committed;
        uncount(grant.page);
      }
  committed_ = committed;
  committed_in_all_ = 0;
  for (auto& [region, n] : committed_)
    committed_in_all_ += n;
}

std::optional<page_book::committed_page> page_book::committed_at(page_ref where) const {
  std::lock_guard lock(mutex_);
  auto it = pages_.find(where);
  if (it == pages_.end() || it->second.is != state::committed)
    return std::nullopt;
  return committed_page{it->second.key, it->second.where};
}

void page_book::forget(const location& where) {
  std::lock_guard lock(mutex_);
  if (auto it = find(where.as_grant()); it != pages_.end() && it->second.is == state::committed)
    erase(it);
}

void page_book::clear() {
  pages gone;
  {
    std::lock_guard lock(mutex_);
    gone.swap(pages_);
    uncommitted_.clear();
    committed_.clear();
    doubtful_.clear();
    uncommitted_in_all_ = committed_in_all_ = 0;
  }
  changed_.notify_all();
}

}  // namespace maru::python
