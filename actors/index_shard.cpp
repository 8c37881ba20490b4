#include "actors/index_shard.hpp"

#include <algorithm>
#include <chrono>

#include "actors/blobs.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;
constexpr auto look_again_after = 1s;  // at damaged entries that workers have pinned
constexpr int eviction_rounds_max = 16;
constexpr std::size_t uses_per_call = 256, uses_per_victim = 16;

}  // namespace

index_shard::index_shard(caf::actor_config& cfg, environment_ptr env, std::size_t number,
                         std::shared_ptr<index> entries, bool grace, std::unordered_set<key_hash> keyless)
    : observed(cfg, env->metrics, metrics::actor::index_shard),
      env_(std::move(env)),
      number_(number),
      index_(std::move(entries)),
      grace_(grace),
      keyless_(std::move(keyless)) {
  harden(this, env_, "index_shard");
  export_entries();
}

index_shard::behavior_type index_shard::make_behavior() {
  return {
    [this](const shard_lookup& m) { return lookup(m); },
    [this](const shard_exists& m) { return exists(m); },
    [this](const shard_remove& m) { return remove(m); },
    [this](const pin_again& m) { return shard_blob{net::encode_codes(index_->pin_again(m.pins))}; },
    [this](const end_pins_on& m) { unpin(m.pins); },
    [this](const claim_keys& m) { return claim(m); },
    [this](const insert_entries& m) { return insert(m); },
    [this](const evict_coldest& m) { return evict(m); },
    [this](const condemn_entries& m) { condemn(m.entries); },
    [this](const forget_condemned_again&) { condemn(std::exchange(condemned_held_, {})); },
    [this](const evict_entries& m) {
      std::uint32_t pinned = 0;
      auto victims = mark_these(m, pinned);
      return evict(std::move(victims), pinned);
    },
    [this](const ask_entry& m) { return entry_details{index_->find(m.hash)}; },
    [this](const ask_shard_status&) {
      return shard_status{index_->size(), index_->pins(), index_->bytes()};
    },
    [this](const end_grace&) {
      grace_ = false;
      condemn(std::exchange(condemned_in_grace_, {}));
      free_unheld();
    },
    [this](const wire_shard& m) {
      worker_ = m.worker;
      pool_ = m.pool;
    },
  };
}

index_shard::blob_promise index_shard::lookup(const shard_lookup& request) {
  auto promise = make_response_promise<shard_blob>();
  answer(request, promise);
  return promise;
}

index_shard::blob_promise index_shard::exists(const shard_exists& request) {
  auto promise = make_response_promise<shard_blob>();
  answer(request, promise);
  return promise;
}

void index_shard::answer(const shard_lookup& request, blob_promise promise) {
  auto hashes = hashes_of(request.hashes);
  if (index_->undecided(hashes))
    return answer_later(request, promise);
  auto found = index_->lookup(hashes, {net::holding_of(request.flags), (request.flags & net::flag_prefix_stop) != 0});
  promise.deliver(shard_blob{net::encode_found(found)});
}

void index_shard::answer(const shard_exists& request, blob_promise promise) {
  auto hashes = hashes_of(request.hashes);
  if (index_->undecided(hashes))
    return answer_later(request, promise);
  std::string codes;
  for (const auto& hash : hashes)
    codes.push_back(static_cast<char>(index_->contains(hash) ? ec::ok : ec::missing));
  promise.deliver(shard_blob{std::move(codes)});
}

template <class Request>
void index_shard::answer_later(const Request& request, blob_promise promise) {
  undecided_.push_back([this, request, promise] { answer(request, promise); });
}

void index_shard::unpin(const std::vector<pin_id>& pins) {
  index_->unpin(pins);
  forget_condemned(index_->take_condemned());
  free_unheld();
}

void index_shard::free_unheld() {
  if (grace_)  // who else holds them is not known yet
    return;
  auto pages = index_->take_unheld();
  for (std::size_t at = 0; at < pages.size(); at += bounds::slice_pages) {
    auto begin = pages.begin() + static_cast<std::ptrdiff_t>(at);
    send(worker_,
         free_pages{{begin, begin + static_cast<std::ptrdiff_t>(std::min(bounds::slice_pages, pages.size() - at))}});
  }
}

caf::typed_response_promise<shard_blob> index_shard::remove(const shard_remove& request) {
  auto promise = make_response_promise<shard_blob>();
  if (grace_)
    promise.deliver(shard_blob{std::string(hashes_of(request.hashes).size(), static_cast<char>(ec::busy))});
  else
    answer(request, promise);
  return promise;
}

