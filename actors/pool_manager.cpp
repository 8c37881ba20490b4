#include "actors/pool_manager.hpp"

#include <algorithm>

#include "base/kill_point.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto tick_interval = 100ms;
constexpr auto retry_after = 1s;           // after the device had no space
constexpr auto drain_again_after = 250ms;  // after no region could be emptied

}  // namespace

pool_manager::pool_manager(caf::actor_config& cfg, environment_ptr env, std::shared_ptr<page_table> table,
                           std::vector<index_shard_actor> shards, region_preparer_actor preparer, bool grace,
                           std::vector<page_ref> held)
    : pool_manager_actor::base(cfg),
      env_(std::move(env)),
      table_(std::move(table)),
      shards_(std::move(shards)),
      preparer_(std::move(preparer)),
      grace_(grace),
      held_(std::move(held)),
      rows_held_(grace && env_->pool->damaged_rows() > 0) {
  harden(this, env_, "pool_manager");
}

pool_manager::behavior_type pool_manager::make_behavior() {
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
  request.count = starving() || request.held >= part ? 0 : std::min(request.count, part - request.held);
  auto granted = request.count == 0 ? granted_pages{} : take(request);
  if (granted.grants.empty())
    granted.code = ec::busy;
  return granted;
}

bool pool_manager::starving() const {
  return std::any_of(classes_.begin(), classes_.end(), [](const auto& c) { return !c.second.waiting.empty(); });
}

std::uint32_t pool_manager::grant_cap(std::uint64_t page_bytes) const {
  // Unused grants are capacity lost: in a small pool no session gets more than its part of a quarter at a time.
  auto sessions = std::max<std::size_t>(1, askers_.size());
  auto part = table_->capacity(page_bytes) / (4 * sessions);
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(part, 1, bounds::batch_items_max));
}

granted_pages pool_manager::take(const grant_pages& request) {
  granted_pages out;
  auto count = std::min(request.count, grant_cap(request.page_bytes));
  for (auto page : table_->grant(request.page_bytes, count)) {
    auto slot = env_->slot_of(page);
    page_grant grant{page, env_->pool->descriptors().raw_generation(*slot)};
    write_granted(grant, request.session, *slot);
    out.grants.push_back(grant);
  }
  if (!out.grants.empty())
    kill_point(kill_at::after_grant);
  class_of(request.page_bytes).granted_this_tick += out.grants.size();
  return out;
}

void pool_manager::serve_waiting(std::uint64_t page_bytes) {
  auto& c = class_of(page_bytes);
  while (!c.waiting.empty()) {
    auto granted = take(c.waiting.front().request);
    if (granted.grants.empty())
      return;
    auto waited = std::chrono::duration<double>(clock().now() - c.waiting.front().since).count();
    env_->metrics->grant_wait(waited);
    c.waiting.front().promise.deliver(std::move(granted));
    c.waiting.pop_front();
  }
}

void pool_manager::expire_waiting(size_class& c) {
  while (!c.waiting.empty() && clock().now() - c.waiting.front().since >= bounds::grant_wait_max) {
    auto code = grace_ ? ec::busy : no_space_ ? ec::no_space : ec::out_of_memory;
    env_->metrics->rejected("grant", to_string(code));
    c.waiting.front().promise.deliver(granted_pages{code, {}});
    c.waiting.pop_front();
  }
}

recall pool_manager::ask_back(const ask_recall& request) {
  askers_[request.session] = clock().now();
  return {starving() && classes_.contains(request.page_bytes) ? request.unused : 0};
}

// -- supply

void pool_manager::supply(std::uint64_t page_bytes) {
  auto& c = class_of(page_bytes);
  serve_waiting(page_bytes);
  std::uint64_t wanted = 0;
  for (const auto& w : c.waiting)
    wanted += std::min(w.request.count, grant_cap(page_bytes));
  auto free = table_->free_pages(page_bytes);
  auto target = c.reserve.pages(table_->capacity(page_bytes)) + wanted;
  if (!c.preparing && free < target + c.reserve.lead())
    prepare(page_bytes);
  if (c.preparing || free >= target || grace_)
    return;
  if (free + c.evicting < target)
    evict(page_bytes, target - free - c.evicting,
          c.waiting.empty() ? metrics::evicted_for::reserve : metrics::evicted_for::request);
}

void pool_manager::prepare(std::uint64_t page_bytes) {
  if (rows_held_ || clock().now() < no_space_until_)
    return;
  auto place = table_->find_place(page_bytes);
  if (!place)
    return;
  auto row = env_->pool->add_region(place->offset, place->length, page_bytes);
  if (!row) {
    spdlog::error("{}", to_string(row.error()));
    no_space_ = true;
    no_space_until_ = clock().now() + retry_after;
    return;
  }
  if (auto added = table_->add_region(*row); !added) {
    spdlog::error("{}", to_string(added.error()));
    return;
  }
  env_->regions->add(*row);
  class_of(page_bytes).preparing = true;
  request(preparer_, caf::infinite, prepare_region{*row})
    .then([this, row = *row](const outcome& d) { prepared(row, d.code); },
          [this, row = *row](const caf::error&) { prepared(row, ec::stopping); });
}

