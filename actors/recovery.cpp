#include "actors/recovery.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "actors/entry_scan.hpp"
#include "actors/payload_check.hpp"
#include "actors/session_files.hpp"
#include "base/kill_point.hpp"
#include "base/log.hpp"
#include "base/parallel.hpp"

namespace maru::actors {

namespace {

using metrics::dropped_for;

constexpr std::size_t scanning_threads_max = 8;
constexpr std::size_t entries_ahead = 8;  // whose buckets are on their way at the same time

class recovery {
public:
  recovery(const environment& env, bool store_knows_pool) : env_(env), store_knows_pool_(store_knows_pool) {}

  result<recovered_state> run() {
    out_.table = std::make_shared<page_table>();
    for (const auto& m : env_.pool->members()) {
      out_.table->add_device(m->index(), m->super().data_bytes, m->super().extent_bytes);
      out_.table->set_closed(m->index(), m->draining);
    }
    auto slots = env_.pool->data_bytes() / env_.pool->slot_bytes();
    out_.keyless.resize(env_.shards);
    for (std::size_t i = 0; i < env_.shards; ++i)
      out_.shards.push_back(std::make_shared<index>(slots * index::growth_max, env_.options.eviction, slots));
    publish_shards();
    if (auto added = add_regions(); !added)
      return added.error();
    if (auto lost = drop_what_is_lost(); !lost)
      return lost.error();
    if (auto known = load_sessions(); !known)
      return known.error();
    assign_regions();
    if (auto read = rebuilding() ? rebuild_entries() : read_entries(); !read)
      return read.error();
    sort_pages();
    kill_point(kill_at::before_repairs);
    if (auto written = write_repairs(); !written)
      return written.error();
    kill_point(kill_at::after_repairs);
    // What has no page in use may have no storage: it is opened when grants need it, or given back.
    for (const auto& row : out_.table->rows())
      out_.table->open_used(row.id, [this, device = row.device](std::uint64_t offset, std::uint64_t length) {
        return bool{env_.pool->data_device(device).reserve(offset, length)};
      });
    for (auto& [id, s] : sessions_)
      out_.sessions.push_back(std::move(s));
    return std::move(out_);
  }

private:
  // The pool is one that RocksDB knows nothing of.
  bool unknown_pool() const { return env_.pool->how() == cxl::opened_as::opened && !store_knows_pool_; }
  bool rebuilding() const { return env_.options.rebuild && unknown_pool(); }

  // Readers of before find the index closed until this marud serves; what they hold is in their tables.
  void publish_shards() {
    env_.pool->clear_indexes(env_.shards);
    for (auto& shard : out_.shards)
      shard->publish_to(env_.pool->indexes(), env_.shards);
  }

  status add_regions() {
    for (const auto& row : env_.pool->regions()) {
      if (auto added = out_.table->add_region(row); !added) {
        // Overlapping rows mean damage: the pages of the second are out of reach, its entries are dropped below.
        log::error("region_damaged", "{}", to_string(added.error()));
        env_.metrics->corrupted(metrics::corruption::region_row);
        continue;
      }
      env_.regions->add(row);
    }
    env_.metrics->corrupted(metrics::corruption::region_row, env_.pool->damaged_rows());
    if (env_.pool->damaged_superblock())
      log::warn("superblock_damaged",
                "one of the two superblocks was damaged: the other one is whole, and both are written anew");
    env_.metrics->corrupted(metrics::corruption::superblock, env_.pool->damaged_superblock() ? 1 : 0);
    return {};
  }

  status drop_what_is_lost() {
    if (unknown_pool())
      return check_unknown_pages();
    if (env_.pool->how() != cxl::opened_as::contents_lost)
      return {};
    std::uint64_t n = 0;
    auto counted =
      env_.store->scan_entries({}, [&n](const key_hash&, const storage::entry_record&) { return ++n > 0; });
    if (!counted)
      return counted;
    log::warn("contents_lost", "the pool's contents are lost (new incarnation): {} entries are dropped", n);
    out_.dropped += n;
    env_.metrics->recovery_dropped(dropped_for::contents_lost, n);
    return env_.store->drop_entries();
  }

  // RocksDB knows nothing of a pool that holds pages: its state is lost, and only the operator may give the rest up.
  status check_unknown_pages() {
    std::uint64_t used = 0;
    for (const auto& row : out_.table->rows())
      for (std::uint32_t i = 0; i < row.page_count(); ++i)
        used += is_used(env_.pool->descriptors().raw_state(*env_.slot_of({row.id, page_index{i}}))) ? 1 : 0;
    if (used > 0 && !env_.options.rebuild && env_.options.on_damage == "start-empty")
      log::warn("pages_given_up", "the state directory {} does not know this pool: its {} used pages are given up",
                env_.options.state_dir, used);
    return refuse_unknown(env_.options, used);
  }