// An entry on its way out may stay, and is back where marud is killed now: `missing` waits until it is gone for good.
void index_shard::answer(const shard_remove& request, blob_promise promise) {
  auto hashes = hashes_of(request.hashes);
  if (index_->undecided(hashes))
    return answer_later(request, promise);
  std::vector<ec> codes(hashes.size());
  std::vector<victim> victims;
  std::vector<std::size_t> positions;
  std::unordered_set<key_hash> marked;
  std::vector<std::size_t> again;  // keys that the batch has twice
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    victim v;
    codes[i] = index_->mark(hashes[i], v);
    if (codes[i] == ec::ok) {
      victims.push_back(v);
      positions.push_back(i);
      marked.insert(hashes[i]);
    } else if (codes[i] == ec::missing && marked.contains(hashes[i])) {
      again.push_back(i);
    }
  }
  forget(std::move(victims), page_state::free, forget_for::removal,
         [promise, codes = std::move(codes), positions = std::move(positions), again = std::move(again),
          hashes = std::move(hashes)](const std::vector<ec>& outcome) mutable {
           std::unordered_map<key_hash, ec> stays;
           for (std::size_t n = 0; n < positions.size(); ++n) {
             codes[positions[n]] = outcome[n];
             if (outcome[n] != ec::ok)
               stays[hashes[positions[n]]] = outcome[n];
           }
           for (auto i : again)
             if (auto first = stays.find(hashes[i]); first != stays.end())
               codes[i] = first->second;
           promise.deliver(shard_blob{net::encode_codes(codes)});
         });
}

claims index_shard::claim(const claim_keys& request) {
  claims out;
  out.codes.reserve(request.hashes.size());
  for (const auto& hash : request.hashes) {
    auto entry = index_->find(hash);
    out.codes.push_back(!entry ? ec::ok : entry->evicting ? ec::busy : ec::exists);
    // Where the write fails the key stays unknown until the next start.
    if (out.codes.back() == ec::exists && keyless_.erase(hash) > 0)
      out.keyless.push_back({static_cast<std::uint32_t>(out.codes.size() - 1), entry->where});
  }
  return out;
}

outcome index_shard::insert(const insert_entries& request) {
  outcome out;
  for (const auto& item : request.items)
    if (auto code = index_->insert(item.hash, item.where, item.page_bytes, env_->slot_of(item.where.page).value_or(0));
        code != ec::ok)
      out.code = code;
  export_entries();
  return out;
}

// All shards share the gauges: each adds what changed for it.
void index_shard::export_entries() {
  auto entries = static_cast<std::int64_t>(index_->size()), bytes = static_cast<std::int64_t>(index_->bytes());
  env_->metrics->entries_add(entries - std::exchange(counted_entries_, entries),
                             bytes - std::exchange(counted_bytes_, bytes));
}

std::vector<victim> index_shard::mark_these(const evict_entries& request, std::uint32_t& pinned) {
  std::vector<victim> out;
  for (const auto& wanted : request.entries) {
    auto entry = index_->find(wanted.hash);
    if (!entry || entry->evicting || entry->where.page != wanted.where.page)
      continue;
    if (entry->condemned) {  // it goes its own way
      ++pinned;
      continue;
    }
    out.push_back({wanted.hash, entry->where});
    pinned += grace_ || entry->pins > 0 ? 1 : 0;
  }
  std::vector<page_ref> pages;
  for (const auto& v : out)
    pages.push_back(v.where.page);
  for (const auto& hold : env_->tables->held(pages))  // what is held from now on shows when they are forgotten
    pinned += hold.any() ? 1 : 0;
  if (grace_ || (pinned > 0 && request.whole))
    return {};
  std::erase_if(out, [this](victim& v) { return index_->mark(key_hash{v.hash}, v) != ec::ok; });
  return out;
}

caf::typed_response_promise<evicted> index_shard::evict(std::vector<victim> victims, std::uint32_t pinned) {
  auto promise = make_response_promise<evicted>();
  forget(std::move(victims), page_state::free, forget_for::eviction,
         [this, promise, pinned](const std::vector<ec>& outcome) mutable {
           auto gone = static_cast<std::uint32_t>(std::count(outcome.begin(), outcome.end(), ec::ok));
           auto held = static_cast<std::uint32_t>(std::count(outcome.begin(), outcome.end(), ec::pinned));
           env_->metrics->evicted(metrics::evicted_for::region, gone);
           promise.deliver(evicted{gone, pinned + held});
         });
  return promise;
}

caf::typed_response_promise<evicted> index_shard::evict(const evict_coldest& request) {
  auto e = std::make_shared<eviction>();
  e->request = request;
  e->request.count = std::min(e->request.count, static_cast<std::uint32_t>(bounds::slice_pages));
  e->promise = make_response_promise<evicted>();
  note_uses(e->request.count);
  evict_some(e);
  return e->promise;
}