void pool_manager::prepared(const cxl::region_row& row, ec code) {
  class_of(row.page_bytes).preparing = false;
  no_space_ = code != ec::ok;
  if (code == ec::ok) {
    table_->open_region(row.id);
  } else {
    no_space_until_ = clock().now() + retry_after;
    (void)table_->remove_region(row.id);
    env_->regions->remove(row.id);
    if (auto removed = env_->pool->remove_region(row.id); !removed)
      spdlog::error("{}", to_string(removed.error()));
  }
  supply(row.page_bytes);
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
  else if (c.evicting == 0 && !c.waiting.empty())
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

// -- draining: regions of one page size become another's

void pool_manager::begin_drain(std::uint64_t page_bytes) {
  auto now = clock().now();
  if (drain_ || grace_ || now < no_drain_until_ || now < no_space_until_)
    return;
  auto regions = table_->cheapest_window(page_bytes, stuck_);
  if (regions.empty()) {
    if (!std::exchange(stuck_, {}).empty())
      no_drain_until_ = now + drain_again_after;
    return;
  }
  drain_.emplace();
  drain_->for_page_bytes = page_bytes;
  drain_->regions = regions;
  for (auto id : regions)
    table_->set_draining(id, true);
  continue_drain();
}

std::vector<victim> pool_manager::next_victims() {
  auto& d = *drain_;
  std::vector<victim> out;
  for (std::size_t looked_at = 0; looked_at < bounds::slice_pages && d.region < d.regions.size(); ++looked_at) {
    auto id = d.regions[d.region];
    page_ref page{id, page_index{d.page}};
    auto* row = table_->find(id);
    if (!row || ++d.page >= row->page_count()) {
      ++d.region;
      d.page = 0;
    }
    if (auto state = table_->state_of(page); !state || *state != page_state::committed)
      continue;
    if (auto found = env_->pool->descriptors().read(*env_->slot_of(page)))
      out.push_back({found->hash, {page, found->length, found->gen, found->checksum}});
  }
  return out;
}

void pool_manager::continue_drain() {
  auto& d = *drain_;
  auto victims = d.failed ? std::vector<victim>{} : next_victims();
  if (victims.empty()) {
    if (d.failed || d.region == d.regions.size())
      end_drain();
    else
      send(this, drain_slice{});
    return;
  }
  std::vector<evict_entries> parts(shards_.size());
  for (const auto& v : victims)
    parts[shard_of(v.hash, shards_.size())].entries.push_back(v);
  for (std::size_t i = 0; i < parts.size(); ++i)
    d.open_requests += parts[i].entries.empty() ? 0 : 1;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].entries.empty())
      continue;
    auto finish = [this](bool failed) {
      drain_->failed |= failed;
      if (--drain_->open_requests == 0)
        continue_drain();
    };
    request(shards_[i], caf::infinite, std::move(parts[i]))
      .then([finish](const evicted& e) { finish(e.pinned > 0); }, [finish](const caf::error&) { finish(true); });
  }
}

void pool_manager::end_drain() {
  auto d = std::move(*drain_);
  drain_.reset();
  for (auto id : d.regions) {
    auto counts = table_->counts_of(id);
    if (counts.free != counts.total() || !table_->remove_region(id)) {
      table_->set_draining(id, false);
      stuck_.insert(id);  // pinned, or a put under way: another region may do
      continue;
    }
    env_->regions->remove(id);
    if (auto removed = env_->pool->remove_region(id); !removed)
      spdlog::error("{}", to_string(removed.error()));
  }
  supply(d.for_page_bytes);
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

void pool_manager::write_free(page_ref page) {
  auto slot = env_->slot_of(page);
  if (!slot)
    return;
  auto& descriptors = env_->pool->descriptors();
  auto old = descriptors.read(*slot);
  cxl::descriptor d;
  // A damaged line starts again above every generation ever used.
  d.gen = old ? old->gen + 1 : env_->pool->above_highest();
  env_->pool->note_generation(d.gen);
  descriptors.write(*slot, d);
}

void pool_manager::move(const move_pages& change) {
  std::uint64_t page_bytes = 0;
  for (auto page : change.pages) {
    if (auto code = table_->move(page, change.from, change.to); code != ec::ok) {
      spdlog::error("page {} is not {}: {}", to_string(page), cxl::to_string(change.from), to_string(code));
      env_->metrics->rejected("pool_manager", "page_state");
      continue;
    }
    if (change.to == page_state::free) {
      page_bytes = table_->find(page.region)->page_bytes;
      if (change.from != page_state::evicting)
        write_free(page);
    } else if (change.to == page_state::quarantined) {
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
  if (++ticks_ % 10 != 0)
    return;
  std::erase_if(askers_, [now = clock().now()](const auto& a) { return now - a.second > bounds::lease; });
  export_metrics();
}

void pool_manager::export_metrics() {
  env_->metrics->mailbox_length(name(), mailbox().size());
  auto s = status_now();
  auto unassigned = s.unassigned_bytes;
  env_->metrics->pages({s.pages.free, s.pages.granted, s.pages.committed, s.pages.evicting, s.pages.quarantined, 0});
  env_->metrics->pool_bytes(
    {s.bytes.free, s.bytes.granted, s.bytes.committed, s.bytes.evicting, s.bytes.quarantined, unassigned});
  env_->metrics->largest_free_run(table_->largest_free_run());
}

pool_status pool_manager::status_now() const {
  pool_status s;
  s.pages = table_->counts();
  s.bytes = table_->bytes();
  s.unassigned_bytes = table_->unassigned_bytes();
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
