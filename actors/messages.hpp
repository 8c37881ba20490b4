// What marud's actors say to each other. These messages never leave the process: CAF is told that they cannot be
// serialized, so no peer can send one. Strings named `hashes`, `items`, `codes` are blobs of net/records.hpp.
#pragma once

#include <caf/actor_addr.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/index.hpp"
#include "actors/page_table.hpp"
#include "base/device_spec.hpp"
#include "base/error.hpp"
#include "base/types.hpp"
#include "base/uuid.hpp"
#include "cxl/fault_guard.hpp"
#include "cxl/member.hpp"
#include "metrics/metrics.hpp"
#include "net/protocol.hpp"
#include "storage/metadata_store.hpp"

namespace maru::actors {

// An acknowledgement, or what went wrong.
struct outcome {
  ec code = ec::ok;
};

// -- to the pool_manager

// A session wants pages. `ahead`: no caller waits for them; `held`: the granted pages that it has already; `spare`: as
// many more are welcome.
struct grant_pages {
  session_id session;
  std::uint64_t page_bytes = 0;
  std::uint32_t count = 0;
  bool ahead = false;
  std::uint32_t held = 0;
  std::uint32_t spare = 0;
};
struct granted_pages {
  ec code = ec::ok;
  std::vector<page_grant> grants;
};
// Pages changed their state. For granted and quarantined pages the pool_manager writes the descriptors; for all
// others the sender has done so.
struct move_pages {
  std::vector<page_ref> pages;
  page_state from = page_state::granted, to = page_state::free;
};
// How many of its `unused` grants a session should give back.
struct ask_recall {
  session_id session;
  std::uint64_t page_bytes = 0;
  std::uint32_t unused = 0;
};
struct recall {
  std::uint32_t count = 0;
};
// Rows of regions; of all when `ids` is empty.
struct ask_regions {
  std::vector<std::uint32_t> ids;
};
struct region_rows {
  std::vector<cxl::region_row> rows;
};
// A session wants a region of its own with so many pages.
struct show_region {
  session_id session;
  std::uint64_t page_bytes = 0, pages = 0;
};
// busy: not before workers of before the restart are settled. out_of_memory: there is no room for a region, and no
// (other) region of this page size either.
struct region_shown {
  ec code = ec::ok;
  cxl::region_row row;
  region_share share;
};
// The session has this region no more; none: it is over, and has none of them.
struct hide_region {
  session_id session;
  region_id region = region_id::none;
};
// Where a session has pages, and how much there is in all.
struct ask_usage {
  session_id session;
};
struct session_usage {
  struct region {
    cxl::region_row row;
    region_share share;
    page_use use;
  };
  std::vector<region> regions;
  std::uint64_t shown_regions = 0, shown_bytes = 0;
  std::uint64_t pool_bytes = 0, pool_free_bytes = 0;
};
// How many bytes each session committed that are still there.
struct ask_committed_bytes {
  bool dummy = false;
};
struct committed_bytes {
  std::unordered_map<session_id, std::uint64_t> of;  // sessions that are over included
};
// An operator wants so many bytes evicted, whatever the reserve.
struct evict_bytes {
  std::uint64_t bytes = 0;
};
struct evicted_bytes {
  std::uint64_t pages = 0, bytes = 0;
};
// Every session of before the restart has resumed, is dead, or had its time: eviction may begin. `all_proven`: none of
// them can touch pages any more that it does not know to be its own, so pages held by recovery may be used.
struct end_grace {
  bool all_proven = true;
};
struct ask_pool_status {
  bool dummy = false;
};
struct pool_status {
  state_counts pages, bytes;
  std::uint64_t unassigned_bytes = 0, reserve_pages = 0;
  bool grace = false;  // sessions of before the restart are awaited: nothing is evicted
  struct size_row {
    std::uint64_t page_bytes = 0, regions = 0;
    state_counts counts;
  };
  std::vector<size_row> sizes;
};
// The memory of these pages failed, marud has seen it: no page of them is granted again.
struct retire_pages {
  std::vector<page_ref> pages;
};
// States of a run of pages of one region, for the audit.
struct ask_page_states {
  region_id region;
  std::uint32_t from = 0, count = 0;
};
struct page_states {
  std::vector<page_state> states;
};
// A tick of the clock, INTERNAL to whoever sends it to itself. One whose number is not the current one is left over
// from before the interval was changed.
struct tick {
  std::uint64_t number = 0;
};
// The next slice of the regions that are drained. INTERNAL.
struct drain_slice {
  bool dummy = false;
};

// -- to the region_preparer

// Takes storage for a part of a region and makes its pages present.
struct prepare_pages {
  std::uint64_t offset = 0, length = 0;
  std::uint32_t device = 0;
};

// Makes a device ready to be the pool's.
struct prepare_device {
  device_spec spec;
};
struct prepared_device {
  status done;
  std::shared_ptr<std::unique_ptr<cxl::member>> device;
};
// Has RocksDB remember the pool's devices as they are now.
struct save_devices {};

// -- to the pool_manager, about devices

enum class device_verb : std::uint8_t {
  add,     // a device that is drained is used again
  drain,   // no new page there, and what is there goes as soon as nobody holds it
  remove,  // a drained one is nobody's from here on
};
struct change_device {
  device_verb verb;
  device_spec spec;
};
struct device_changed {
  status done;
};
struct ask_devices {};
struct device_status {
  std::uint32_t index = 0;
  std::string path, kind;
  uuid id;
  bool draining = false, left_out = false;
  std::uint64_t bytes = 0;
  std::uint64_t unassigned_bytes = 0;
  state_counts used;  // bytes, by state
};
struct device_list {
  std::vector<device_status> devices;
};
// `failed`: pieces of the device whose memory failed; all else may be used.
struct prepared {
  ec code = ec::ok;
  std::vector<cxl::failed_piece> failed;
};

// -- to an index_shard

// `flags`: those of the protocol.
struct shard_lookup {
  std::uint8_t flags = 0;
  std::string hashes;
};
struct shard_exists {
  std::string hashes;
};
struct shard_remove {
  std::string hashes;
};
// The answer to the three above: one record per hash.
struct shard_blob {
  std::string records;
};
// Counts pins that a session held before already; the answer has a code per pin: ok, or missing.
struct pin_again {
  std::vector<pin_id> pins;
};
// Ends one pin of each.
struct end_pins_on {
  std::vector<pin_id> pins;
};
// May these keys be put? ok (nobody has them), exists, or busy: the entry is on its way out, wait for that.
struct claim_keys {
  std::vector<key_hash> hashes;
};
// `keyless`: entries that exist, but whose key bytes are not known (see --rebuild): who puts the key tells them.
struct claims {
  struct keyless_entry {
    std::uint32_t position = 0;
    location where;
  };
  std::vector<ec> codes;
  std::vector<keyless_entry> keyless;
};
// Entries that are durable now become visible.
struct insert_entries {
  struct item {
    key_hash hash;
    location where;
    std::uint64_t page_bytes = 0;
  };
  std::vector<item> items;
};
// Evicts the coldest entries of a page size, at most bounds::slice_pages.
struct evict_coldest {
  std::uint64_t page_bytes = 0;
  std::uint32_t count = 0;
  metrics::evicted_for reason{};
};
// The bytes of these entries are damaged: they go, and their pages are not used again.
struct condemn_entries {
  std::vector<victim> entries;
};
// Tries again to forget damaged entries that workers had pinned. INTERNAL.
struct forget_condemned_again {
  bool dummy = false;
};
// Evicts these entries where they still are at this page. `whole`: only if all of them may go.
struct evict_entries {
  std::vector<victim> entries;
  bool whole = true;
};
// Answers to both, after the pages are free: how many went, how many are pinned.
struct evicted {
  std::uint32_t pages = 0, pinned = 0;
};
struct ask_entry {
  key_hash hash;
};
struct entry_details {
  std::optional<index::details> details;
};
struct ask_shard_status {
  bool dummy = false;
};
struct shard_status {
  std::uint64_t entries = 0, pins = 0, bytes = 0;
};

// -- to a store_worker

struct put_item {
  key_hash hash;
  std::string key;
  location where;
  std::uint64_t page_bytes = 0;
};
struct put_keys {
  session_id session;
  std::string owner;
  std::vector<put_item> items;
};
// One code per item: ok, exists, storage_failed.
struct put_results {
  std::vector<ec> codes;
};
// Forgets marked entries for good: their pages' descriptors are free, or quarantined, when this is answered. Where a worker
// has a page pinned without a message its entry stays; for a removal views do not count, they only keep the page.
struct forget_entries {
  std::vector<victim> victims;
  page_state to = page_state::free;
  bool removal = false;
};
// A code per entry: ok, pinned: it stays, or storage_failed: it stays. `viewed`: a byte per entry, 1 where it is gone and its
// page stays evicting, until free_pages.
struct forgotten {
  std::vector<ec> codes;
  std::string viewed;
};
// Detached pages that no view holds by message any more: their descriptors become free, once no worker has a view without
// a message either, and the pool_manager is told.
struct free_pages {
  std::vector<page_grant> pages;
};
// A worker met bytes that do not fit their checksum, or memory that failed. Answered by a code per entry, then per page:
// ok, it is so, and the entry, or the page, goes; exists: nothing is wrong; missing: there is no such entry or page any more.
struct verify_payloads {
  std::vector<victim> entries;
  std::vector<page_ref> pages;  // without an entry: their memory alone
};
// Looks again whether pages of free_pages are held. INTERNAL.
struct free_waiting {
  bool dummy = false;
};
struct save_session {
  storage::session_record record;
};
struct erase_session {
  session_id session;
};
// Writes what is staged. INTERNAL.
struct flush_group {
  bool dummy = false;
};

// -- to the pin_ledger

// Hands a session the table in which its worker says what it holds; before its hello is answered.
struct open_session_table {
  session_id session;
  std::string path;
};
// Does the worker's memory have this nonce where its table has it? ok, or invalid.
struct check_session_table {
  session_id session;
  uuid nonce;
};
// Counts what the next session's table says. INTERNAL.
struct count_tables_again {
  bool dummy = false;
};
struct record_pins {
  session_id session;
  std::vector<pin_id> pins;
};
// The session holds exactly these pins from now on (they are taken already); those of before end.
struct replace_pins {
  session_id session;
  std::vector<pin_id> pins;
};
struct release_pins {
  session_id session;
  std::vector<pin_id> pins;
};
// Ends all pins of a session; answered when they are gone.
struct end_session_pins {
  session_id session;
};
// The next slice of a session's end. INTERNAL.
struct end_pins_slice {
  session_id session;
};
// The session has no rights any more but may still be copying: its pins stay, counted apart.
struct hold_pins {
  session_id session;
};
struct ask_pins {
  session_id session;  // none: of all
};
struct pin_counts {
  std::uint64_t pins = 0, held_dead = 0;
};

// -- to a session

// A worker comes back: new owner, what it still holds. The door has checked the secret.
struct resume_session {
  caf::actor_addr owner;
  std::string pinned, viewed, grants;
  std::uint64_t wire = 0;
};
struct resumed {
  ec code = ec::ok;
  std::string kept;
};
// The next slice of returning pages. INTERNAL.
struct return_slice {
  bool dummy = false;
};
struct ask_session_status {
  bool dummy = false;
};
struct session_status {
  bool local_reads = false;  // it reads the index in the pool
  std::uint64_t id = 0, page_bytes = 0, grants = 0, pins = 0, in_flight = 0, shown_regions = 0, shown_pages = 0;
  std::uint64_t requests = 0;  // answered since its hello
  std::string instance, host, state;
  std::string peer;  // who it is, and where it came in
  std::int64_t age_ms = 0, lease_left_ms = 0;
};

// -- to the door

// A session of before the restart is settled: resumed, dead or out of time.
// Somebody who knows says that the worker's process is gone: an operator, or its host, which was booted since. ok; busy: it
// is connected; missing: there is no such session.
struct end_session {
  session_id session;
};
struct session_settled {
  session_id session;
  bool may_touch = false;  // its process may still touch pages that marud does not know it to hold
};
// A session is over and holds nothing any more.
struct session_ended {
  session_id session;
  metrics::ended_by reason{};
};
struct ask_sessions {
  bool dummy = false;
};
struct session_list {
  std::vector<session_status> sessions;
};
// Stop: no new sessions, requests in flight finish. Answered when every session is idle.
struct drain {
  bool dummy = false;
};

}  // namespace maru::actors

