#include "net/holdings.hpp"

#include <algorithm>
#include <utility>

namespace maru::net {

holdings::declaration holdings::declare() {
  std::lock_guard lock(mutex_);
  // What is queued to be unpinned is not in the book, so it is not declared and ends with the old connection. Sent
  // over the new one, it could end another pin on the same key.
  unpins_.clear();
  return {++wire_, grants_.held(), pins_.all()};
}

void holdings::resume(const declaration& declared, std::span<const ec> kept) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < declared.grants.size(); ++i)
    if (i >= kept.size() || kept[i] != ec::ok)
      if (!grants_.doubtful(declared.grants[i]))
        grants_.forget(declared.grants[i]);
}

bool holdings::start_over(std::shared_ptr<cxl::held_pages> table) {
  std::lock_guard lock(mutex_);
  ++tenure_;
  grants_.clear();
  bool by_key = pins_.has_keys();  // asked, not dropped: they stay in the table of the session that is over
  pins_ = pin_book{std::move(table)};
  unpins_.clear();
  resends_.clear();
  return by_key;
}

bool holdings::add_grants(std::uint64_t wire, std::span<const page_grant> grants) {
  std::lock_guard lock(mutex_);
  if (wire != wire_)
    return false;
  grants_.add(grants);
  return true;
}

std::optional<holdings::taken> holdings::take_pages(std::size_t n) {
  std::lock_guard lock(mutex_);
  auto grants = grants_.take(n);
  if (!grants)
    return std::nullopt;
  return taken{tenure_, *std::move(grants)};
}

std::optional<holdings::taken_page> holdings::take_page() {
  std::lock_guard lock(mutex_);
  auto grant = grants_.take_one();
  return grant ? std::optional{taken_page{tenure_, *grant, grants_.idle()}} : std::nullopt;
}

void holdings::put_back(std::uint64_t tenure, const page_grant& grant) {
  std::lock_guard lock(mutex_);
  if (tenure == tenure_)
    grants_.put_back(grant);
}

void holdings::set_aside(std::uint64_t tenure, const page_grant& grant) {
  std::lock_guard lock(mutex_);
  if (tenure == tenure_)
    grants_.set_aside(grant);
}

bool holdings::holds(std::uint64_t tenure, const page_grant& grant) const {
  std::lock_guard lock(mutex_);
  return tenure == tenure_ && grants_.holds(grant);
}

void holdings::settle(std::uint64_t tenure, std::span<const page_grant> grants, std::span<const ec> codes) {
  std::lock_guard lock(mutex_);
  if (tenure != tenure_)
    return;
  for (std::size_t i = 0; i < grants.size() && i < codes.size(); ++i) {
    if (codes[i] == ec::ok || codes[i] == ec::gone || codes[i] == ec::not_granted)
      grants_.forget(grants[i]);
    else if (codes[i] != ec::busy && grants_.doubtful(grants[i]))
      grants_.put_back(grants[i]);
  }
}

void holdings::doubt(std::uint64_t tenure, std::span<const page_grant> grants) {
  std::lock_guard lock(mutex_);
  if (tenure != tenure_)
    return;
  for (auto& g : grants)
    grants_.doubt(g);
}

void holdings::resend(doubtful_commit commit) {
  std::lock_guard lock(mutex_);
  if (commit.tenure == tenure_)
    resends_.push_back(std::move(commit));
}

std::vector<doubtful_commit> holdings::take_resends() {
  std::lock_guard lock(mutex_);
  return std::exchange(resends_, {});
}

std::vector<page_grant> holdings::recall(std::uint64_t wire, std::size_t n) {
  std::lock_guard lock(mutex_);
  if (wire != wire_)
    return {};
  return grants_.recall(n);
}

grant_reserve::use_by_region holdings::uses() const {
  std::lock_guard lock(mutex_);
  return grants_.uses();
}

std::size_t holdings::idle() const {
  std::lock_guard lock(mutex_);
  return grants_.idle();
}

std::size_t holdings::in_doubt() const {
  std::lock_guard lock(mutex_);
  return grants_.in_doubt();
}

bool holdings::add_pins(std::uint64_t wire, std::span<const pin_id> pins, std::span<const page_ref> pages) {
  std::lock_guard lock(mutex_);
  if (wire != wire_)
    return false;
  for (std::size_t i = 0; i < pins.size(); ++i)
    pins_.add(pins[i], pages[i]);
  return true;
}

void holdings::drop_view(std::uint64_t tenure, const pin_id& pin) {
  std::lock_guard lock(mutex_);
  if (tenure == tenure_ && pins_.drop(pin))
    unpins_.push_back(pin);
}

holdings::dropped holdings::drop_pins(std::span<const pin_id> pins) {
  std::lock_guard lock(mutex_);
  dropped out{wire_, std::vector<bool>(pins.size()), {}};
  for (std::size_t i = 0; i < pins.size(); ++i) {
    out.known[i] = pins_.drop(pins[i]);
    if (out.known[i])
      out.pins.push_back(pins[i]);
  }
  return out;
}

void holdings::unpin_later(std::uint64_t wire, std::span<const pin_id> pins) {
  std::lock_guard lock(mutex_);
  if (wire == wire_)
    unpins_.insert(unpins_.end(), pins.begin(), pins.end());
}

void holdings::unpin_keys(std::chrono::steady_clock::time_point before) {
  std::lock_guard lock(mutex_);
  auto pins = pins_.drop_keys_of(before);
  unpins_.insert(unpins_.end(), pins.begin(), pins.end());
}

std::vector<pin_id> holdings::take_unpins(std::uint64_t wire, std::size_t max) {
  std::lock_guard lock(mutex_);
  if (wire != wire_)
    return {};
  auto n = static_cast<std::ptrdiff_t>(std::min(max, unpins_.size()));
  std::vector<pin_id> pins(unpins_.begin(), unpins_.begin() + n);
  unpins_.erase(unpins_.begin(), unpins_.begin() + n);
  return pins;
}

bool holdings::unpins_waiting() const {
  std::lock_guard lock(mutex_);
  return !unpins_.empty();
}

std::size_t holdings::pins() const {
  std::lock_guard lock(mutex_);
  return pins_.size();
}

}  // namespace maru::net
