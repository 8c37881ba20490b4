#include "actors/pool_manager.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/kill_point.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto tick_interval = 100ms;

metrics::page_counts as_metric(const state_counts& c, std::uint64_t unassigned) {
  return {c.free, c.granted, c.committed, c.evicting, c.quarantined, c.retired, unassigned};
}

}  // namespace

pool_manager::pool_manager(caf::actor_config& cfg, environment_ptr env, std::shared_ptr<page_table> table,
                           shown_regions shown, std::vector<index_shard_actor> shards, region_preparer_actor preparer,
                           bool grace, std::vector<page_ref> held)
    : observed(cfg, env->metrics, metrics::actor::pool_manager),
      env_(std::move(env)),
      table_(std::move(table)),
      shown_(std::move(shown)),
      shards_(std::move(shards)),
      preparer_(std::move(preparer)),
      grace_(grace),
      held_(std::move(held)),
      rows_held_(grace && env_->pool->damaged_rows() > 0),
      index_slots_max_(index::growth_max * (env_->pool->data_bytes() / env_->pool->slot_bytes())) {
  harden(this, env_, "pool_manager");
}

pool_manager::behavior_type pool_manager::make_behavior() {
  export_metrics();
  send(this, tick{});
  return {
    [this](const grant_pages& m) { return grant(m); },
    [this](const move_pages& m) { move(m); },
    [this](const ask_recall& m) { return ask_back(m); },
    [this](const ask_regions& m) {
      region_rows out;
      for (auto id : m.ids)
        if (auto* row = table_->find(region_id{id}))
          out.rows.push_back(*row);
      if (m.ids.empty())
        out.rows = table_->rows();
      return out;
    },
    [this](const show_region& m) { return show(m); },
    [this](const hide_region& m) { hide(m); },
    [this](const ask_usage& m) { return usage(m.session); },
    [this](const ask_committed_bytes&) { return committed_by_session(); },
    [this](const evict_bytes& m) { return evict_for_operator(m.bytes); },
    [this](const end_grace& m) {
      grace_ = false;
      if (m.all_proven) {
        rows_held_ = false;
        move({std::exchange(held_, {}), page_state::quarantined, page_state::free});
      }
      for (auto& [page_bytes, c] : classes_)
        supply(page_bytes);
    },
    [this](const retire_pages& m) { retire(m.pages); },
    [this](const ask_pool_status&) { return status_now(); },
    [this](const ask_page_states& m) {
      page_states out;
      for (auto i = m.from; i < m.from + m.count; ++i) {
        auto state = table_->state_of({m.region, page_index{i}});
        if (!state)
          break;
        out.states.push_back(*state);
      }
      return out;
    },
    [this](const change_device& m) { return change(m); },
    [this](const ask_devices&) { return devices(); },
    [this](const drain_slice&) { continue_drain(); },
    [this](const tick&) { on_tick(); },
  };
}

pool_manager::size_class& pool_manager::class_of(std::uint64_t page_bytes) {
  return classes_.try_emplace(page_bytes, env_->options.reserve_pages).first->second;
}

// -- grants

caf::typed_response_promise<granted_pages> pool_manager::grant(const grant_pages& request) {
  auto promise = make_response_promise<granted_pages>();
  if (!classes_.contains(request.page_bytes) && classes_.size() >= bounds::page_sizes_max)
    std::erase_if(classes_, [this](const auto& c) {
      return c.second.waiting.empty() && !c.second.preparing && c.second.evicting == 0
             && table_->counts(c.first).total() == 0;
    });
  if (!classes_.contains(request.page_bytes) && classes_.size() >= bounds::page_sizes_max) {
    promise.deliver(granted_pages{ec::invalid, {}});
    return promise;
  }
  auto& c = class_of(request.page_bytes);
  auto now = clock().now();
  askers_[request.session] = now;
  if (request.ahead) {
    promise.deliver(grant_ahead(request));
    supply(request.page_bytes);
    return promise;
  }
  if (c.waiting.empty()) {
    auto granted = take(request);
    if (!granted.grants.empty()) {
      env_->metrics->grant_wait(0);
      promise.deliver(std::move(granted));
      supply(request.page_bytes);
      return promise;
    }
  }
  c.waiting.push_back({request, promise, now});
  supply(request.page_bytes);
  return promise;
}

granted_pages pool_manager::grant_ahead(grant_pages request) {
  auto part = grant_cap(request.page_bytes);
  request.count = starving() || request.held >= part ? 0 : std::min(request.count + request.spare, part - request.held);
  request.spare = 0;
  auto granted = request.count == 0 ? granted_pages{} : take(request);
  if (granted.grants.empty())
    granted.code = ec::busy;
  return granted;
}