#define MARU_LOCAL(name) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(maru::actors::name)
MARU_LOCAL(outcome)
MARU_LOCAL(grant_pages)
MARU_LOCAL(granted_pages)
MARU_LOCAL(move_pages)
MARU_LOCAL(ask_recall)
MARU_LOCAL(recall)
MARU_LOCAL(ask_regions)
MARU_LOCAL(region_rows)
MARU_LOCAL(show_region)
MARU_LOCAL(region_shown)
MARU_LOCAL(hide_region)
MARU_LOCAL(ask_usage)
MARU_LOCAL(ask_committed_bytes)
MARU_LOCAL(committed_bytes)
MARU_LOCAL(session_usage)
MARU_LOCAL(evict_bytes)
MARU_LOCAL(evicted_bytes)
MARU_LOCAL(end_grace)
MARU_LOCAL(ask_pool_status)
MARU_LOCAL(pool_status)
MARU_LOCAL(ask_page_states)
MARU_LOCAL(retire_pages)
MARU_LOCAL(page_states)
MARU_LOCAL(tick)
MARU_LOCAL(prepare_pages)
MARU_LOCAL(prepare_device)
MARU_LOCAL(prepared_device)
MARU_LOCAL(save_devices)
MARU_LOCAL(change_device)
MARU_LOCAL(device_changed)
MARU_LOCAL(ask_devices)
MARU_LOCAL(device_list)
MARU_LOCAL(prepared)
MARU_LOCAL(shard_lookup)
MARU_LOCAL(shard_exists)
MARU_LOCAL(shard_remove)
MARU_LOCAL(shard_blob)
MARU_LOCAL(pin_again)
MARU_LOCAL(end_pins_on)
MARU_LOCAL(claim_keys)
MARU_LOCAL(claims)
MARU_LOCAL(insert_entries)
MARU_LOCAL(evict_coldest)
MARU_LOCAL(condemn_entries)
MARU_LOCAL(evict_entries)
MARU_LOCAL(evicted)
MARU_LOCAL(ask_entry)
MARU_LOCAL(entry_details)
MARU_LOCAL(ask_shard_status)
MARU_LOCAL(shard_status)
MARU_LOCAL(put_keys)
MARU_LOCAL(put_results)
MARU_LOCAL(forget_entries)
MARU_LOCAL(free_pages)
MARU_LOCAL(verify_payloads)
MARU_LOCAL(save_session)
MARU_LOCAL(erase_session)
MARU_LOCAL(flush_group)
MARU_LOCAL(forgotten)
MARU_LOCAL(free_waiting)
MARU_LOCAL(forget_condemned_again)
MARU_LOCAL(open_session_table)
MARU_LOCAL(check_session_table)
MARU_LOCAL(count_tables_again)
MARU_LOCAL(record_pins)
MARU_LOCAL(replace_pins)
MARU_LOCAL(release_pins)
MARU_LOCAL(end_session_pins)
MARU_LOCAL(end_pins_slice)
MARU_LOCAL(hold_pins)
MARU_LOCAL(ask_pins)
MARU_LOCAL(pin_counts)
MARU_LOCAL(resume_session)
MARU_LOCAL(resumed)
MARU_LOCAL(return_slice)
MARU_LOCAL(drain_slice)
MARU_LOCAL(ask_session_status)
MARU_LOCAL(session_status)
MARU_LOCAL(end_session)
MARU_LOCAL(session_settled)
MARU_LOCAL(session_ended)
MARU_LOCAL(ask_sessions)
MARU_LOCAL(session_list)
MARU_LOCAL(drain)
#undef MARU_LOCAL
