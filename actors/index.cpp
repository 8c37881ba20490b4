#include "actors/index.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace maru::actors {

index::index(std::size_t capacity, std::string_view policy, std::size_t buckets)
    : capacity_(std::max<std::size_t>(capacity, 1)),
      bucket_mask_(std::bit_ceil(buckets == 0 ? capacity_ : buckets) - 1),
      buckets_(bucket_mask_ + 1),
      entries_(capacity_),
      policy_name_(policy) {}

std::uint32_t index::locate(const key_hash& hash) const {
  for (auto i = buckets_[bucket_of(hash)]; i != 0; i = entries_[i - 1].next)
    if (entries_[i - 1].hash == hash)
      return i - 1;
  return none;
}

std::uint32_t index::locate(const pin_id& pin) const {
  auto i = locate(pin.hash);
  if (i == none || !pin.by_view())
    return i;
  const auto& e = entries_[i];
  return where(e).page == pin.page.page && e.gen == pin.page.gen ? i : none;
}

std::uint64_t index::slot_of(const entry& e) { return cxl::slot_number(e.device, e.slot); }

location index::where(const entry& e) const {
  return {{region_id{e.region}, page_index{e.page}}, e.length, e.gen, e.checksum};
}

std::vector<net::found> index::lookup(std::span<const key_hash> hashes, lookup_flags flags) {
  // Random hashes touch random lines: bucket heads first, then entries, each a whole batch ahead of its use.
  for (const auto& hash : hashes)
    prefetch(hash);
  for (const auto& hash : hashes)
    if (auto i = buckets_[bucket_of(hash)]; i != 0)
      entries_.prefetch(i - 1);

  std::vector<net::found> out(hashes.size());
  std::vector<std::uint32_t> hits;
  hits.reserve(hashes.size());
  for (std::size_t n = 0; n < hashes.size(); ++n) {
    auto i = locate(hashes[n]);
    if (i == none || entries_[i].state != entry_state::live) {
      if (flags.prefix_stop)
        break;
      continue;
    }
    auto& e = entries_[i];
    if (e.pins == 0)
      classes_[e.size_class].policy->prefetch(i);
    out[n] = {ec::ok, where(e)};
    hits.push_back(i);
  }
  for (auto i = hits.rbegin(); i != hits.rend(); ++i) {
    auto& e = entries_[*i];
    if (flags.takes != holding::nothing)
      add_pin(*i, flags.takes == holding::view);
    else if (e.pins == 0)
      classes_[e.size_class].policy->touch(*i);
  }
  return out;
}

void index::add_pin(std::uint32_t i, bool view) {
  auto& e = entries_[i];
  if (evictable(e))
    classes_[e.size_class].policy->take(i);
  ++e.pins;
  e.views += view ? 1 : 0;
  ++pins_;
}

void index::touch(const key_hash& hash) {
  auto i = locate(hash);
  if (i != none && evictable(entries_[i]))
    classes_[entries_[i].size_class].policy->touch(i);
}

void index::publish(std::uint32_t i) {
  auto& e = entries_[i];
  if (readers_ && !std::exchange(e.published, true))
    readers_->of(slot_of(e), shards_).publish(e.hash, e.slot);
}

void index::withdraw(std::uint32_t i) {
  auto& e = entries_[i];
  if (std::exchange(e.published, false))
    readers_->of(slot_of(e), shards_).withdraw(e.hash, e.slot);
}

bool index::undecided(std::span<const key_hash> hashes) const {
  return evicting_ > 0 && std::any_of(hashes.begin(), hashes.end(), [this](const key_hash& hash) {
           auto i = locate(hash);
           return i != none && entries_[i].state == entry_state::evicting;
         });
}

bool index::contains(const key_hash& hash) const {
  auto i = locate(hash);
  return i != none && entries_[i].state == entry_state::live;
}

