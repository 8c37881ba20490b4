#include "actors/page_uses.hpp"

namespace maru::actors {

namespace {

// The number that a page in this state counts in; null for a page that is nobody's or on its way out.
std::uint64_t* number_of(page_use& use, cxl::page_state state) {
  switch (state) {
    case cxl::page_state::granted: return &use.granted;
    case cxl::page_state::committed: return &use.committed;
    default: return nullptr;
  }
}

}  // namespace

void page_uses::set_owner(page_ref page, session_id session) {
  auto& owners = regions_[page.region].owners;
  if (value_of(page.page) >= owners.size())
    owners.resize(value_of(page.page) + 1, session_id::none);
  owners[value_of(page.page)] = session;
}

void page_uses::moved(page_ref page, cxl::page_state from, cxl::page_state to) {
  auto owner = owner_of(page);
  if (owner == session_id::none)
    return;
  auto& uses = regions_[page.region].uses;
  auto& use = uses[owner];
  if (auto* n = number_of(use, from); n && *n > 0)
    --*n;
  if (auto* n = number_of(use, to))
    ++*n;
  if (use.empty())
    uses.erase(owner);
}

void page_uses::drop_region(region_id region) { regions_.erase(region); }

session_id page_uses::owner_of(page_ref page) const {
  auto at = regions_.find(page.region);
  return at != regions_.end() && value_of(page.page) < at->second.owners.size() ? at->second.owners[value_of(page.page)]
                                                                                : session_id::none;
}

page_use page_uses::of(session_id session, region_id region) const {
  auto at = regions_.find(region);
  if (at == regions_.end())
    return {};
  auto use = at->second.uses.find(session);
  return use == at->second.uses.end() ? page_use{} : use->second;
}

std::vector<std::pair<region_id, page_use>> page_uses::of(session_id session) const {
  std::vector<std::pair<region_id, page_use>> out;
  for (const auto& [id, r] : regions_)
    if (auto use = r.uses.find(session); use != r.uses.end())
      out.emplace_back(id, use->second);
  return out;
}

const page_uses::by_session& page_uses::users_of(region_id region) const {
  static const by_session nobody;
  auto at = regions_.find(region);
  return at == regions_.end() ? nobody : at->second.uses;
}

}  // namespace maru::actors
