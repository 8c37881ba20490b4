#include "net/grant_reserve.hpp"

#include <algorithm>
#include <utility>

namespace maru::net {

const grant_reserve::entry* grant_reserve::find(const page_grant& grant) const {
  auto it = pages_.find(grant.page);
  return it == pages_.end() || it->second.gen != grant.gen ? nullptr : &it->second;
}

grant_reserve::entry* grant_reserve::find(const page_grant& grant) {
  return const_cast<entry*>(std::as_const(*this).find(grant));
}

bool grant_reserve::holds(const page_grant& grant) const { return find(grant) != nullptr; }

bool grant_reserve::doubtful(const page_grant& grant) const {
  auto* known = find(grant);
  return known && known->state == use::doubt;
}

void grant_reserve::add(std::span<const page_grant> grants) {
  for (auto& g : grants) {
    auto it = pages_.find(g.page);
    if (it != pages_.end() && it->second.gen >= g.gen)
      continue;
    if (it != pages_.end())  // committed and freed again before its answer was looked at
      forget({g.page, it->second.gen});
    idle_.push_back(&*pages_.emplace(g.page, entry{g.gen, use::idle}).first);
  }
}

std::optional<std::vector<page_grant>> grant_reserve::take(std::size_t n) {
  if (n > idle_.size())
    return std::nullopt;
  std::vector<page_grant> taken;
  taken.reserve(n);
  for (std::size_t i = 0; i < n; ++i)
    taken.push_back(*take_one());
  return taken;
}

std::optional<page_grant> grant_reserve::take_one() {
  if (idle_.empty())
    return std::nullopt;
  auto& [page, e] = *idle_.back();
  idle_.pop_back();
  e.state = use::out;
  return page_grant{page, e.gen};
}

bool grant_reserve::put_back(const page_grant& grant) {
  auto it = pages_.find(grant.page);
  if (it == pages_.end() || it->second.gen != grant.gen || it->second.state == use::idle)
    return false;
  in_doubt_ -= it->second.state == use::doubt;
  it->second.state = use::idle;
  idle_.push_back(&*it);
  return true;
}

bool grant_reserve::doubt(const page_grant& grant) {
  auto* known = find(grant);
  if (!known || known->state != use::out)
    return false;
  known->state = use::doubt;
  ++in_doubt_;
  return true;
}

bool grant_reserve::set_aside(const page_grant& grant) {
  auto it = pages_.find(grant.page);
  if (it == pages_.end() || it->second.gen != grant.gen || it->second.state != use::out)
    return false;
  it->second.state = use::aside;
  aside_.push_back(&*it);
  return true;
}

bool grant_reserve::forget(const page_grant& grant) {
  auto it = pages_.find(grant.page);
  if (it == pages_.end() || it->second.gen != grant.gen)
    return false;
  in_doubt_ -= it->second.state == use::doubt;
  if (it->second.state == use::idle)
    std::erase(idle_, &*it);
  if (it->second.state == use::aside)
    std::erase(aside_, &*it);
  pages_.erase(it);
  return true;
}

std::vector<page_grant> grant_reserve::recall(std::size_t n) {
  std::vector<page_grant> recalled;
  // The coldest go: those that were put in first.
  for (auto* from : {&aside_, &idle_}) {
    auto some = std::min(n - recalled.size(), from->size());
    for (std::size_t i = 0; i < some; ++i)
      recalled.push_back({(*from)[i]->first, (*from)[i]->second.gen});
    from->erase(from->begin(), from->begin() + static_cast<std::ptrdiff_t>(some));
  }
  for (auto& g : recalled)
    pages_.erase(g.page);
  return recalled;
}

grant_reserve::use_by_region grant_reserve::uses() const {
  use_by_region out;
  for (auto& [page, e] : pages_)
    if (e.state == use::out || e.state == use::doubt)
      ++out[page.region];
  return out;
}

std::vector<page_grant> grant_reserve::held() const {
  std::vector<page_grant> all;
  all.reserve(pages_.size());
  for (auto& [page, e] : pages_)
    all.push_back({page, e.gen});
  return all;
}

void grant_reserve::clear() {
  idle_.clear();
  aside_.clear();
  pages_.clear();
  in_doubt_ = 0;
}

}  // namespace maru::net
