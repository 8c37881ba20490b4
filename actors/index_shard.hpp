// Owns one partition of the index. Each handler is one step: a pin and an eviction cannot cross.
#pragma once

#include <unordered_set>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/index.hpp"
#include "actors/observed.hpp"

namespace maru::actors {

class index_shard : public observed<index_shard_actor::base> {
public:
  // `number`: of shards from 0. `entries`: filled by recovery. `grace`: removals, evictions and the reuse of detached pages wait for end_grace.
  // `keyless`: entries whose key bytes are not known.
  index_shard(caf::actor_config& cfg, environment_ptr env, std::size_t number, std::shared_ptr<index> entries,
              bool grace, std::unordered_set<key_hash> keyless = {});

  behavior_type make_behavior() override;
  const char* name() const override { return "index_shard"; }
  void on_exit() override;

private:
  // Answers that depend on an entry on its way out wait until it is gone or stays: a worker may have pinned it.
  using blob_promise = caf::typed_response_promise<shard_blob>;
  blob_promise lookup(const shard_lookup& request);
  blob_promise exists(const shard_exists& request);
  void answer(const shard_lookup& request, blob_promise promise);
  void answer(const shard_exists& request, blob_promise promise);
  void answer(const shard_remove& request, blob_promise promise);
  template <class Request>
  void answer_later(const Request& request, blob_promise promise);
  void unpin(const std::vector<pin_id>& pins);
  // Has detached pages freed that nobody holds.
  void free_unheld();
  caf::typed_response_promise<shard_blob> remove(const shard_remove& request);
  claims claim(const claim_keys& request);
  outcome insert(const insert_entries& request);
  // Evicts the coldest; what workers hold without a message shows only then, so it goes on with the next ones.
  struct eviction {
    evict_coldest request;
    caf::typed_response_promise<evicted> promise;
    std::uint32_t gone = 0;
    int rounds = 0;
  };
  caf::typed_response_promise<evicted> evict(const evict_coldest& request);
  void evict_some(std::shared_ptr<eviction> e);
  caf::typed_response_promise<evicted> evict(std::vector<victim> victims, std::uint32_t pinned);
  // Takes note of what workers used without a message.
  void note_uses(std::uint32_t victims);
  // Marks them all, or none where one is pinned: a region that cannot become empty is not to lose its entries.
  std::vector<victim> mark_these(const evict_entries& request, std::uint32_t& pinned);
  void condemn(const std::vector<victim>& entries);
  // Forgets condemned entries that nobody has pinned: their pages go to quarantine.
  void forget_condemned(std::vector<victim> victims);
  // By workers that hold it without a message, or while it is not known whether it goes.
  void condemn_later(const victim& damaged);
  // Counts what changed among the entries since the last call.
  void export_entries();
  // Has the store_worker forget `victims`, then drops them, passes their pages on and calls `then(codes)`.
  enum class forget_for : std::uint8_t { eviction, removal, damage };
  void forget(std::vector<victim> victims, page_state to, forget_for why,
              std::function<void(const std::vector<ec>&)> then);

  environment_ptr env_;
  std::size_t number_;
  std::shared_ptr<index> index_;
  bool grace_;
  std::unordered_set<key_hash> keyless_;
  std::vector<std::function<void()>> undecided_;  // answers that wait
  std::vector<victim> condemned_in_grace_;
  std::int64_t counted_entries_ = 0, counted_bytes_ = 0;
  std::size_t condemned_pages_ = 0;                          // in quarantine for their bytes
  std::vector<victim> condemned_held_;                       // by workers, without a message
  std::unordered_map<session_id, std::uint64_t> uses_read_;  // how far each session's log is read
  store_worker_actor worker_;
  pool_manager_actor pool_;
};

}  // namespace maru::actors
