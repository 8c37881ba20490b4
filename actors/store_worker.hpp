// Owns the puts in flight of one shard and every write to RocksDB for its keys, grouped: whatever arrived while one
// batch was written goes into the next.
//
// Before a page is given up it looks whether workers hold it by their own word (session_tables): an entry that one has
// pinned stays, a page that one views is freed later.
// A put: claim the keys (exists / mine / wait) -> descriptors committed -> one RocksDB batch -> insert into the shard ->
// reply. A removal: descriptors evicting -> the same RocksDB batches -> descriptors free with the next generation ->
// reply to the shard, which drops the entries. A kill between any two steps leaves what recovery drops or keeps whole.
// Runs on a thread of its own (detached), since a RocksDB write may block.
#pragma once

#include <chrono>
#include <deque>
#include <span>
#include <unordered_map>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/observed.hpp"
#include "actors/put_table.hpp"

namespace maru::actors {

class store_worker : public observed<store_worker_actor::base> {
public:
  store_worker(caf::actor_config& cfg, environment_ptr env, index_shard_actor shard, pool_manager_actor pool);

  behavior_type make_behavior() override;
  const char* name() const override { return "store_worker"; }
  void on_exit() override;

private:
  struct put {
    put_keys request;
    std::vector<ec> codes;
    std::size_t open_items = 0;
    caf::typed_response_promise<put_results> promise;
  };
  struct removal {
    forget_entries request;
    caf::typed_response_promise<forgotten> promise;
    forgotten answer;
  };
  struct group {
    // Entries that are there already, under a key whose bytes were not known.
    std::vector<std::pair<key_hash, storage::entry_record>> named;
    std::vector<put_item_ref> commits;
    std::vector<removal> removals;
    std::vector<std::pair<storage::write_batch, caf::typed_response_promise<outcome>>> sessions;
  };

  caf::typed_response_promise<put_results> begin_put(put_keys request);
  void ask_claims(std::vector<put_item_ref> items);
  void on_claims(const std::vector<put_item_ref>& items, const claims& answer);
  caf::typed_response_promise<forgotten> begin_removal(const forget_entries& request);
  void free_unheld(std::span<const page_grant> pages);
  void free_waiting_pages();
  put_results verify(const verify_payloads& request);
  caf::typed_response_promise<outcome> write_session(storage::write_batch batch);

  void schedule_flush();
  void flush();
  status write(storage::write_batch batch, bool sync);
  void stage(group& g, storage::write_batch& batch);
  void announce(std::vector<removal>& removals);
  void set_state(page_ref page, page_state state);
  void finish_commits(std::vector<put_item_ref> commits, bool written);
  void inserted(const std::vector<put_item_ref>& commits);
  // What the page held under this generation is over.
  void end_generation(const page_grant& page, page_state to);
  void finish_removals(std::vector<removal>& removals, bool written);

  const put_item& item_of(put_item_ref ref) const { return puts_.at(ref.put).request.items[ref.item]; }
  void write_descriptor(put_item_ref ref, cxl::page_state state);
  void tell_pool(std::vector<page_ref> pages, page_state from, page_state to);
  void settle(put_item_ref ref, ec code);
  void settle_waiters(const key_hash& hash);
  void pass_on(const key_hash& hash, std::vector<put_item_ref>& again);

  environment_ptr env_;
  index_shard_actor shard_;
  pool_manager_actor pool_manager_;
  put_table table_;
  std::unordered_map<std::uint64_t, put> puts_;
  std::uint64_t next_put_ = 1;
  group group_;
  std::size_t open_claims_ = 0;     // requests to the shard that are not answered yet
  std::size_t claims_to_join_ = 0;  // of these, the ones that were open when the group got its first member
  bool gathering_ = false;          // the group has one
  bool flush_scheduled_ = false;
  std::deque<page_grant> still_viewed_;  // evicting, to be freed when the last worker lets go
  bool free_scheduled_ = false;
};

}  // namespace maru::actors
