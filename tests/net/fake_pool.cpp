#include <fcntl.h>
#include <unistd.h>
#include <fstream>

#include <algorithm>
#include <stdexcept>

#include "base/bounds.hpp"
#include "base/uuid.hpp"
#include "net/records.hpp"
#include "tests/net/fake_marud.hpp"

namespace maru::test {

namespace {

std::uint8_t num(ec code) { return static_cast<std::uint8_t>(code); }

std::string sixteen(char c) { return std::string(16, c); }

}  // namespace

fake_pool::fake_pool() {
  int fd = ::open(path().c_str(), O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ::posix_fallocate(fd, 0, data_bytes) != 0)
    throw std::runtime_error("cannot make " + path());
  ::close(fd);
}

std::size_t fake_pool::pins() const {
  std::lock_guard lock(mutex_);
  std::size_t n = 0;
  for (auto& [id, s] : sessions_)
    for (auto& [h, count] : s.pins)
      n += static_cast<std::size_t>(count);
  return n;
}

std::size_t fake_pool::granted() const {
  std::lock_guard lock(mutex_);
  std::size_t n = 0;
  for (auto& [id, s] : sessions_)
    n += s.grants.size();
  return n;
}

std::size_t fake_pool::entries() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

std::size_t fake_pool::sessions() const {
  std::lock_guard lock(mutex_);
  return sessions_.size();
}

bool fake_pool::knows(std::string_view key) const {
  std::lock_guard lock(mutex_);
  return entries_.contains(hash_key(secret_, key));
}

void fake_pool::forget(std::string_view key) {
  std::lock_guard lock(mutex_);
  entries_.erase(hash_key(secret_, key));
}

net::hello fake_pool::last_hello() const {
  std::lock_guard lock(mutex_);
  return last_hello_;
}

std::vector<std::uint8_t> fake_pool::last_flags() const {
  std::lock_guard lock(mutex_);
  return flags_;
}

net::hello_reply fake_pool::greeting(std::uint64_t id, const session& s) const {
  net::hello_reply r;
  r.session = id;
  r.pool = sixteen('p');
  r.incarnation = sixteen('i');
  r.secret = std::string(reinterpret_cast<const char*>(secret_.data()), secret_.size());
  r.resume_secret = s.secret;
  r.epoch = 1;
  r.page_bytes = page_bytes;
  r.lease_ms = lease_ms;
  r.grants_max = bounds::grants_max;
  r.lock_path = folder_ / (std::to_string(id) + ".lock");
  std::ofstream{r.lock_path, std::ios::app};  // marud makes it, the worker locks it
  r.visibility = visibility;
  r.checksums = checksums;
  r.devices.push_back({0, sixteen('d'), sixteen('i'), path(), path() + ".meta", 0, claimed_bytes});
  if (!told_folder.empty()) {
    r.lock_path.replace(0, folder().size(), told_folder);
    for (auto* told : {&r.devices.front().path, &r.devices.front().metadata})
      told->replace(0, folder().size(), told_folder);
  }
  return r;
}

net::hello_reply fake_pool::open(const net::hello& m) {
  std::lock_guard lock(mutex_);
  last_hello_ = m;
  net::hello_reply refusal;
  refusal.reason = "the test says so";
  if (refuse_hello != 0) {
    refusal.code = refuse_hello;
    return refusal;
  }
  if (m.resume_session == 0) {
    auto id = next_session_++;
    sessions_[id].secret = sixteen(static_cast<char>('a' + id % 26));
    return greeting(id, sessions_[id]);
  }
  auto it = sessions_.find(m.resume_session);
  auto declared = net::decode_grants(m.grants);
  auto pinned = net::decode_hashes(m.pinned);
  auto viewed = net::decode_view_pins(m.viewed);
  if (it == sessions_.end() || forget_sessions || it->second.secret != m.resume_secret || !declared || !pinned
      || !viewed) {
    refusal.code = num(ec::session_over);
    return refusal;
  }
  auto& s = it->second;
  s.pins.clear();
  for (auto& h : *pinned)
    ++s.pins[{h, {}}];
  for (auto& pin : *viewed)
    ++s.pins[pin];
  auto r = greeting(m.resume_session, s);
  std::vector<ec> kept;
  std::map<page_ref, generation> still;
  for (auto& g : *declared) {
    auto known = s.grants.find(g.page);
    bool ok = known != s.grants.end() && known->second == g.gen;
    kept.push_back(ok ? ec::ok : ec::gone);
    if (ok)
      still.insert(*known);
  }
  for (auto& [page, gen] : s.grants)
    if (!still.contains(page))
      taken_.erase(page);
  s.grants = std::move(still);
  r.kept = net::encode_codes(kept);
  return r;
}

net::grant_reply fake_pool::grant(std::uint64_t id, const net::grant_request& m) {
  std::lock_guard lock(mutex_);
  auto& s = sessions_[id];
  if (!m.ahead)
    last_grant_ = m;
  auto wanted = m.count + m.spare;
  std::vector<page_grant> grants;
  constexpr auto pages_per_region = region_bytes / page_bytes;
  for (std::uint32_t n = 0; n < data_bytes / page_bytes && grants.size() < wanted && taken_.size() < pages_max; ++n) {
    page_ref page{static_cast<region_id>(1 + n / pages_per_region), static_cast<page_index>(n % pages_per_region)};
    if (taken_.insert(page).second) {
      auto gen = ++generations_[page];
      s.grants[page] = gen;
      grants.push_back({page, gen});
    }
  }
  return {num(grants.empty() ? ec::out_of_memory : ec::ok), net::encode_grants(grants)};
}

net::codes_reply fake_pool::give_back(std::uint64_t id, const net::give_back_request& m) {
  std::lock_guard lock(mutex_);
  std::vector<ec> codes;
  auto grants = net::decode_grants(m.grants);
  for (auto& g : *grants) {
    codes.push_back(sessions_[id].grants.erase(g.page) > 0 ? ec::ok : ec::not_granted);
    taken_.erase(g.page);
  }
  return {0, net::encode_codes(codes)};
}

net::codes_reply fake_pool::commit(std::uint64_t id, const net::commit_request& m) {
  std::lock_guard lock(mutex_);
  auto& s = sessions_[id];
  std::vector<ec> codes;
  auto items = net::decode_commits(m.items);
  for (auto& item : *items) {
    auto hash = hash_key(secret_, item.key);
    auto known = entries_.find(hash);
    auto granted = s.grants.find(item.where.page);
    if (known != entries_.end() && known->second == item.where) {
      codes.push_back(ec::ok);
    } else if (granted == s.grants.end() || granted->second != item.where.gen) {
      codes.push_back(generations_[item.where.page] != item.where.gen ? ec::gone : ec::not_granted);
    } else if (known != entries_.end()) {
      codes.push_back(ec::exists);
    } else {
      entries_[hash] = item.where;
      s.grants.erase(granted);
      codes.push_back(ec::ok);
    }
  }
  return {0, net::encode_codes(codes)};
}

net::found_reply fake_pool::lookup(std::uint64_t id, const net::lookup_request& m) {
  std::lock_guard lock(mutex_);
  flags_.push_back(m.flags);
  std::vector<net::found> items;
  bool stopped = false;
  auto hashes = net::decode_hashes(m.hashes);
  for (auto& h : *hashes) {
    auto it = entries_.find(h);
    bool hit = it != entries_.end() && !stopped;
    stopped |= !hit && (m.flags & net::flag_prefix_stop) != 0;
    items.push_back(hit ? net::found{ec::ok, it->second} : net::found{});
    if (hit && (m.flags & net::flag_pin) != 0)
      ++sessions_[id].pins[{h, {}}];
    if (hit && (m.flags & net::flag_view) != 0)
      ++sessions_[id].pins[{h, {it->second.page, it->second.gen}}];
  }
  return {0, net::encode_found(items)};
}

net::codes_reply fake_pool::exists(const net::exists_request& m) {
  std::lock_guard lock(mutex_);
  std::vector<ec> codes;
  auto hashes = net::decode_hashes(m.hashes);
  for (auto& h : *hashes)
    codes.push_back(entries_.contains(h) ? ec::ok : ec::missing);
  return {0, net::encode_codes(codes)};
}

net::codes_reply fake_pool::unpin(std::uint64_t id, const net::unpin_request& m) {
  std::lock_guard lock(mutex_);
  std::vector<ec> codes;
  std::vector<pin_id> pins;
  auto hashes = net::decode_hashes(m.hashes);
  for (auto& h : *hashes)
    pins.push_back({h, {}});
  auto views = net::decode_view_pins(m.viewed);
  pins.insert(pins.end(), views->begin(), views->end());
  for (auto& pin : pins) {
    auto& n = sessions_[id].pins[pin];
    codes.push_back(n > 0 ? ec::ok : ec::not_pinned);
    n -= n > 0;
  }
  return {0, net::encode_codes(codes)};
}

bool fake_pool::pinned(const key_hash& h) const {
  return std::any_of(sessions_.begin(), sessions_.end(), [&](auto& s) {
    auto it = s.second.pins.find({h, {}});
    return it != s.second.pins.end() && it->second > 0;
  });
}

// A page that views hold stays taken for good here.
bool fake_pool::viewed(const location& where) const {
  return std::any_of(sessions_.begin(), sessions_.end(), [&](auto& s) {
    return std::any_of(s.second.pins.begin(), s.second.pins.end(), [&](auto& p) {
      return p.second > 0 && p.first.page == page_grant{where.page, where.gen};
    });
  });
}

net::codes_reply fake_pool::remove(const net::remove_request& m) {
  std::lock_guard lock(mutex_);
  std::vector<ec> codes;
  auto hashes = net::decode_hashes(m.hashes);
  for (auto& h : *hashes) {
    auto it = entries_.find(h);
    if (it == entries_.end()) {
      codes.push_back(ec::missing);
    } else if (pinned(h)) {
      codes.push_back(ec::pinned);
    } else {
      if (!viewed(it->second))
        taken_.erase(it->second.page);
      entries_.erase(it);
      codes.push_back(ec::ok);
    }
  }
  return {0, net::encode_codes(codes)};
}

net::renew_reply fake_pool::renew(const net::renew_request& m) {
  leaving_ = m.leaving;
  return {0, lease_ms, recall.exchange(0)};
}

net::regions_reply fake_pool::regions(const net::regions_request& m) {
  net::regions_reply r;
  for (auto id : m.ids)
    if (id >= 1 && id <= data_bytes / region_bytes)
      r.rows.push_back({id, 0, (id - 1) * region_bytes, region_bytes, page_bytes});
  return r;
}

net::grant_request fake_pool::last_grant() const {
  std::lock_guard lock(mutex_);
  return last_grant_;
}

std::vector<region_share> fake_pool::shown(std::uint64_t id) const {
  std::lock_guard lock(mutex_);
  auto at = sessions_.find(id);
  return at == sessions_.end() ? std::vector<region_share>{} : at->second.shown;
}

// The n-th region of the pool is the n-th that a session is shown.
net::show_region_reply fake_pool::show_region(std::uint64_t id, const net::show_region_request& m) {
  std::lock_guard lock(mutex_);
  if (refuse_regions != 0)
    return {refuse_regions};
  auto& shown = sessions_[id].shown;
  if (m.index == shown.size() && shown.size() < data_bytes / region_bytes)
    shown.push_back({static_cast<region_id>(shown.size() + 1), static_cast<std::uint32_t>(m.pages), false});
  if (m.index >= shown.size())
    return {num(ec::out_of_memory)};
  const auto& share = shown[m.index];
  return {0,
          {value_of(share.region), 0, (value_of(share.region) - 1) * region_bytes, region_bytes, page_bytes},
          greeting(id, sessions_[id]).devices.front(),
          share.pages,
          share.shared};
}

net::usage_reply fake_pool::usage(std::uint64_t id) const {
  std::lock_guard lock(mutex_);
  net::usage_reply r;
  auto at = sessions_.find(id);
  for (const auto& share : at == sessions_.end() ? std::vector<region_share>{} : at->second.shown) {
    auto n = value_of(share.region);
    net::region_usage use{{n, 0, (n - 1) * region_bytes, region_bytes, page_bytes}, share.pages, share.shared, 0, 0};
    for (const auto& [page, gen] : at->second.grants)
      use.granted += page.region == share.region ? 1 : 0;
    r.regions.push_back(use);
  }
  r.entries = entries_.size();
  r.sessions = sessions_.size();
  r.pool_bytes = data_bytes;
  return r;
}

net::close_reply fake_pool::close(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  for (auto& [page, gen] : sessions_[id].grants)
    taken_.erase(page);
  sessions_.erase(id);
  return {};
}

}  // namespace maru::test
