// One worker's session: its lease, the pages granted to it, its requests in flight. It answers the worker's requests by
// splitting them by shard and joining the answers, and it sees to it that whatever the worker held ends with it, but not
// before the worker is proven dead (nothing that a process may still touch is reused).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/lease.hpp"
#include "actors/observed.hpp"

namespace maru::actors {

// The actors that a session works with.
struct session_neighbours {
  std::vector<index_shard_actor> shards;
  std::vector<store_worker_actor> workers;  // one a shard
  pool_manager_actor pool;
  pin_ledger_actor ledger;
  door_actor door;
};

class session : public observed<session_actor::base> {
public:
  struct config {
    storage::session_record record;
    caf::actor_addr owner;            // who said hello; requests of others are refused
    std::vector<page_grant> granted;  // recovery: pages that were granted to it
    bool awaiting_resume = false;     // recovery: the worker has not come back yet
    std::uint64_t wire = 0;           // of the hello that opened it
  };
  session(caf::actor_config& cfg, environment_ptr env, session_neighbours neighbours, config c);

  behavior_type make_behavior() override;
  const char* name() const override { return "session"; }
  void on_exit() override;

private:
  using clock_type = caf::actor_clock::clock_type;
  template <class Reply>
  using promise = caf::typed_response_promise<Reply>;

  // requests of the worker: session.cpp
  promise<net::grant_reply> grant(const net::grant_request& m);
  net::codes_reply give_back(const net::give_back_request& m);
  promise<net::found_reply> lookup(const net::lookup_request& m);
  promise<net::codes_reply> exists(const net::exists_request& m);
  promise<net::codes_reply> unpin(const net::unpin_request& m);
  promise<net::codes_reply> remove(const net::remove_request& m);
  promise<net::renew_reply> renew(const net::renew_request& m);
  promise<net::codes_reply> attach(const net::attach_request& m);
  net::close_reply close();

  // regions and what is used: session_regions.cpp
  promise<net::regions_reply> regions(const net::regions_request& m);
  promise<net::show_region_reply> show(const net::show_region_request& m);
  void record_share(const region_share& share, std::function<void(ec, const region_share&)> then);
  promise<net::usage_reply> usage(const net::usage_request& m);

  // commits: session_commit.cpp
  struct commit_plan;
  promise<net::codes_reply> commit(const net::commit_request& m);
  ec check_commit(const net::commit_item& item, const key_hash& hash, const commit_plan& plan) const;
  ec code_of_stranger(const net::commit_item& item, const key_hash& hash) const;
  void commit_part_done(commit_plan& plan, std::size_t part, const std::vector<ec>& codes);

  // damaged payloads and failed memory: session_report.cpp
  struct report_plan;
  promise<net::codes_reply> report(const net::report_request& m);
  void sort_reported(report_plan& plan) const;
  void give_up_failed(const report_plan& plan);

  // life and end: session_life.cpp
  promise<resumed> resume(const resume_session& m);
  // Takes pins that the worker holds already, a slice of one shard at a time; `then` gets those that could be taken.
  // REQUIRES: `wanted` is sorted by shard.
  using pin_list = std::vector<pin_id>;
  void take_pins(std::shared_ptr<pin_list> wanted, std::size_t from, std::shared_ptr<pin_list> taken,
                 std::function<void(pin_list)> then);
  std::shared_ptr<pin_list> by_shard(pin_list pins) const;
  // What a worker that comes back says it holds; empty where it makes no sense, or is over the bound.
  std::optional<pin_list> pins_of(const resume_session& m) const;
  void run_resume();
  std::string keep_grants(std::string_view declared);
  void on_down();
  void on_tick(std::uint64_t number);
  bool proven_dead() const;
  void lapse();
  void quarantine(const std::vector<page_grant>& grants);
  void settle_after_restart(bool may_touch);
  bool holds_lost_pages() const;
  void begin_end(metrics::ended_by reason);
  void continue_end();
  void return_pages();
  void enter(session_state state);
  session_status status_now() const;

  // Common to all requests: who may ask, how many at a time, how long it took.
  enum class in_flight_bound { usual, none };
  ec admit(std::size_t blob_bytes, std::size_t record_bytes, in_flight_bound bound = in_flight_bound::usual);
  void finished(metrics::op o, metrics::answer a, std::size_t items, clock_type::time_point since);
  template <class Reply>
  promise<Reply> refuse(metrics::op o, Reply reply, ec code);
  // Sends each shard its part of `hashes` as a Request and calls `then(records)` with the joined answer.
  template <class Request, class Then>
  void scatter(const std::string& hashes, std::uint8_t flags, std::size_t record_bytes, Then then);
  void end_pins_after_first_miss(const std::string& hashes, holding takes, std::string& records);

  environment_ptr env_;
  session_neighbours to_;
  storage::session_record record_;
  caf::actor_addr owner_;
  session_state state_;       // changed by enter()
  bool local_reads_ = false;  // its worker reads the index in the pool
  bool leaving_ = false;      // its client was closed, views of it live
  bool counted_ = false;      // as connected
  basic_lease<clock_type> lease_;
  clock_type::time_point opened_;
  std::unordered_map<page_ref, generation> granted_;
  std::unordered_map<page_ref, generation> committing_;
  std::uint64_t pins_ = 0;  // as far as this session knows: what it was told minus what it released
  std::size_t in_flight_ = 0;
  std::uint64_t requests_ = 0;  // answered
  bool is_showing_ = false;     // a region that the session is to be shown is not recorded yet
  std::size_t asking_ = 0;      // pages asked of the pool_manager, not answered yet
  // A worker that comes back waits until the requests of its old connection are answered: what they grant and pin
  // belongs to what the resume settles.
  struct waiting_resume {
    resume_session message;
    promise<resumed> reply;
  };
  std::optional<waiting_resume> waiting_resume_;
  std::uint64_t wire_;  // the newest hello's: what a lost connection still delivers must not undo what came after it
  bool resuming_ = false;
  bool settled_;            // false: the door waits for the fate of a session of before the restart
  std::uint64_t tick_ = 0;  // number of the ticks that count
  bool lapsed_ = false;     // its pages are in quarantine
  bool end_started_ = false;
  metrics::ended_by end_reason_{};
};

}  // namespace maru::actors