bool pool_manager::starves(const size_class& c) const {
  return std::any_of(c.waiting.begin(), c.waiting.end(),
                     [this](const waiting_grant& w) { return !opening_own(w.request.session); });
}

bool pool_manager::starving() const {
  return std::any_of(classes_.begin(), classes_.end(), [this](const auto& c) { return starves(c.second); });
}

std::uint32_t pool_manager::grant_cap(std::uint64_t page_bytes) const {
  // Unused grants are capacity lost: in a small pool no session gets more than its part of a quarter at a time.
  auto sessions = std::max<std::size_t>(1, askers_.size());
  auto part = table_->capacity(page_bytes) / (4 * sessions);
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(part, 1, bounds::batch_items_max));
}

// Pages that a request may get outside the regions that its session was shown: spare ones only where it was shown none.
std::uint32_t pool_manager::share_of(const grant_pages& request) const {
  auto spare = shown_.of(request.session).empty() ? request.spare : 0;
  return std::min(request.count + spare, grant_cap(request.page_bytes));
}

// Pages of the regions that the session was shown, in that order; else nobody's; else, when no more of those can be had,
// other sessions'. Empty where that takes a while, or an eviction.
std::vector<page_ref> pool_manager::choose(const grant_pages& request) {
  auto count = std::min(request.count + request.spare, grant_cap(request.page_bytes));
  const auto& own = shown_.of(request.session);
  std::vector<page_ref> pages;
  for (const auto& share : own) {
    auto part = share.shared ? page_part::all : page_part::assigned;
    auto some = table_->grant_from(share.region, count - pages.size(), request.session, part);
    pages.insert(pages.end(), some.begin(), some.end());
  }
  if (!own.empty()) {
    bool opening = open_own(request.session, count);
    if (!pages.empty() || opening || request.ahead)
      return pages;
  }
  count = share_of(request);
  auto& c = class_of(request.page_bytes);
  c.in_demand = true;
  pages = table_->grant(request.page_bytes, count, request.session);
  if (pages.empty() && !request.ahead && !c.preparing && !can_grow(request.page_bytes))
    pages = table_->grant(request.page_bytes, count, request.session, page_part::assigned);
  c.granted_this_tick += pages.size();
  return pages;
}

granted_pages pool_manager::take(const grant_pages& request) {
  granted_pages out;
  for (auto page : choose(request)) {
    auto slot = env_->slot_of(page);
    page_grant grant{page, env_->pool->descriptors().raw_generation(*slot)};
    write_granted(grant, request.session, *slot);
    out.grants.push_back(grant);
  }
  env_->metrics->reserved(out.grants.size());
  if (!out.grants.empty())
    kill_point(kill_at::after_grant);
  return out;
}

// First come, first served; but who waits for a region of its own holds nobody up.
void pool_manager::serve_waiting(std::uint64_t page_bytes) {
  bool some_left = true;
  std::erase_if(class_of(page_bytes).waiting, [&](waiting_grant& w) {
    if (!some_left && shown_.of(w.request.session).empty())
      return false;
    auto granted = take(w.request);
    some_left &= !granted.grants.empty() || opening_own(w.request.session);
    if (granted.grants.empty())
      return false;
    env_->metrics->grant_wait(std::chrono::duration<double>(clock().now() - w.since).count());
    w.promise.deliver(std::move(granted));
    return true;
  });
}

void pool_manager::expire_waiting(size_class& c) {
  while (!c.waiting.empty() && clock().now() - c.waiting.front().since >= bounds::grant_wait_max) {
    auto code = grace_ ? ec::busy : no_space_ ? ec::no_space : ec::out_of_memory;
    env_->metrics->out_of_memory(grace_      ? metrics::starved_by::grace
                                 : no_space_ ? metrics::starved_by::no_space
                                             : metrics::starved_by::pool_full);
    env_->metrics->grant_wait(std::chrono::duration<double>(clock().now() - c.waiting.front().since).count());
    log::warn({"grant_refused", value_of(c.waiting.front().request.session)},
              "no page of {} bytes was to be had in {} ms: {}", c.waiting.front().request.page_bytes,
              std::chrono::milliseconds{bounds::grant_wait_max}.count(),
              code == ec::busy       ? "nothing is evicted while sessions of before the restart are waited for"
              : code == ec::no_space ? "the pool's file system has no room"
                                     : "all of them are granted or pinned");
    c.waiting.front().promise.deliver(granted_pages{code, {}});
    c.waiting.pop_front();
  }
}

