// The worker-facing protocol: messages, their type names, and the typed interfaces of the front door.
//
// Rules: a batch is one message and its reply has one result per item, in order; batches travel as blobs of fixed
// records (net/records.hpp); type names travel as text, so they are short, and renaming one breaks the protocol
// (raise `protocol_version`). Plain integers and strings only: bytes from strangers become ids after checks.
#pragma once

#include <caf/meta/type_name.hpp>
#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "base/types.hpp"

namespace caf {
class actor_system_config;
}

namespace maru::net {

inline constexpr std::uint32_t protocol_version = 5;

// First message of a worker. `resume_session` != 0 asks to go on with a session known to the pool, proven by
// `resume_secret`; `pinned` are the hashes it holds pinned (one per pin), `viewed` what its views hold, `grants` the pages
// it still uses.
struct hello {
  std::uint32_t version = protocol_version;
  std::string client_version;
  std::string instance;          // chosen by the worker, for people and logs
  std::string host;              // host id
  std::string boot_id;           // 16 bytes
  std::uint64_t page_bytes = 0;  // 0: the pool's smallest page
  std::string token;
  std::uint64_t resume_session = 0;
  std::string resume_secret;  // 16 bytes
  std::string pinned;         // hashes
  std::string viewed;         // view pins
  std::string grants;         // grants
  std::uint64_t wire = 0;     // one more with each hello of a client: one that comes late, after a newer one, is void
};

// Asks for the pages of `count` more chunks. `ahead`: nobody waits for them yet, so they come from what is free now and
// are no more than this session's part of the pool; `busy` where that leaves none. `spare`: as many more would be taken
// too. A session that was shown regions gets pages ahead, and spare ones, from these only.
struct grant_request {
  std::uint32_t count = 0;
  bool ahead = false;
  std::uint32_t spare = 0;
};
// Gives granted pages back.
struct give_back_request {
  std::string grants;
};
// Commits keys into granted pages.
struct commit_request {
  std::string items;
};
// Looks keys up; flags are a sum of flag_prefix_stop and one of flag_pin, which keeps the hits' entries, and flag_view,
// which keeps their pages only.
struct lookup_request {
  std::uint8_t flags = 0;
  std::string hashes;
};
inline constexpr std::uint8_t flag_pin = 1, flag_prefix_stop = 2, flag_view = 4;
inline constexpr std::uint8_t flags_of(holding takes, bool prefix_stop) {
  auto bits = takes == holding::pin ? flag_pin : takes == holding::view ? flag_view : 0;
  return static_cast<std::uint8_t>(bits | (prefix_stop ? flag_prefix_stop : 0));
}
inline constexpr holding holding_of(std::uint8_t flags) {
  return (flags & flag_pin) != 0 ? holding::pin : (flags & flag_view) != 0 ? holding::view : holding::nothing;
}
// Tells which keys are there.
struct exists_request {
  std::uint8_t flags = 0;
  std::string hashes;
};
// Ends pins by key and pins of views; an answer has the codes of both, in this order.
struct unpin_request {
  std::string hashes;
  std::string viewed;  // view pins
};
struct remove_request {
  std::string hashes;
};
// Tells of pages whose bytes do not fit the checksum that a lookup gave with them; with generation 0, of pages whose memory
// failed under the worker, whatever they hold. marud looks for itself; ok: it is so.
struct report_request {
  std::string pages;  // grants: page and generation
};
// Keeps the lease. `seen_epoch` is the epoch the worker knows. `leaving`: its client was closed, and all that is left are
// views and pages that still live; it is not counted as connected from then on.
struct renew_request {
  std::uint64_t seen_epoch = 0;
  bool leaving = false;
};
// Asks for rows of regions.
struct regions_request {
  std::vector<std::uint32_t> ids;
};
// Asks for a region with `pages` pages of the session's size, from which its grants come first. `index`: how many regions
// the session was shown before. One that it was shown already is told again: the answer was lost.
struct show_region_request {
  std::uint32_t index = 0;
  std::uint64_t pages = 0;
};
// Asks where the session has pages; `totals`: also for the numbers of the whole pool.
struct usage_request {
  bool totals = true;
};
// The worker has read `index_nonce` where it maps the index, and written this one (16 bytes) into its session's file: do
// both sides see the same memory?
struct attach_request {
  std::string nonce;
};
struct close_request {
  std::uint8_t reason = 0;
};

// Every reply starts with a code for the request as a whole; the blob has a result per item when it is ok.
struct grant_reply {
  std::uint8_t code = 0;
  std::string grants;
};
struct codes_reply {
  std::uint8_t code = 0;
  std::string codes;
};
struct found_reply {
  std::uint8_t code = 0;
  std::string items;
};
// `recall`: so many unused grants should be given back. `index_word`: as in hello_reply; another one than that: the pool's
// devices changed, and a resume tells of them.
struct renew_reply {
  std::uint8_t code = 0;
  std::uint32_t lease_ms = 0;
  std::uint32_t recall = 0;
  std::uint64_t index_word = 0;
};
struct region_row {
  std::uint32_t id = 0, device = 0;
  std::uint64_t offset = 0, length = 0, page_bytes = 0;
};
// A device of the pool. Its data are `size` bytes from `offset` on; the metadata is at the beginning of what the path of the
// metadata names, which may be the device itself.
struct device_row {
  std::uint32_t index = 0;     // as regions name it
  std::string id;              // 16 bytes
  std::string incarnation;     // 16 bytes; another one: its contents were lost
  std::string path, metadata;  // hints: where marud has them
  std::uint64_t offset = 0, size = 0;
};
// `devices`: those of the rows.
struct regions_reply {
  std::uint8_t code = 0;
  std::vector<region_row> rows;
  std::vector<device_row> devices;
};
// The first `pages` pages of `row` are the session's; `shared`: all of them, beside other sessions.
struct show_region_reply {
  std::uint8_t code = 0;
  region_row row;
  device_row device;
  std::uint32_t pages = 0;
  bool shared = false;
};
// One region of a session: shown to it (`pages` is then what it was shown, else 0), or one where it has pages.
struct region_usage {
  region_row row;
  std::uint32_t pages = 0;
  bool shared = false;
  std::uint64_t granted = 0, committed = 0;
};
// `shown_regions` and their bytes: of all sessions, with those that still hold entries. Free is what is in no use now.
struct usage_reply {
  std::uint8_t code = 0;
  std::vector<region_usage> regions;
  std::uint64_t entries = 0, entry_bytes = 0, sessions = 0;
  std::uint64_t shown_regions = 0, shown_bytes = 0;
  std::uint64_t pool_bytes = 0, pool_free_bytes = 0;
};
struct close_reply {
  std::uint8_t code = 0;
};

// The session's door: one per hello. A reply is due for every request; past its bound a request answers `busy`.
using session_actor = caf::typed_actor<
  // Pages to write; fewer than asked for when the pool is short, at least one or a code.
  caf::replies_to<grant_request>::with<grant_reply>,
  // ok or not_granted per page.
  caf::replies_to<give_back_request>::with<codes_reply>,
  // ok | exists | not_granted | gone | too_large | invalid | storage_failed per key. On all but ok the page stays granted.
  caf::replies_to<commit_request>::with<codes_reply>,
  // Location or missing per hash; with prefix_stop all after the first miss are misses and are not pinned.
  caf::replies_to<lookup_request>::with<found_reply>,
  // ok or missing per hash. Does not count as use.
  caf::replies_to<exists_request>::with<codes_reply>,
  // ok or not_pinned per pin.
  caf::replies_to<unpin_request>::with<codes_reply>,
  // ok (removed), missing or pinned per hash. Views do not keep a key from being removed.
  caf::replies_to<remove_request>::with<codes_reply>,
  // Per page: ok, it is damaged and its entry goes; exists, its bytes are right; missing, nothing (else) is there.
  caf::replies_to<report_request>::with<codes_reply>,
  // Keeps the lease.
  caf::replies_to<renew_request>::with<renew_reply>,
  // Rows of the regions that exist.
  caf::replies_to<regions_request>::with<regions_reply>,
  // A region of its own; one that other sessions use where there is no room for that. out_of_memory: neither.
  caf::replies_to<show_region_request>::with<show_region_reply>,
  // Its regions, the pages that it has there, and totals.
  caf::replies_to<usage_request>::with<usage_reply>,
  // ok: the worker may look keys up and pin them without a message. invalid: its memory is not marud's.
  caf::replies_to<attach_request>::with<codes_reply>,
  // Ends the session: pins and grants end with it.
  caf::replies_to<close_request>::with<close_reply>>;

// Who computes checksums of chunks: nobody, their writers, or writers and readers.
enum class payload_checksums : std::uint8_t { off, on_write, verify };

// `code` other than ok: `reason` says what to do, and there is no session.
struct hello_reply {
  std::uint8_t code = 0;
  std::string reason;
  std::string server_version;
  std::uint64_t session = 0;
  session_actor handle;
  std::string pool, incarnation, secret;  // 16 bytes each
  std::string resume_secret;              // 16 bytes
  std::uint64_t epoch = 0;
  std::uint64_t page_bytes = 0;  // granted page size: asked for, rounded up
  std::uint32_t lease_ms = 0;
  std::uint32_t grants_max = 0;
  std::string lock_path;             // file the worker locks to prove that it lives
  std::uint8_t checksums = 0;        // a payload_checksums
  std::uint8_t visibility = 0;       // cxl::coherence of the pool
  std::uint64_t slot_bytes = 0;      // of the pool: where in the metadata its parts lie
  std::string index_nonce;           // 16 bytes, to be found in the indexes of the pool's metadata
  std::uint64_t index_word = 0;      // what they are open with
  std::uint32_t pins_max = 0;        // of a session
  std::uint32_t pin_age_max_ms = 0;  // pins by key that are older end; 0: none does
  std::string kept;                  // resume: code per declared grant (ok, or gone: committed or lost)
  std::vector<device_row> devices;
};

// One question of an operator's tool (maructl): a verb and JSON arguments; JSON answers. Not a hot path.
struct admin_request {
  std::string verb;
  std::string arguments;
};
struct admin_reply {
  std::uint8_t code = 0;
  std::string body;
};

// What marud publishes at its port.
using door_actor = caf::typed_actor<
  // Opens a session.
  caf::replies_to<hello>::with<hello_reply>,
  // Operators' questions; the token in the arguments is checked as in hello.
  caf::replies_to<admin_request>::with<admin_reply>>;

// Tells CAF the types above. Both sides call it on their configuration.
void add_protocol_types(caf::actor_system_config& cfg);

#define MARU_INSPECT(type, name, ...)                              \
  template <class Inspector>                                       \
  typename Inspector::result_type inspect(Inspector& f, type& x) { \
    return f(caf::meta::type_name(name), __VA_ARGS__);             \
  }

MARU_INSPECT(hello, "hello", x.version, x.client_version, x.instance, x.host, x.boot_id, x.page_bytes, x.token,
             x.resume_session, x.resume_secret, x.pinned, x.viewed, x.grants, x.wire)
MARU_INSPECT(grant_request, "gr", x.count, x.ahead, x.spare)
MARU_INSPECT(give_back_request, "gb", x.grants)
MARU_INSPECT(commit_request, "co", x.items)
MARU_INSPECT(lookup_request, "lo", x.flags, x.hashes)
MARU_INSPECT(exists_request, "ex", x.flags, x.hashes)
MARU_INSPECT(unpin_request, "un", x.hashes, x.viewed)
MARU_INSPECT(remove_request, "rm", x.hashes)
MARU_INSPECT(report_request, "rp", x.pages)
MARU_INSPECT(renew_request, "rn", x.seen_epoch, x.leaving)
MARU_INSPECT(regions_request, "rg", x.ids)
MARU_INSPECT(show_region_request, "sr", x.index, x.pages)
MARU_INSPECT(usage_request, "us", x.totals)
MARU_INSPECT(attach_request, "at", x.nonce)
MARU_INSPECT(close_request, "cl", x.reason)
MARU_INSPECT(grant_reply, "grr", x.code, x.grants)
MARU_INSPECT(codes_reply, "cdr", x.code, x.codes)
MARU_INSPECT(found_reply, "fdr", x.code, x.items)
MARU_INSPECT(renew_reply, "rnr", x.code, x.lease_ms, x.recall, x.index_word)
MARU_INSPECT(region_row, "row", x.id, x.device, x.offset, x.length, x.page_bytes)
MARU_INSPECT(device_row, "dev", x.index, x.id, x.incarnation, x.path, x.metadata, x.offset, x.size)
MARU_INSPECT(regions_reply, "rgr", x.code, x.rows, x.devices)
MARU_INSPECT(show_region_reply, "srr", x.code, x.row, x.device, x.pages, x.shared)
MARU_INSPECT(region_usage, "use", x.row, x.pages, x.shared, x.granted, x.committed)
MARU_INSPECT(usage_reply, "usr", x.code, x.regions, x.entries, x.entry_bytes, x.sessions, x.shown_regions,
             x.shown_bytes, x.pool_bytes, x.pool_free_bytes)
MARU_INSPECT(close_reply, "clr", x.code)
MARU_INSPECT(hello_reply, "hellor", x.code, x.reason, x.server_version, x.session, x.handle, x.pool, x.incarnation,
             x.secret, x.resume_secret, x.epoch, x.page_bytes, x.lease_ms, x.grants_max, x.lock_path, x.checksums,
             x.visibility, x.slot_bytes, x.index_nonce, x.index_word, x.pins_max, x.pin_age_max_ms, x.kept, x.devices)
MARU_INSPECT(admin_request, "adm", x.verb, x.arguments)
MARU_INSPECT(admin_reply, "admr", x.code, x.body)

}  // namespace maru::net