std::optional<index::details> index::find(const key_hash& hash) const {
  auto i = locate(hash);
  if (i == none)
    return std::nullopt;
  const auto& e = entries_[i];
  return details{where(e), e.pins, e.state == entry_state::evicting, e.state == entry_state::condemned};
}

std::vector<ec> index::pin_again(std::span<const pin_id> pins) {
  std::vector<ec> out;
  out.reserve(pins.size());
  for (const auto& pin : pins)
    out.push_back(count_again(pin) ? ec::ok : ec::missing);
  return out;
}

bool index::count_again(const pin_id& pin) {
  auto i = locate(pin);
  if (i == none) {
    auto page = detached_.find(pin.page);
    if (page == detached_.end())
      return false;
    ++page->second;
    ++pins_;
    return true;
  }
  // On an entry that is on its way out only views are left; who holds one is counted already.
  const auto& e = entries_[i];
  if (e.state == entry_state::evicting && (!pin.by_view() || e.views == 0))
    return false;
  add_pin(i, pin.by_view());
  return true;
}

std::size_t index::unpin(std::span<const pin_id> pins) {
  for (const auto& pin : pins)
    prefetch(pin.hash);
  for (const auto& pin : pins)
    if (auto i = buckets_[bucket_of(pin.hash)]; i != 0)
      entries_.prefetch(i - 1);
  std::size_t strays = 0;
  for (auto pin = pins.rbegin(); pin != pins.rend(); ++pin)
    strays += end_pin(*pin) ? 0 : 1;
  return strays;
}

bool index::end_pin(const pin_id& pin) {
  auto i = locate(pin);
  if (i == none) {
    auto page = detached_.find(pin.page);
    if (page == detached_.end() || page->second == 0)
      return false;
    --pins_;
    if (--page->second == 0)
      unheld_.push_back(pin.page);
    return true;
  }
  auto& e = entries_[i];
  if (pin.by_view() ? e.views == 0 : e.pins == e.views)
    return false;
  --pins_;
  e.views -= pin.by_view() ? 1 : 0;
  if (--e.pins > 0 || e.state == entry_state::evicting)
    return true;
  if (e.state == entry_state::condemned)
    ended_condemned_.push_back(mark_at(i));
  else
    classes_[e.size_class].policy->add(i);
  return true;
}

ec index::insert(const key_hash& hash, const location& where, std::uint64_t page_bytes, std::uint64_t slot) {
  if (locate(hash) != none)
    return ec::exists;
  if (free_ == none && used_ == capacity_)
    return ec::out_of_memory;
  auto class_index = class_of(page_bytes);
  std::uint32_t i;
  if (free_ != none) {
    i = free_;
    free_ = entries_[i].next;
  } else {
    i = used_++;
  }
  auto& bucket = buckets_[bucket_of(hash)];
  entries_[i] = {hash,
                 value_of(where.page.region),
                 value_of(where.page.page),
                 where.length,
                 0,
                 where.gen,
                 where.checksum,
                 bucket,
                 0,
                 entry_state::live,
                 class_index,
                 false,
                 static_cast<std::uint8_t>(cxl::device_of_slot(slot)),
                 static_cast<std::uint32_t>(cxl::slot_on_device(slot))};
  bucket = i + 1;
  publish(i);
  ++classes_[class_index].entries;
  ++live_;
  bytes_ += where.length;
  classes_[class_index].policy->add(i);
  return ec::ok;
}

victim index::mark_at(std::uint32_t i) {
  auto& e = entries_[i];
  if (evictable(e))
    classes_[e.size_class].policy->take(i);
  e.state = entry_state::evicting;
  --live_;
  ++evicting_;
  bytes_ -= e.length;
  return {e.hash, where(e), e.pins > 0};
}

ec index::mark(const key_hash& hash, victim& out) {
  auto i = locate(hash);
  if (i == none || entries_[i].state != entry_state::live)
    return ec::missing;
  if (entries_[i].pins > entries_[i].views)
    return ec::pinned;
  out = mark_at(i);
  return ec::ok;
}