recall pool_manager::ask_back(const ask_recall& request) {
  askers_[request.session] = clock().now();
  bool wanted = (starving() && classes_.contains(request.page_bytes)) || holds_closed_pages(request.session);
  return {wanted ? request.unused : 0};
}

// -- states

void pool_manager::write_granted(const page_grant& grant, session_id session, std::uint64_t slot) {
  cxl::descriptor d;
  d.state = page_state::granted;
  d.gen = grant.gen;
  d.session = session;
  d.epoch = static_cast<std::uint32_t>(env_->pool->epoch());
  env_->pool->descriptors().write(slot, d);
}

void pool_manager::write_over(page_ref page, page_state state) {
  auto slot = env_->slot_of(page);
  if (!slot)
    return;
  if (auto old = env_->pool->descriptors().read(*slot))
    env_->pool->end_generation(*slot, old->gen, state);
  else
    env_->pool->start_afresh(*slot, state);
}

void pool_manager::move(const move_pages& change) {
  std::uint64_t page_bytes = 0;
  for (auto page : change.pages) {
    auto to = state_after(page, change.from, change.to);
    if (auto code = table_->move(page, change.from, to); code != ec::ok) {
      log::error("page_state", "page {} is not {}: {}", to_string(page), cxl::to_string(change.from), to_string(code));
      env_->metrics->rejected("pool_manager", "page_state");
      continue;
    }
    if (to == page_state::retired) {
      write_over(page, to);
    } else if (to == page_state::free) {
      page_bytes = table_->find(page.region)->page_bytes;
      if (change.from != page_state::evicting)
        write_over(page, to);
    } else if (to == page_state::quarantined) {
      env_->pool->descriptors().set_state(*env_->slot_of(page), page_state::quarantined);
    }
  }
  if (page_bytes != 0)
    supply(page_bytes);
}

void pool_manager::on_tick() {
  delayed_send(this, tick_interval, tick{});
  for (auto& [page_bytes, c] : classes_) {
    c.reserve.observe(std::exchange(c.granted_this_tick, 0));
    expire_waiting(c);
    if (!c.waiting.empty())
      supply(page_bytes);
  }
  empty_devices();
  if (++ticks_ % 10 != 0)
    return;
  if (!env_->pool->beat()) {
    log::error("taken_over", "another marud serves pool {} by now: this one stood still, and ends at once",
               env_->options.pool);
    std::_Exit(EXIT_FAILURE);  // nothing may be written any more: what an end in order does is not this marud's to do
  }
  std::erase_if(askers_, [now = clock().now()](const auto& a) { return now - a.second > bounds::lease; });
  export_metrics();
}

void pool_manager::export_metrics() {
  auto s = status_now();
  env_->metrics->pages(as_metric(s.pages, s.unassigned_bytes / env_->pool->slot_bytes()));
  env_->metrics->pool_bytes(as_metric(s.bytes, s.unassigned_bytes));
  std::vector<metrics::device_bytes> of_devices;
  for (const auto& d : devices().devices)
    if (!d.left_out)
      of_devices.push_back({d.path, d.draining, as_metric(d.used, d.unassigned_bytes)});
  env_->metrics->devices(of_devices);
  env_->metrics->devices_left_out(env_->pool->left_out().size());
  env_->metrics->largest_free_run(table_->largest_free_run());
  env_->metrics->regions(table_->rows().size());
  env_->metrics->reserve_pages(s.reserve_pages);
  std::uint64_t waiting = 0;
  for (const auto& [page_bytes, c] : classes_)
    waiting += c.waiting.size();
  env_->metrics->grants_waiting(waiting);
  env_->metrics->restart_grace(grace_);
}

pool_status pool_manager::status_now() const {
  pool_status s;
  s.pages = table_->counts();
  s.bytes = table_->bytes();
  s.unassigned_bytes = table_->unassigned_bytes();
  s.grace = grace_;
  for (auto page_bytes : table_->page_sizes()) {
    pool_status::size_row row{page_bytes, 0, table_->counts(page_bytes)};
    for (const auto& r : table_->rows())
      row.regions += r.page_bytes == page_bytes ? 1 : 0;
    s.sizes.push_back(row);
  }
  for (const auto& [page_bytes, c] : classes_)
    s.reserve_pages += c.reserve.pages(table_->capacity(page_bytes));
  return s;
}

// Handles go in circles, and a promise holds the actor that made it: each side lets go when it ends.
void pool_manager::on_exit() {
  classes_.clear();
  shards_.clear();
  preparer_ = nullptr;
}

}  // namespace maru::actors
