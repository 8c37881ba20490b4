// Owns devices, regions, free pages and quarantine, and decides how much is evicted.
//
// A grant is served from the regions that its session was shown; else from pages that are nobody's; else from a new region;
// else from other sessions' regions; else by eviction; else, when only another page size has cold pages, by draining
// regions of that one. The region_preparer takes storage for regions off the request path, step by step. What cannot be
// served waits, first come first served, at most bounds::grant_wait_max.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/observed.hpp"
#include "actors/page_table.hpp"
#include "actors/reserve_target.hpp"
#include "actors/shown_regions.hpp"

namespace maru::actors {

class pool_manager : public observed<pool_manager_actor::base> {
public:
  // `table`, `shown`: as recovery left them. `grace`: nothing is evicted until end_grace. `held`: quarantined pages whose
  // descriptors were damaged, free once nobody of before the restart can touch them.
  pool_manager(caf::actor_config& cfg, environment_ptr env, std::shared_ptr<page_table> table, shown_regions shown,
               std::vector<index_shard_actor> shards, region_preparer_actor preparer, bool grace,
               std::vector<page_ref> held);

  behavior_type make_behavior() override;
  const char* name() const override { return "pool_manager"; }
  void on_exit() override;

private:
  struct waiting_grant {
    grant_pages request;
    caf::typed_response_promise<granted_pages> promise;
    caf::actor_clock::time_point since;
  };
  // What is known of one page size.
  struct size_class {
    explicit size_class(std::int64_t fixed_reserve) : reserve(fixed_reserve) {}
    reserve_target reserve;
    std::uint64_t granted_this_tick = 0;
    std::uint64_t evicting = 0;  // asked of the shards, not yet answered
    bool preparing = false;      // a step of a region is under way for whoever comes first
    bool in_demand = false;      // somebody wanted more than the regions that it was shown
    std::deque<waiting_grant> waiting;
  };
  // Regions that are being emptied to become another page size, or since their device is.
  struct drain_round {
    std::uint64_t for_page_bytes = 0;  // 0: for their device
    std::vector<region_id> regions;
    std::size_t region = 0;  // the next page to look at: of which of them,
    std::uint32_t page = 0;  // and which there
    std::uint32_t open_requests = 0;
    bool failed = false;
  };

  // grants
  caf::typed_response_promise<granted_pages> grant(const grant_pages& request);
  granted_pages grant_ahead(grant_pages request);
  bool starves(const size_class& c) const;  // somebody waits for pages, and not just for a step of a region of its own
  bool starving() const;                    // the same for any page size
  std::uint32_t grant_cap(std::uint64_t page_bytes) const;
  std::uint32_t share_of(const grant_pages& request) const;
  std::vector<page_ref> choose(const grant_pages& request);
  granted_pages take(const grant_pages& request);
  void serve_waiting(std::uint64_t page_bytes);
  void expire_waiting(size_class& c);
  recall ask_back(const ask_recall& request);

  // supply
  void supply(std::uint64_t page_bytes);
  bool has_space() const;
  bool can_grow(std::uint64_t page_bytes) const;
  bool grow(std::uint64_t page_bytes);
  std::optional<cxl::region_row> make_region(const page_table::place& place, std::uint64_t page_bytes);
  bool remove_region(region_id id, bool with_retired = false);
  bool open_step(const std::optional<page_table::step>& step, bool for_all);
  void end_step(const page_table::step& step, ec code);
  bool open_own(session_id session, std::uint64_t count);
  bool opening_own(session_id session) const;
  void evict(std::uint64_t page_bytes, std::uint64_t count, metrics::evicted_for reason);
  void evicted_some(std::uint64_t page_bytes, std::uint32_t asked, std::uint32_t gone);
  caf::typed_response_promise<evicted_bytes> evict_for_operator(std::uint64_t bytes);

  // regions of sessions
  region_shown show(const show_region& m);
  std::optional<cxl::region_row> region_to_share(const show_region& m) const;
  void hide(const hide_region& m);
  bool give_back_if_unused(region_id id);
  bool give_back_unused();
  session_usage usage(session_id session) const;
  committed_bytes committed_by_session() const;

  // devices
  caf::typed_response_promise<device_changed> change(const change_device& m);
  void add(const device_spec& spec, caf::typed_response_promise<device_changed> promise);
  void adopt(std::unique_ptr<cxl::member> device, caf::typed_response_promise<device_changed> promise);
  void set_draining(cxl::member& m, bool draining, caf::typed_response_promise<device_changed> promise);
  void remove(cxl::member& m, caf::typed_response_promise<device_changed> promise);
  void save(std::function<void(ec)> then);
  void tell_workers();
  void empty_devices();
  bool holds_closed_pages(session_id session) const;
  device_list devices() const;

  // draining
  void begin_drain(std::uint64_t page_bytes);
  void continue_drain();
  void end_drain();
  std::vector<victim> next_victims();

  // states
  void move(const move_pages& change);
  void write_granted(const page_grant& grant, session_id session, std::uint64_t slot);
  // What the page held is over: the next generation, in this state.
  void write_over(page_ref page, page_state state);

  // memory that failed: pool_retire.cpp
  void retire(const std::vector<page_ref>& pages);
  void retire_failed(region_id id, const std::vector<cxl::failed_piece>& pieces);
  page_state state_after(page_ref page, page_state from, page_state to);

  void on_tick();
  void export_metrics();
  pool_status status_now() const;
  size_class& class_of(std::uint64_t page_bytes);

  environment_ptr env_;
  std::shared_ptr<page_table> table_;
  shown_regions shown_;
  std::vector<index_shard_actor> shards_;
  region_preparer_actor preparer_;
  bool grace_;
  std::vector<page_ref> held_;
  bool rows_held_;  // a region's row was damaged: who mapped that region before the restart may still use its bytes
  std::map<std::uint64_t, size_class> classes_;
  std::optional<drain_round> drain_;
  bool changing_devices_ = false;  // one change at a time
  std::uint64_t device_changes_ = 0;
  const std::uint64_t index_slots_max_;  // that the shards have room for
  // Sessions and when they last asked for something: a small pool is shared fairly among them.
  std::unordered_map<session_id, caf::actor_clock::time_point> askers_;
  unsigned ticks_ = 0;
  bool no_space_ = false;  // the last new region could not be had
  caf::actor_clock::time_point no_space_until_{};
  caf::actor_clock::time_point no_drain_until_{};
  std::set<page_ref> failed_;  // in use, with memory that failed: retired as soon as nobody has them
  std::set<region_id> stuck_;  // regions that could not be emptied; looked at again after no_drain_until_
};

// Takes storage and physical pages for regions. Detached: both block.
class region_preparer : public observed<region_preparer_actor::base> {
public:
  // The same for all of the pool, for --prefault=start. `no_space`: the device cannot hold it.
  static status prefault_all(cxl::device& device);

  region_preparer(caf::actor_config& cfg, environment_ptr env);
  behavior_type make_behavior() override;
  const char* name() const override { return "region_preparer"; }

private:
  environment_ptr env_;
};

}  // namespace maru::actors