ec index::condemn(const victim& damaged, bool keep, victim& out) {
  auto i = locate(damaged.hash);
  if (i == none || where(entries_[i]).page != damaged.where.page || entries_[i].gen != damaged.where.gen)
    return ec::missing;
  auto& e = entries_[i];
  if (e.state == entry_state::evicting)
    return ec::busy;
  withdraw(i);
  if (keep || e.pins > 0) {
    if (evictable(e))
      classes_[e.size_class].policy->take(i);
    e.state = entry_state::condemned;
    return ec::pinned;
  }
  out = mark_at(i);
  return ec::ok;
}

std::vector<victim> index::take_condemned() { return std::exchange(ended_condemned_, {}); }

std::vector<victim> index::mark_coldest(std::uint64_t page_bytes, std::size_t count) {
  std::vector<victim> out;
  auto* policy = policy_of(page_bytes);
  if (!policy)
    return out;
  out.reserve(std::min(count, policy->size()));
  while (out.size() < count) {
    auto i = policy->coldest();
    if (i == eviction_policy::none)
      break;
    out.push_back(mark_at(i));
  }
  return out;
}

std::optional<location> index::coldest(std::uint64_t page_bytes) const {
  auto* policy = policy_of(page_bytes);
  auto i = policy ? policy->coldest() : eviction_policy::none;
  return i == eviction_policy::none ? std::nullopt : std::optional{where(entries_[i])};
}

bool index::drop(const key_hash& hash) {
  auto* link = &buckets_[bucket_of(hash)];
  while (*link != 0 && entries_[*link - 1].hash != hash)
    link = &entries_[*link - 1].next;
  if (*link == 0)
    return false;
  auto i = *link - 1;
  auto& e = entries_[i];
  *link = e.next;
  withdraw(i);
  bool held = e.pins > 0;
  if (held)
    detached_[{where(e).page, e.gen}] = e.pins;
  --classes_[e.size_class].entries;
  e.state = entry_state::unused;
  e.next = free_;
  free_ = i;
  --evicting_;
  return held;
}

void index::detach(const page_grant& page) {
  detached_[page] = 0;
  unheld_.push_back(page);
}

std::vector<page_grant> index::take_unheld() {
  std::vector<page_grant> out;
  for (const auto& page : std::exchange(unheld_, {}))
    if (auto at = detached_.find(page); at != detached_.end() && at->second == 0) {
      out.push_back(page);
      detached_.erase(at);
    }
  return out;
}

void index::restore(const key_hash& hash, bool condemned) {
  auto i = locate(hash);
  if (i == none || entries_[i].state != entry_state::evicting)
    return;
  auto& e = entries_[i];
  e.state = condemned ? entry_state::condemned : entry_state::live;
  if (!condemned)
    publish(i);
  --evicting_;
  ++live_;
  bytes_ += e.length;
  if (evictable(e))
    classes_[e.size_class].policy->add(i);
}

std::uint8_t index::class_of(std::uint64_t page_bytes) {
  for (std::size_t i = 0; i < classes_.size(); ++i)
    if (classes_[i].page_bytes == page_bytes)
      return static_cast<std::uint8_t>(i);
  auto at = std::find_if(classes_.begin(), classes_.end(), [](const size_class& c) { return c.entries == 0; });
  if (at == classes_.end())
    at = classes_.insert(at, {page_bytes, make_eviction_policy(policy_name_, capacity_)});
  at->page_bytes = page_bytes;
  return static_cast<std::uint8_t>(at - classes_.begin());
}

const eviction_policy* index::policy_of(std::uint64_t page_bytes) const {
  for (const auto& c : classes_)
    if (c.page_bytes == page_bytes)
      return c.policy.get();
  return nullptr;
}

}  // namespace maru::actors