void index_shard::evict_some(std::shared_ptr<eviction> e) {
  auto victims =
    grace_ ? std::vector<victim>{} : index_->mark_coldest(e->request.page_bytes, e->request.count - e->gone);
  forget(std::move(victims), page_state::free, forget_for::eviction, [this, e](const std::vector<ec>& outcome) {
    e->gone += static_cast<std::uint32_t>(std::count(outcome.begin(), outcome.end(), ec::ok));
    bool held = std::find(outcome.begin(), outcome.end(), ec::pinned) != outcome.end();
    // Those that are held are the most recently used ones now: each round has others, until it was round once.
    if (held && e->gone < e->request.count && ++e->rounds < eviction_rounds_max)
      return evict_some(e);
    env_->metrics->evicted(e->request.reason, e->gone);
    e->promise.deliver(evicted{e->gone, 0});
  });
}

// As much of the logs as can matter for so many victims, each session its part: what is read is paid by evictions, not by
// lookups.
void index_shard::note_uses(std::uint32_t victims) {
  auto tables = env_->tables->all();
  auto most = (uses_per_call + uses_per_victim * victims) / std::max<std::size_t>(tables.size(), 1);
  if (uses_read_.size() > tables.size())
    std::erase_if(uses_read_, [this](const auto& read) { return !env_->tables->find(read.first); });
  for (const auto& [session, table] : tables)
    for (auto slot : table->uses_since(uses_read_[session], most)) {
      if (!env_->pool->descriptors().contains(slot))
        continue;
      auto d = env_->pool->descriptors().read(slot);
      if (d && d->state == cxl::page_state::committed && shard_of(d->hash, env_->shards) == number_)
        index_->touch(d->hash);
    }
}

void index_shard::condemn(const std::vector<victim>& entries) {
  std::vector<victim> victims;
  for (const auto& damaged : entries) {
    victim v;
    auto code = index_->condemn(damaged, grace_, v);
    if (code == ec::ok)
      victims.push_back(v);
    else if (code == ec::pinned && grace_)  // by whom is not known before the grace is over
      condemned_in_grace_.push_back(damaged);
    else if (code == ec::busy)
      condemn_later(damaged);
  }
  forget_condemned(std::move(victims));
}

void index_shard::forget_condemned(std::vector<victim> victims) {
  // A share of the pool at most: a worker that lies about its checksums must not use it up.
  bool room =
    condemned_pages_ + victims.size() <= env_->pool->data_bytes() / env_->pool->slot_bytes() / bounds::condemned_share;
  auto marked = victims;
  forget(std::move(victims), room ? page_state::quarantined : page_state::free, forget_for::damage,
         [this, room, marked](const std::vector<ec>& outcome) {
           auto gone = static_cast<std::size_t>(std::count(outcome.begin(), outcome.end(), ec::ok));
           condemned_pages_ += room ? gone : 0;
           env_->metrics->evicted(metrics::evicted_for::damage, gone);
           for (std::size_t i = 0; i < outcome.size(); ++i)
             if (outcome[i] != ec::ok)
               condemn_later(marked[i]);
         });
}

void index_shard::condemn_later(const victim& damaged) {
  if (condemned_held_.empty())
    delayed_send(this, look_again_after, forget_condemned_again{});
  condemned_held_.push_back(damaged);
}

void index_shard::forget(std::vector<victim> victims, page_state to, forget_for why,
                         std::function<void(const std::vector<ec>&)> then) {
  if (victims.empty()) {
    then({});
    return;
  }
  export_entries();  // without those that are marked
  auto marked = std::make_shared<std::vector<victim>>(victims);
  auto finish = [this, to, why, marked, then = std::move(then)](const forgotten& outcome) {
    move_pages freed{{}, page_state::evicting, to};
    free_pages left;  // by their views by message, meanwhile; or those never held it
    for (std::size_t i = 0; i < marked->size(); ++i) {
      const auto& v = (*marked)[i];
      if (outcome.codes[i] != ec::ok) {
        index_->restore(v.hash, why == forget_for::damage);
        continue;
      }
      bool held = index_->drop(v.hash);
      keyless_.erase(v.hash);
      if (outcome.viewed[i] == 0)
        freed.pages.push_back(v.where.page);
      else if (!held)
        left.pages.push_back(v.where.as_grant());
    }
    export_entries();
    if (!freed.pages.empty())
      send(pool_, std::move(freed));
    if (!left.pages.empty())
      send(worker_, std::move(left));
    then(outcome.codes);
    for (auto& again : std::exchange(undecided_, {}))
      again();
  };
  request(worker_, caf::infinite, forget_entries{std::move(victims), to, why == forget_for::removal})
    .then([finish](const forgotten& outcome) { finish(outcome); },
          [finish, marked](const caf::error&) {
            finish({std::vector<ec>(marked->size(), ec::storage_failed), std::string(marked->size(), 0)});
          });
}

// Handles go in circles: each side lets go when it ends.
void index_shard::on_exit() {
  worker_ = nullptr;
  pool_ = nullptr;
  undecided_.clear();
}

}  // namespace maru::actors
