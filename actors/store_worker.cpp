#include "actors/store_worker.hpp"

#include <chrono>

#include "actors/page_memory.hpp"
#include "actors/payload_check.hpp"
#include "base/kill_point.hpp"

namespace maru::actors {

namespace {

metrics::checked result_of(ec damage) {
  using metrics::checked;
  return damage == ec::ok                                  ? checked::damaged
         : damage == ec::exists                            ? checked::intact
         : damage == ec::io || damage == ec::memory_failed ? checked::unreadable
                                                           : checked::gone;
}

}  // namespace

store_worker::store_worker(caf::actor_config& cfg, environment_ptr env, index_shard_actor shard,
                           pool_manager_actor pool)
    : observed(cfg, env->metrics, metrics::actor::store_worker),
      env_(std::move(env)),
      shard_(std::move(shard)),
      pool_manager_(std::move(pool)) {
  harden(this, env_, "store_worker");
}

store_worker::behavior_type store_worker::make_behavior() {
  return {
    [this](put_keys& m) { return begin_put(std::move(m)); },
    [this](const forget_entries& m) { return begin_removal(m); },
    [this](const free_pages& m) { free_unheld(m.pages); },
    [this](const free_waiting&) { free_waiting_pages(); },
    [this](const verify_payloads& m) { return verify(m); },
    [this](save_session& m) {
      storage::write_batch batch;
      batch.put_session(std::move(m.record));
      return write_session(std::move(batch));
    },
    [this](const erase_session& m) {
      storage::write_batch batch;
      batch.delete_session(m.session);
      return write_session(std::move(batch));
    },
    [this](const flush_group&) { flush(); },
  };
}

// -- puts

caf::typed_response_promise<put_results> store_worker::begin_put(put_keys request) {
  auto promise = make_response_promise<put_results>();
  auto id = next_put_++;
  auto n = request.items.size();
  if (n == 0) {
    promise.deliver(put_results{});
    return promise;
  }
  auto& p = puts_[id];
  p = {std::move(request), std::vector<ec>(n, ec::storage_failed), n, promise};
  std::vector<put_item_ref> mine;
  for (std::uint32_t i = 0; i < n; ++i)
    if (table_.claim(p.request.items[i].hash, {id, i}))
      mine.push_back({id, i});
  ask_claims(std::move(mine));
  return promise;
}

void store_worker::ask_claims(std::vector<put_item_ref> items) {
  if (items.empty())
    return;
  claim_keys claim;
  claim.hashes.reserve(items.size());
  for (auto ref : items)
    claim.hashes.push_back(item_of(ref).hash);
  ++open_claims_;
  request(shard_, caf::infinite, std::move(claim))
    .then([this, items](const claims& c) { on_claims(items, c); },
          [this, items](const caf::error&) {
            on_claims(items, {std::vector<ec>(items.size(), ec::stopping), {}});
          });
}

void store_worker::on_claims(const std::vector<put_item_ref>& items, const claims& answer) {
  --open_claims_;
  claims_to_join_ -= claims_to_join_ > 0 ? 1 : 0;  // they are answered in order
  const auto& codes = answer.codes;
  for (const auto& k : answer.keyless) {
    const auto& item = item_of(items[k.position]);
    const auto& owner = puts_.at(items[k.position].put).request.owner;
    group_.named.push_back({item.hash, {item.key, k.where, env_->unix_ms(), owner}});
  }
  std::vector<put_item_ref> again;
  for (std::size_t n = 0; n < items.size(); ++n) {
    switch (codes[n]) {
      case ec::ok: group_.commits.push_back(items[n]); break;
      case ec::busy:  // its removal came before this answer and put the item in front of the waiting ones
        break;
      case ec::exists: {
        auto hash = item_of(items[n]).hash;
        settle(items[n], ec::exists);
        settle_waiters(hash);
        break;
      }
      default: {
        auto hash = item_of(items[n]).hash;
        settle(items[n], codes[n]);
        pass_on(hash, again);
      }
    }
  }
  ask_claims(std::move(again));
  schedule_flush();
}

void store_worker::settle(put_item_ref ref, ec code) {
  auto at = puts_.find(ref.put);
  auto& p = at->second;
  p.codes[ref.item] = code;
  if (--p.open_items > 0)
    return;
  p.promise.deliver(put_results{std::move(p.codes)});
  puts_.erase(at);
}

void store_worker::settle_waiters(const key_hash& hash) {
  for (auto waiter : table_.committed(hash))
    settle(waiter, ec::exists);
}

void store_worker::pass_on(const key_hash& hash, std::vector<put_item_ref>& again) {
  if (auto next = table_.released(hash))
    again.push_back(*next);
}

// -- damage and sessions

put_results store_worker::verify(const verify_payloads& request) {
  put_results out;
  condemn_entries damaged;
  retire_pages failed;
  for (const auto& entry : request.entries) {
    auto damage = find_damage(*env_, entry);
    env_->metrics->payload_checked(result_of(damage));
    if (damage == ec::memory_failed)
      failed.pages.push_back(entry.where.page);
    if (damage == ec::ok) {
      log::error(
        "chunk_damaged",
        "the bytes of key hash {} in page {} do not fit their checksum: a miss from now on; the entry goes with "
        "its last pin, the page is not used before the next start",
        to_string(entry.hash), to_string(entry.where.page));
      env_->metrics->corrupted(metrics::corruption::payload);
    }
    bool goes = damage == ec::ok || damage == ec::memory_failed;
    if (goes)
      damaged.entries.push_back(entry);
    out.codes.push_back(goes ? ec::ok : damage);
  }
  for (auto page : request.pages) {
    auto memory = check_memory(*env_, page);
    if (memory == ec::memory_failed)
      failed.pages.push_back(page);
    out.codes.push_back(memory == ec::memory_failed ? ec::ok : memory == ec::ok ? ec::exists : memory);
  }
  // The pool_manager first: it is to know when the pages come back to it.
  if (!failed.pages.empty())
    send(pool_manager_, std::move(failed));
  if (!damaged.entries.empty())
    send(shard_, std::move(damaged));
  return out;
}

caf::typed_response_promise<outcome> store_worker::write_session(storage::write_batch batch) {
  auto promise = make_response_promise<outcome>();
  group_.sessions.emplace_back(std::move(batch), promise);
  schedule_flush();
  return promise;
}

// -- the group

void store_worker::schedule_flush() {
  bool empty = group_.named.empty() && group_.commits.empty() && group_.removals.empty() && group_.sessions.empty();
  if (flush_scheduled_ || empty)
    return;
  // Syncing is what costs: commits that are about to join are worth waiting for. Their claims call here again.
  if (env_->durability_host && !std::exchange(gathering_, true))
    claims_to_join_ = open_claims_;
  if (claims_to_join_ > 0)
    return;
  flush_scheduled_ = true;
  send(this, flush_group{});  // behind everything that waits in the mailbox already: that joins the group
}

void store_worker::flush() {
  flush_scheduled_ = gathering_ = false;
  auto g = std::exchange(group_, {});
  storage::write_batch batch;
  stage(g, batch);
  bool commits = !g.commits.empty(), removals = !g.removals.empty();
  if (commits)
    kill_point(kill_at::after_descriptors);
  if (removals)
    kill_point(kill_at::after_mark_evicting);
  status written;
  if (env_->durability_host && commits)
    written =
      env_->pool->sync();  // before RocksDB knows them: a record never tells of bytes that a crash can take back
  // Sessions need not outlive the host: their workers do not.
  bool sync = env_->durability_host && (commits || removals);
  if (written)
    written = write(std::move(batch), sync);
  if (!written)
    log::error("storage_failed", "{}", to_string(written.error()));
  if (commits)
    kill_point(kill_at::after_record);
  if (removals)
    kill_point(kill_at::after_record_deleted);
  for (auto& [changes, promise] : g.sessions)
    promise.deliver(outcome{written.code()});
  finish_removals(g.removals, bool{written});
  finish_commits(std::move(g.commits), bool{written});
}

status store_worker::write(storage::write_batch batch, bool sync) {
  if (batch.empty())  // every victim stays
    return {};
  auto records = batch.entries.size() + batch.sessions.size();
  auto since = std::chrono::steady_clock::now();
  auto written = env_->store->write(std::move(batch), sync);
  env_->metrics->store_write(bool{written}, records,
                             std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count());
  return written;
}

void store_worker::stage(group& g, storage::write_batch& batch) {
  auto now = env_->unix_ms();
  batch.entries.reserve(g.commits.size());
  std::vector<page_ref> committed, evicting;
  committed.reserve(g.commits.size());
  // Ahead of the removals: a name comes from the shard before a removal of its entry does.
  for (const auto& [hash, record] : g.named)
    batch.put_entry(hash, record);
  for (auto ref : g.commits) {
    const auto& item = item_of(ref);
    write_descriptor(ref, page_state::committed);
    batch.put_entry(item.hash, {item.key, item.where, now, puts_.at(ref.put).request.owner});
    committed.push_back(item.where.page);
  }
  announce(g.removals);
  for (const auto& r : g.removals)
    for (std::size_t i = 0; i < r.request.victims.size(); ++i)
      if (r.answer.codes[i] == ec::ok) {
        batch.delete_entry(r.request.victims[i].hash);
        evicting.push_back(r.request.victims[i].where.page);
      }
  for (const auto& [changes, promise] : g.sessions)
    batch.sessions.insert(batch.sessions.end(), changes.sessions.begin(), changes.sessions.end());
  tell_pool(std::move(committed), page_state::granted, page_state::committed);
  tell_pool(std::move(evicting), page_state::committed, page_state::evicting);
}

void store_worker::write_descriptor(put_item_ref ref, page_state state) {
  const auto& item = item_of(ref);
  auto slot = env_->slot_of(item.where.page);
  if (!slot)
    return;
  cxl::descriptor d;
  d.state = state;
  d.gen = item.where.gen;
  d.session = puts_.at(ref.put).request.session;
  d.epoch = static_cast<std::uint32_t>(env_->pool->epoch());
  if (state == page_state::committed) {
    d.page = item.where.page;
    d.hash = item.hash;
    d.length = item.where.length;
    d.checksum = item.where.checksum;
  }
  env_->pool->descriptors().write(*slot, d);
}

void store_worker::tell_pool(std::vector<page_ref> pages, page_state from, page_state to) {
  if (!pages.empty())
    send(pool_manager_, move_pages{std::move(pages), from, to});
}

void store_worker::finish_commits(std::vector<put_item_ref> commits, bool written) {
  if (commits.empty())
    return;
  if (!written) {
    std::vector<put_item_ref> again;
    std::vector<page_ref> pages;
    for (auto ref : commits) {
      write_descriptor(ref, page_state::granted);
      pages.push_back(item_of(ref).where.page);
    }
    // The pool_manager first: once a session has its answer it may give the page back at once.
    tell_pool(std::move(pages), page_state::committed, page_state::granted);
    for (auto ref : commits) {
      auto hash = item_of(ref).hash;
      settle(ref, ec::storage_failed);
      pass_on(hash, again);
    }
    ask_claims(std::move(again));
    return;
  }
  kill_point(kill_at::before_insert);
  insert_entries insert;
  insert.items.reserve(commits.size());
  for (auto ref : commits) {
    const auto& item = item_of(ref);
    insert.items.push_back({item.hash, item.where, item.page_bytes});
  }
  auto shared = std::make_shared<std::vector<put_item_ref>>(std::move(commits));
  auto finish = [this, shared] { inserted(*shared); };
  request(shard_, caf::infinite, std::move(insert))
    .then([finish](const outcome&) { finish(); },
          [finish](const caf::error&) { finish(); });  // the shard is gone with the service: the commit is durable
}

void store_worker::inserted(const std::vector<put_item_ref>& commits) {
  kill_point(kill_at::before_reply);
  for (auto ref : commits) {
    auto hash = item_of(ref).hash;
    settle(ref, ec::ok);
    settle_waiters(hash);
  }
}

// Handles go in circles, and a promise holds the actor that made it: each side lets go when it ends.
void store_worker::on_exit() {
  puts_.clear();
  group_ = {};
  shard_ = nullptr;
  pool_manager_ = nullptr;
}

}  // namespace maru::actors
