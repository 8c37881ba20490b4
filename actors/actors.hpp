// Every actor of marud as a typed handle: its role and one comment a message. What each owns is in
// docs/architecture.md, "The actors"; the behaviours are in the files named after them.
#pragma once

#include <caf/all.hpp>

#include "actors/messages.hpp"

namespace maru::actors {

template <class T>
using answers = caf::replies_to<T>;
template <class T>
using hears = caf::reacts_to<T>;

// POOL MANAGER: owns devices, regions, free pages and quarantine.
using pool_manager_actor = caf::typed_actor<
  // Grants pages; waits for an eviction or a new region where it must, at most bounds::grant_wait_max.
  answers<grant_pages>::with<granted_pages>,
  // Takes note of pages that changed their state.
  hears<move_pages>,
  // Tells how many unused grants are wanted back.
  answers<ask_recall>::with<recall>,
  // Tells where regions lie.
  answers<ask_regions>::with<region_rows>,
  // Finds a region for a session, or one to share.
  answers<show_region>::with<region_shown>,
  // Takes a session's region, or all of them, from it.
  hears<hide_region>,
  // Counts a session's pages.
  answers<ask_usage>::with<session_usage>,
  // How much of the pool each session filled.
  answers<ask_committed_bytes>::with<committed_bytes>,
  // Evicts for the operator.
  answers<evict_bytes>::with<evicted_bytes>,
  // Lets eviction begin after a restart.
  hears<end_grace>,
  // Takes pages out of use for good.
  hears<retire_pages>,
  // Counts, for status and metrics.
  answers<ask_pool_status>::with<pool_status>,
  // States of pages, for the audit.
  answers<ask_page_states>::with<page_states>,
  // Adds, drains or removes a device of the pool; answered when it is done, a drain as it begins.
  answers<change_device>::with<device_changed>,
  // The pool's devices and what they hold.
  answers<ask_devices>::with<device_list>,
  // INTERNAL: looks at the next 256 pages of the regions that are drained.
  hears<drain_slice>,
  // INTERNAL: expires waiting grants, follows the demand, exports metrics.
  hears<tick>>;

// REGION PREPARER: takes storage and physical pages for regions, off the request path. Blocks; detached.
using region_preparer_actor = caf::typed_actor<
  // ok, or no_space; and what memory failed.
  answers<prepare_pages>::with<prepared>,
  // Opens a device and lays it out.
  answers<prepare_device>::with<prepared_device>,
  // Has RocksDB remember the pool's devices, at once.
  answers<save_devices>::with<outcome>>;

// STORE WORKER: owns the puts in flight of its shard and every write to RocksDB for its keys. Blocks; detached.
using store_worker_actor = caf::typed_actor<
  // Commits keys into pages granted to the session.
  answers<put_keys>::with<put_results>,
  // Deletes marked entries and frees their descriptors.
  answers<forget_entries>::with<forgotten>,
  // Frees the descriptors of pages whose entries are forgotten already.
  hears<free_pages>,
  // INTERNAL: those of them that workers still view.
  hears<free_waiting>,
  // Looks at bytes that a worker found damaged, or at memory that failed it, and has their entries and pages go where it
  // is so.
  answers<verify_payloads>::with<put_results>,
  // Makes a session known across restarts.
  answers<save_session>::with<outcome>,
  // Forgets a session that is over.
  answers<erase_session>::with<outcome>,
  // INTERNAL: writes what is staged as one batch.
  hears<flush_group>>;

// A shard's neighbours, which are made after it.
struct wire_shard {
  store_worker_actor worker;
  pool_manager_actor pool;
};

// INDEX SHARD: owns the entries of its partition, their pin counts and their recency.
using index_shard_actor = caf::typed_actor<
  // Looks up, and pins when asked to, in one step that no eviction can cross.
  answers<shard_lookup>::with<shard_blob>,
  // Tells which keys are there.
  answers<shard_exists>::with<shard_blob>,
  // Removes entries; answered when they are gone for good.
  answers<shard_remove>::with<shard_blob>,
  // Counts the pins of a session that came back, or that its file names.
  answers<pin_again>::with<shard_blob>,
  // Ends pins.
  hears<end_pins_on>,
  // Tells which keys may be put.
  answers<claim_keys>::with<claims>,
  // Makes durable entries visible.
  answers<insert_entries>::with<outcome>,
  // Evicts what was not used for longest.
  answers<evict_coldest>::with<evicted>,
  // Drops entries whose bytes are damaged, once nobody has them pinned.
  hears<condemn_entries>,
  // INTERNAL: those of them that workers have pinned without a message.
  hears<forget_condemned_again>,
  // Evicts given entries.
  answers<evict_entries>::with<evicted>,
  // Tells about one entry.
  answers<ask_entry>::with<entry_details>,
  // Counts, for status and metrics.
  answers<ask_shard_status>::with<shard_status>,
  // Lets removals and evictions begin after a restart.
  hears<end_grace>,
  // First message: who forgets for this shard, and where pages go.
  hears<wire_shard>>;

// PIN LEDGER: owns which session holds which pins.
using pin_ledger_actor = caf::typed_actor<
  // Begins to look at a session's table.
  answers<open_session_table>::with<outcome>,
  // Tells whether worker and marud see the same table.
  answers<check_session_table>::with<outcome>,
  // INTERNAL: counts what is held, one session a message.
  hears<count_tables_again>,
  // Takes note of new pins.
  hears<record_pins>,
  // Exchanges all pins of a session that came back.
  hears<replace_pins>,
  // Ends pins that the session holds; ok or not_pinned per pin.
  answers<release_pins>::with<shard_blob>,
  // Ends everything of a session.
  answers<end_session_pins>::with<outcome>,
  // INTERNAL: the next 256 of them.
  hears<end_pins_slice>,
  // Counts a lapsed session's pins apart.
  hears<hold_pins>,
  // Counts.
  answers<ask_pins>::with<pin_counts>>;

// SESSION: one worker's lease, its granted pages and its requests in flight. Its remote part is net::session_actor.
using session_actor = net::session_actor::extend<
  // The worker came back on another connection or after a restart.
  answers<resume_session>::with<resumed>,
  // Ends it, where its worker is not connected.
  answers<end_session>::with<outcome>,
  // For maructl and the metrics.
  answers<ask_session_status>::with<session_status>,
  // INTERNAL: lease and proof of death.
  hears<tick>,
  // INTERNAL: returns the next 256 pages.
  hears<return_slice>>;

// DOOR: what marud publishes; opens sessions and knows them all. Its remote part is net::door_actor.
using door_actor = net::door_actor::extend<
  // A session of before the restart is settled.
  hears<session_settled>,
  // A session is over.
  hears<session_ended>,
  // Passed on to the session.
  answers<end_session>::with<outcome>,
  // All sessions.
  answers<ask_sessions>::with<session_list>,
  // Ends all sessions for shutdown.
  answers<drain>::with<outcome>>;

// The door, which is made after the admin.
struct wire_admin {
  door_actor door;
};

// ADMIN: answers maructl's questions in JSON. Blocks; detached.
using admin_actor = caf::typed_actor<
  // A verb and its arguments.
  answers<net::admin_request>::with<net::admin_reply>,
  // First message: whom to ask about sessions.
  hears<wire_admin>>;

}  // namespace maru::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(maru::actors::wire_shard)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(maru::actors::wire_admin)