  static bool is_used(page_state state) { return state != page_state::free && state != page_state::retired; }

  status load_sessions() {
    auto known = env_.store->sessions();
    if (!known)
      return known.error();
    for (auto& record : *known)
      sessions_[record.id].record = record;
    // Workers go on using pages, whatever became of the records.
    auto living = living_sessions(env_.lock_dir);
    if (!living)
      return living.error();
    for (auto& record : *living)
      if (!sessions_.contains(record.id)) {
        repairs_.put_session(record);
        sessions_[record.id].record = std::move(record);
      }
    // Before the first page is given up by anybody: workers hold pages by their own word, whether marud runs or not.
    for (const auto& [id, s] : sessions_)
      if (s.record.boot_id == host_boot_id())
        if (auto added = env_.tables->add_known(id, s.record.lock_path); !added)
          log::warn({"session_table", value_of(id), s.record.instance}, "what it holds is not known: {}",
                    to_string(added.error()));
    return {};
  }

  // What sessions were shown is theirs again, where it still is there.
  void assign_regions() {
    for (const auto& [id, s] : sessions_)
      for (const auto& share : s.record.shown) {
        auto* row = out_.table->find(share.region);
        if (!row || row->page_bytes != s.record.page_bytes || (!share.shared && out_.table->assigned(share.region)))
          continue;
        if (!share.shared)
          out_.table->assign(share.region, share.pages);
        out_.shown.add(id, share);
      }
  }

  status read_entries() {
    auto parts = scan_entries(env_, cores_at_most(scanning_threads_max));
    if (!parts)
      return parts.error();
    for (const auto& part : *parts) {
      for (const auto& [hash, why] : part.refused)
        drop(hash, why);
      for (const auto& e : part.confirmed) {
        out_.table->restore(e.where.page, page_state::committed);
        if (e.keyless)
          out_.keyless[shard_of(e.hash, env_.shards)].insert(e.hash);
      }
      out_.entries += part.confirmed.size();
    }
    in_parallel(env_.shards, [&](std::size_t shard) { insert_by_age(shard, *parts); });
    return {};
  }

  // Recency did not survive: the order of commits is the best that is known of it.
  void insert_by_age(std::size_t shard, const std::vector<scanned_entries>& parts) {
    struct aged {
      std::uint64_t committed_ms;
      const stored_entry* entry;
    };
    std::vector<aged> order;
    order.reserve(out_.entries / env_.shards);
    for (const auto& part : parts)
      for (const auto& e : part.confirmed)
        if (shard_of(e.hash, env_.shards) == shard)
          order.push_back({e.committed_ms, &e});
    std::stable_sort(order.begin(), order.end(),
                     [](const aged& a, const aged& b) { return a.committed_ms < b.committed_ms; });
    auto& into = *out_.shards[shard];
    for (std::size_t n = 0; n < order.size(); ++n) {
      if (n + 2 * entries_ahead < order.size())
        __builtin_prefetch(order[n + 2 * entries_ahead].entry);
      if (n + entries_ahead < order.size())
        into.prefetch(order[n + entries_ahead].entry->hash);
      const auto& e = *order[n].entry;
      into.insert(e.hash, e.where, e.page_bytes, env_.slot_of(e.where.page).value_or(0));
    }
  }

  // The descriptors say what is in each page, so the records can be made from them. The order of use is lost.
  status rebuild_entries() {
    for (const auto& row : out_.table->rows()) {
      storage::write_batch batch;
      for (std::uint32_t i = 0; i < row.page_count(); ++i) {
        page_ref page{row.id, page_index{i}};
        auto d = env_.pool->descriptors().read(*env_.slot_of(page));
        if (!d || d->state != page_state::committed)
          continue;
        location where{page, d->length, d->gen, d->checksum};
        // After a crash of the host a descriptor may be older than its page's bytes: only a checksum can vouch for them.
        if (env_.pool->rebooted() && (d->checksum == 0 || find_damage(env_, {d->hash, where}) != ec::exists))
          continue;
        auto s = shard_of(d->hash, env_.shards);
        // The same key twice: one commit was under way as marud ended, and nobody was told of it. Their bytes are equal.
        if (out_.shards[s]->insert(d->hash, where, row.page_bytes, *env_.slot_of(page)) != ec::ok)
          continue;
        out_.table->restore(page, page_state::committed);
        out_.keyless[s].insert(d->hash);
        batch.put_entry(d->hash, {{}, where, 0, {}});
        ++out_.entries;
      }
      if (auto written = env_.store->write(std::move(batch), env_.durability_host); !written)
        return written;
    }
    log::warn("rebuilt",
              "--rebuild: {} records are made anew from the pool; keys come back as they are committed again",
              out_.entries);
    return {};
  }

