// The life of a session: lease, proof of death, resume, and an end that gives everything back in slices.
#include <algorithm>

#include "actors/session_scatter.hpp"
#include "base/file_lock.hpp"
#include "base/kill_point.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto lease_check_interval = 1s;

std::chrono::milliseconds::rep in_ms(auto duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

// -- lease and proof of death

void session::on_down() {
  if (state_ == session_state::active)
    enter(session_state::suspect);
  owner_ = nullptr;
  send(this, tick{++tick_});  // a killed worker's lock is free by now, or very soon
}

bool session::proven_dead() const {
  if (record_.lock_path.empty())
    return false;  // a worker of another host has no lock here: its silence proves nothing
  if (record_.boot_id != host_boot_id())
    return true;  // this host was booted since
  // Whoever may still touch the pool holds this lock.
  // A lock file that somebody deleted proves nothing.
  return bool{file_lock::acquire_existing(record_.lock_path)};
}

void session::on_tick(std::uint64_t number) {
  if (state_ == session_state::ending || number != tick_)
    return;
  bool calm = state_ == session_state::active;
  // A standstill of marud is noticed from one interval on: what goes unnoticed must be little of a lease.
  auto interval = std::min<std::chrono::milliseconds>(
    calm ? std::chrono::milliseconds{lease_check_interval} : bounds::death_check_interval,
    std::chrono::milliseconds{env_->options.lease_ms} / 10);
  if (!calm && proven_dead()) {
    begin_end(metrics::ended_by::death);
    return;
  }
  bool over = lease_.tick(clock().now(), interval);
  if (over && state_ != session_state::lapsed && !waiting_resume_)  // it is back, and waits for us
    lapse();
  delayed_send(this, interval, tick{tick_});
}

void session::lapse() {
  log::warn(about("lease_over", record_), "its {} granted pages and its pins are held until its process is proven dead",
            granted_.size());
  enter(session_state::lapsed);
  lapsed_ = true;
  env_->metrics->lease_expired();
  std::vector<page_grant> held;
  for (const auto& [page, gen] : granted_)
    held.push_back({page, gen});
  quarantine(held);
  // What it has pinned stays, by its table, until it is proven dead.
  settle_after_restart(true);
  send(to_.ledger, hold_pins{record_.id});
}

void session::quarantine(const std::vector<page_grant>& grants) {
  move_pages held{{}, page_state::granted, page_state::quarantined};
  for (const auto& g : grants)
    held.pages.push_back(g.page);
  if (!held.pages.empty())
    send(to_.pool, std::move(held));
}

void session::settle_after_restart(bool may_touch) {
  if (!std::exchange(settled_, true))
    send(to_.door, session_settled{record_.id, may_touch});
}

// Its worker holds a page, by its own word, whose entry or region the restart lost.
bool session::holds_lost_pages() const {
  auto table = env_->tables->find(record_.id);
  auto held = table ? table->all() : std::vector<cxl::page_hold>{};
  return std::any_of(held.begin(), held.end(), [this](const cxl::page_hold& hold) {
    auto slot = env_->slot_of(hold.page);
    if (!slot)
      return true;
    auto state = env_->pool->descriptors().raw_state(*slot);
    return state != page_state::committed && state != page_state::evicting;
  });
}

// -- resume

session::promise<resumed> session::resume(const resume_session& m) {
  auto p = make_response_promise<resumed>();
  if (state_ == session_state::lapsed || state_ == session_state::ending) {
    p.deliver(resumed{ec::session_over, {}});
    return p;
  }
  if (!pins_of(m)) {
    p.deliver(resumed{ec::invalid, {}});
    return p;
  }
  if (m.wire != 0 && m.wire <= wire_) {
    p.deliver(resumed{ec::refused, {}});
    return p;
  }
  if (waiting_resume_ || resuming_) {
    p.deliver(resumed{ec::busy, {}});  // one at a time: the worker tries again
    return p;
  }
  if (owner_)
    demonitor(owner_);
  owner_ = nullptr;  // nothing new comes in over the old connection
  wire_ = m.wire;
  waiting_resume_ = {m, p};
  if (in_flight_ == 0)
    run_resume();
  return p;
}

void session::run_resume() {
  auto [m, p] = std::move(*waiting_resume_);
  waiting_resume_.reset();
  if (state_ == session_state::lapsed) {
    p.deliver(resumed{ec::session_over, {}});
    return;
  }
  resuming_ = true;
  owner_ = m.owner;
  monitor(owner_);
  enter(session_state::active);
  lease_ = {clock().now(), std::chrono::milliseconds{env_->options.lease_ms}};  // before, it may have been the grace
  auto kept = keep_grants(m.grants);
  kill_point(kill_at::resume_grants);
  auto wanted = by_shard(*pins_of(m));
  take_pins(wanted, 0, std::make_shared<pin_list>(),
            [this, wanted, p = p, kept = std::move(kept)](pin_list taken) mutable {
              resuming_ = false;
              pins_ = taken.size();
              // What it declared and is not there any more was lost to damage: it may still be reading the page.
              bool all = taken.size() == wanted->size() && !holds_lost_pages();
              send(to_.ledger, replace_pins{record_.id, std::move(taken)});
              settle_after_restart(!all);
              kill_point(kill_at::resume_reply);
              env_->metrics->session_resumed();
              log::info(about("session_resumed", record_), "it is back, with {} pins and {} granted pages", pins_,
                        granted_.size());
              p.deliver(resumed{ec::ok, std::move(kept)});
              if (state_ == session_state::ending)  // the worker died meanwhile
                continue_end();
            });
}

std::string session::keep_grants(std::string_view declared) {
  std::unordered_map<page_ref, generation> kept;
  std::vector<ec> codes;
  constexpr std::size_t record = 16;
  for (std::size_t at = 0; at + record <= declared.size(); at += record) {
    auto one = net::decode_grants(declared.substr(at, record));
    if (!one) {  // no page has such a generation
      codes.push_back(ec::gone);
      continue;
    }
    const auto& g = one->front();
    auto mine = granted_.find(g.page);
    bool ok = mine != granted_.end() && mine->second == g.gen;
    if (ok)
      kept.insert(*mine);
    codes.push_back(ok || committing_.contains(g.page) ? ec::ok : ec::gone);
  }
  // What the worker does not know of was granted in a reply that got lost.
  move_pages back;
  for (const auto& [page, gen] : granted_)
    if (!kept.contains(page))
      back.pages.push_back(page);
  granted_ = std::move(kept);
  env_->metrics->aborted(metrics::aborted_by::given_back, back.pages.size());
  if (!back.pages.empty())
    send(to_.pool, std::move(back));
  return net::encode_codes(codes);
}

std::optional<session::pin_list> session::pins_of(const resume_session& m) const {
  auto keys = m.pinned.size() / sizeof(key_hash), views = m.viewed.size() / net::view_pin_bytes;
  if (keys * sizeof(key_hash) != m.pinned.size() || views * net::view_pin_bytes != m.viewed.size()
      || keys + views > env_->options.pins_max)
    return std::nullopt;
  auto out = key_pins_of(m.pinned);
  constexpr auto slice = bounds::batch_items_max * net::view_pin_bytes;
  for (std::size_t at = 0; at < m.viewed.size(); at += slice) {
    auto some = net::decode_view_pins(std::string_view{m.viewed}.substr(at, slice));
    if (!some)
      return std::nullopt;
    out.insert(out.end(), some->begin(), some->end());
  }
  return out;
}

std::shared_ptr<session::pin_list> session::by_shard(pin_list pins) const {
  auto n = to_.shards.size();
  std::stable_sort(pins.begin(), pins.end(),
                   [n](const pin_id& a, const pin_id& b) { return shard_of(a.hash, n) < shard_of(b.hash, n); });
  return std::make_shared<pin_list>(std::move(pins));
}

void session::take_pins(std::shared_ptr<pin_list> wanted, std::size_t from, std::shared_ptr<pin_list> taken,
                        std::function<void(pin_list)> then) {
  if (from >= wanted->size()) {
    then(std::move(*taken));
    return;
  }
  auto shard = shard_of((*wanted)[from].hash, to_.shards.size());
  pin_again slice;
  for (auto i = from; i < wanted->size() && slice.pins.size() < bounds::batch_items_max; ++i) {
    if (shard_of((*wanted)[i].hash, to_.shards.size()) != shard)
      break;
    slice.pins.push_back((*wanted)[i]);
  }
  ++in_flight_;
  auto n = slice.pins.size();
  auto arrived = [this, wanted, from, n, taken, then = std::move(then)](std::string_view codes) mutable {
    for (std::size_t i = 0; i < codes.size(); ++i)
      if (static_cast<ec>(codes[i]) == ec::ok)
        taken->push_back((*wanted)[from + i]);
    --in_flight_;
    take_pins(wanted, from + n, taken, std::move(then));
  };
  request(to_.shards[shard], caf::infinite, std::move(slice))
    .then([arrived](const shard_blob& b) mutable { arrived(b.records); },
          [arrived](const caf::error&) mutable { arrived({}); });
}

// -- the end

void session::begin_end(metrics::ended_by reason) {
  if (state_ == session_state::ending)
    return;
  enter(session_state::ending);
  end_reason_ = reason;
  continue_end();
}

void session::continue_end() {
  // Not before the last answer of a shard is back: a pin or a commit that is under way belongs to this session.
  if (in_flight_ > 0 || end_started_)
    return;
  end_started_ = true;
  if (waiting_resume_)
    waiting_resume_->reply.deliver(resumed{ec::session_over, {}});
  waiting_resume_.reset();
  settle_after_restart(false);
  request(to_.ledger, caf::infinite, end_session_pins{record_.id})
    .then([this](const outcome&) { return_pages(); }, [this](const caf::error&) { return_pages(); });
}

void session::return_pages() {
  if (granted_.empty()) {
    send(to_.pool, hide_region{record_.id});
    send(to_.door, session_ended{record_.id, end_reason_});
    quit();
    return;
  }
  move_pages back{{}, lapsed_ ? page_state::quarantined : page_state::granted, page_state::free};
  while (!granted_.empty() && back.pages.size() < bounds::slice_pages) {
    back.pages.push_back(granted_.begin()->first);
    granted_.erase(granted_.begin());
  }
  env_->metrics->aborted(metrics::aborted_by::session_end, back.pages.size());
  send(to_.pool, std::move(back));
  send(this, return_slice{});
}

session_status session::status_now() const {
  auto now = clock().now();
  session_status s;
  s.id = value_of(record_.id);
  s.page_bytes = record_.page_bytes;
  s.grants = granted_.size() + committing_.size();
  s.pins = pins_;
  if (auto table = env_->tables->find(record_.id))  // has those by message, too, each page once
    s.pins = std::max<std::uint64_t>(s.pins, table->all().size());
  s.in_flight = in_flight_;
  s.requests = requests_;
  s.shown_regions = record_.shown.size();
  for (const auto& share : record_.shown)
    s.shown_pages += share.pages;
  s.local_reads = local_reads_;
  s.instance = record_.instance;
  s.host = record_.host;
  s.state = to_string(state_);
  s.age_ms = in_ms(now - opened_);
  s.lease_left_ms = in_ms(lease_.left(now));
  return s;
}

void session::on_exit() {
  enter(session_state::ending);
  to_ = {};
  owner_ = nullptr;
  waiting_resume_.reset();  // a promise holds the actor that made it
}

}  // namespace maru::actors