  void drop(const key_hash& hash, dropped_for why) {
    if (why == dropped_for::record)
      env_.metrics->corrupted(metrics::corruption::record);
    ++out_.dropped;
    env_.metrics->recovery_dropped(why, 1);
    repairs_.delete_entry(hash);
  }

  // Every page that no entry claims.
  void sort_pages() {
    for (const auto& row : out_.table->rows())
      for (std::uint32_t i = 0; i < row.page_count(); ++i) {
        kill_point(kill_at::recovery_page);
        page_ref page{row.id, page_index{i}};
        auto slot = *env_.slot_of(page);
        auto d = env_.pool->descriptors().read(slot);
        if (d)
          env_.pool->note_generation(d->gen);
        if (*out_.table->state_of(page) == page_state::committed)
          out_.table->restore_owner(page, d->session);
        else
          sort_page(page, slot, d);
      }
  }

  void sort_page(page_ref page, std::uint64_t slot, const std::optional<cxl::descriptor>& d) {
    auto& descriptors = env_.pool->descriptors();
    if (!d) {  // torn or damaged: starts again above every generation ever used
      env_.metrics->corrupted(metrics::corruption::descriptor);
      env_.pool->start_afresh(slot, sessions_.empty() ? page_state::free : page_state::quarantined);
      if (!sessions_.empty())
        hold(page);
      return;
    }
    if (d->state == page_state::free)
      return;
    if (d->state == page_state::retired) {
      out_.table->restore(page, page_state::retired);
      return;
    }
    // Its entry is lost, and a worker may still read it: one that says so, or any where nothing is known of the pool.
    if (d->state == page_state::committed && (unknown_pool() ? !sessions_.empty() : is_held(page, slot))) {
      env_.pool->end_generation(slot, d->gen, page_state::quarantined);
      hold(page);
      return;
    }
    // Its entry was removed or evicted; whether views hold the page is known when the sessions are settled.
    if (d->state == page_state::evicting && !sessions_.empty()) {
      out_.table->restore(page, page_state::evicting);
      out_.shards[shard_of(d->hash, out_.shards.size())]->detach({page, d->gen});
      return;
    }
    auto owner = sessions_.find(d->session);
    if (d->state == page_state::quarantined && owner == sessions_.end() && !sessions_.empty()) {
      hold(page);  // held by the recovery before this one: whoever may write it is not settled yet
      return;
    }
    if (d->state == page_state::evicting || owner == sessions_.end()) {
      env_.pool->end_generation(slot, d->gen, page_state::free);
      return;
    }
    // Granted, or committed without a record: the commit was never acknowledged, so the page is its session's again.
    cxl::descriptor again;
    again.state = page_state::granted;
    again.gen = d->gen;
    again.session = d->session;
    again.epoch = d->epoch;
    descriptors.write(slot, again);
    out_.table->restore(page, page_state::granted);
    out_.table->restore_owner(page, d->session);
    owner->second.granted.push_back({page, d->gen});
  }

  // As an eviction looks: workers of before do not stop reading while marud starts.
  bool is_held(page_ref page, std::uint64_t slot) {
    env_.pool->descriptors().announce_eviction(std::span{&slot, 1});
    return env_.tables->held(std::span{&page, 1}).front().any();
  }

  void hold(page_ref page) {
    out_.table->restore(page, page_state::quarantined);
    out_.held.push_back(page);
  }

  status write_repairs() {
    if (repairs_.empty())
      return {};
    if (!repairs_.entries.empty())
      log::warn("entries_dropped", "recovery drops {} entries that the pool does not confirm", repairs_.entries.size());
    return env_.store->write(std::move(repairs_), env_.durability_host);
  }

  const environment& env_;
  bool store_knows_pool_;
  recovered_state out_;
  std::map<session_id, recovered_session> sessions_;
  storage::write_batch repairs_;
};

}  // namespace

status refuse_unknown(const marud_options& o, std::uint64_t used) {
  if (used == 0 || o.rebuild || o.on_damage == "start-empty")
    return {};
  return {ec::unknown_contents,
          "failed to recover pool " + o.pool + ": it holds " + std::to_string(used) + " pages that the state directory "
            + o.state_dir
            + " does not know. Give the right --state-dir, or --rebuild to make the records anew from the pool, or "
              "--on-damage=start-empty to free the pages"};
}

result<recovered_state> recover(const environment& env, bool store_knows_pool,
                                std::chrono::steady_clock::time_point begun) {
  auto out = recovery{env, store_knows_pool}.run();
  if (!out)
    return out;
  out->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  env.metrics->recovery(out->seconds, out->entries, out->sessions.size());
  log::info("recovered", "recovered {} entries in {:.3f} s; {} dropped, {} sessions to wait for", out->entries,
            out->seconds, out->dropped, out->sessions.size());
  return out;
}

}  // namespace maru::actors
