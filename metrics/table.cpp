#include "metrics/table.hpp"

#include <array>

#include "metrics/metrics.hpp"

namespace maru::metrics {

namespace {

using std::string_view;

// Names of enumerators, in their order.
constexpr std::array<string_view, op_count> op_names = {
  "grant",   "give_back", "commit", "lookup", "exists",      "pin",   "unpin",  "remove",
  "regions", "report",    "hello",  "renew",  "show_region", "usage", "attach", "close"};
constexpr std::array<string_view, answer_count> answer_names = {"ok",      "partial", "busy",
                                                                "no_room", "refused", "failed"};
constexpr std::array<string_view, actor_count> actor_names = {
  "door", "session", "pool_manager", "region_preparer", "index_shard", "store_worker", "pin_ledger", "admin"};
constexpr std::array<string_view, 5> evicted_names = {"reserve", "request", "region", "operator", "damage"};
constexpr std::array<string_view, 5> ended_names = {"close", "death", "lease", "operator", "shutdown"};
constexpr std::array<string_view, 7> dropped_names = {"no_region",  "state",  "generation",   "hash",
                                                      "descriptor", "record", "contents_lost"};
constexpr std::array<string_view, 6> corruption_names = {"descriptor", "superblock", "region_row",
                                                         "record",     "payload",    "bucket"};
constexpr std::array<string_view, 4> check_names = {"intact", "damaged", "gone", "unreadable"};
constexpr std::array<string_view, 2> aborted_names = {"given_back", "session_end"};
constexpr std::array<string_view, 2> pin_end_names = {"unpin", "session_end"};
constexpr std::array<string_view, 3> starved_names = {"pool_full", "no_space", "grace"};
constexpr std::array<string_view, 7> page_states = {"free",        "granted", "committed", "evicting",
                                                    "quarantined", "retired", "unassigned"};
constexpr std::array<string_view, 3> device_states = {"serving", "draining", "left_out"};
constexpr std::array<string_view, 3> put_results = {"ok", "exists", "failed"};
constexpr std::array<string_view, 4> remove_results = {"removed", "missing", "pinned", "failed"};
constexpr std::array<string_view, 2> lookup_results = {"hit", "miss"};
constexpr std::array<string_view, 2> local_results = {"answered", "asked"};
constexpr std::array<string_view, 2> write_results = {"ok", "failed"};
constexpr std::array<string_view, 2> stall_kinds = {"slowdown", "stop"};

static_assert(op_names.size() == static_cast<std::size_t>(op::close) + 1);
static_assert(answer_names.size() == static_cast<std::size_t>(answer::failed) + 1);
static_assert(actor_names.size() == static_cast<std::size_t>(actor::admin) + 1);
static_assert(evicted_names.size() == static_cast<std::size_t>(evicted_for::damage) + 1);
static_assert(ended_names.size() == static_cast<std::size_t>(ended_by::shutdown) + 1);
static_assert(dropped_names.size() == static_cast<std::size_t>(dropped_for::contents_lost) + 1);
static_assert(corruption_names.size() == static_cast<std::size_t>(corruption::bucket) + 1);
static_assert(check_names.size() == static_cast<std::size_t>(checked::unreadable) + 1);
static_assert(aborted_names.size() == static_cast<std::size_t>(aborted_by::session_end) + 1);
static_assert(pin_end_names.size() == static_cast<std::size_t>(pin_ended_by::session_end) + 1);
static_assert(starved_names.size() == static_cast<std::size_t>(starved_by::grace) + 1);

constexpr std::size_t ec_count = static_cast<std::size_t>(ec::last_) + 1;
const std::array<string_view, ec_count> ec_names = [] {
  std::array<string_view, ec_count> names;
  for (std::size_t i = 0; i < ec_count; ++i)
    names[i] = to_string(static_cast<ec>(i));
  return names;
}();

// 25 us, about what waking a thread costs, up to the bound of a grant's wait.
constexpr std::array latency_buckets = {0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                        0.01,     0.025,   0.05,   0.1,     0.25,   1.0,   5.0};
// One message of an actor: 1 us, about what CAF takes to deliver one, and up.
constexpr std::array handler_buckets = {0.000001, 0.0000025, 0.000005, 0.00001, 0.000025, 0.0001,
                                        0.00025,  0.001,     0.0025,   0.01,    0.1,      1.0};
// Up to bounds::batch_items_max.
constexpr std::array batch_buckets = {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0};

constexpr auto batch_ops = std::span{op_names}.first(batch_op_count);

using labels = std::vector<label>;

definition counter(id which, string_view name, string_view unit, string_view help, labels by = {}) {
  return {which, kind::counter, {}, name, unit, help, std::move(by), {}};
}

definition gauge(id which, string_view name, string_view unit, string_view help, labels by = {}) {
  return {which, kind::gauge, {}, name, unit, help, std::move(by), {}};
}

definition histogram(id which, string_view name, string_view unit, string_view help, std::span<const double> buckets,
                     labels by = {}) {
  return {which, kind::histogram, {}, name, unit, help, std::move(by), buckets};
}

// A section of docs/metrics.md.
struct theme {
  string_view name;
  std::vector<definition> metrics;
};

std::vector<definition> joined(std::vector<theme> themes) {
  std::vector<definition> all;
  for (auto& t : themes)
    for (auto& d : t.metrics) {
      d.theme = t.name;
      all.push_back(std::move(d));
    }
  return all;
}

}  // namespace

const std::vector<definition>& table() {
  static const auto all = joined({
    {"Cache",
     {
       counter(id::lookup, "maru_lookup_total", "keys",
               "Keys looked up, by result. hit / (hit + miss) is the hit rate.", {{"result", lookup_results}}),
       counter(id::commit, "maru_commit_total", "keys",
               "Keys whose commit was answered, by result. ok: stored; exists: another worker was first and its chunk "
               "is kept; everything else is an error code.",
               {{"result", ec_names}}),
       gauge(id::puts_in_flight, "maru_puts_in_flight", "keys", "Commits that arrived and are not answered yet."),
       histogram(id::put_seconds, "maru_put_seconds", "seconds",
                 "Time from the arrival of a commit to its answer, the durable write included.", latency_buckets,
                 {{"result", put_results}}),
       counter(id::remove, "maru_remove_total", "keys",
               "Keys that workers asked to remove, by result. pinned: somebody reads it, so it stayed.",
               {{"result", remove_results}}),
       counter(
         id::evicted, "maru_evicted_total", "keys",
         "Entries evicted, by reason. reserve: ahead of the demand; request: a grant had to wait for it; region: to "
         "give a region to another page size; operator: asked for; damage: its bytes did not fit their checksum.",
         {{"reason", evicted_names}}),
       gauge(id::entries, "maru_entries", "keys", "Entries that a lookup can find."),
       gauge(id::entry_bytes, "maru_entry_bytes", "bytes",
             "Bytes of the chunks that a lookup can find. What maru_pool_bytes{state=\"committed\"} has more is lost "
             "at the ends of pages."),
     }},
    {"Pins",
     {
       gauge(
         id::pins, "maru_pins", "pins",
         "Pins held now: entries that readers use and that cannot be evicted or removed. Those that workers take in "
         "the pool, without a message, are counted once a second, a page of a session once."),
       gauge(id::pins_held_dead, "maru_pins_held_dead", "pins",
             "Pins of sessions whose lease is over but whose process is not proven dead. They wait for that proof; a "
             "value that stays above 0 needs an operator."),
       gauge(
         id::longest_hold, "maru_longest_hold_seconds", "seconds",
         "For how long a session has held the page that is held longest, without a break that a look a second would "
         "see. A pin that nobody ends keeps its page for ever; --pin-age-max-ms ends those by key."),
       counter(
         id::local_keys, "maru_local_keys_total", "keys",
         "Keys that workers looked up in the pool itself, by result. answered: without a message; asked: marud had "
         "to be asked all the same.",
         {{"result", local_results}}),
       counter(id::pin, "maru_pin_total", "pins", "Pins taken by message since the start."),
       counter(id::pin_ended, "maru_pin_ended_total", "pins",
               "Pins by message that ended, by what ended them. session_end: the worker closed or died and left them.",
               {{"reason", pin_end_names}}),
     }},
    {"Memory",
     {
       gauge(
         id::pages, "maru_pages", "pages",
         "Pages by state. retired: their memory failed; unassigned: room of no page size yet, counted in pages of the "
         "smallest size.",
         {{"state", page_states}}),
       gauge(id::pool_bytes, "maru_pool_bytes", "bytes",
             "Bytes of the pool by the state of their page; the states add up to the pool.", {{"state", page_states}}),
       gauge(
         id::quarantined_pages, "maru_quarantined_pages", "pages",
         "Pages kept out of use: a process may still write there and is not proven dead, or their bytes were damaged."),
       gauge(id::largest_free_run, "maru_largest_free_run_bytes", "bytes",
             "Longest run of bytes that could be given out as one piece: the largest page size that can get a region."),
       gauge(id::fragmentation, "maru_fragmentation_ratio", "ratio",
             "Share of the free and unassigned bytes that lies outside the longest run of them. 0: all in one piece, "
             "or none."),
       gauge(id::regions, "maru_regions", "regions", "Regions that have a page size."),
       gauge(id::devices, "maru_devices", "devices",
             "Devices of the pool by state. draining: emptied, or empty and not removed yet; left_out: its memory "
             "failed, and "
             "this marud started without it.",
             {{"state", device_states}}),
       gauge(id::device_bytes, "maru_device_bytes", "bytes",
             "Bytes of each device by the state of their page; the states add up to the device.",
             {{"device", {}}, {"state", page_states}}),
       gauge(id::reserve_pages, "maru_reserve_pages", "pages",
             "Free pages that eviction keeps ready; follows the rate of grants."),
       counter(id::reserved_pages, "maru_reserved_pages_total", "pages",
               "Pages granted to workers: the reserve step of a put."),
       counter(id::aborted_pages, "maru_aborted_pages_total", "pages",
               "Granted pages that came back without a commit, by how. given_back: the worker said so; session_end: "
               "its session was over.",
               {{"reason", aborted_names}}),
       gauge(id::grants_waiting, "maru_grants_waiting", "requests", "Grants that wait for a page now."),
       histogram(
         id::grant_wait, "maru_grant_wait_seconds", "seconds",
         "Time grants waited for a page; above 0 where the reserve was empty and pages had to be evicted first.",
         latency_buckets),
       counter(
         id::out_of_memory, "maru_out_of_memory_total", "requests",
         "Grants that got no page in time, by why. pool_full: nothing could be evicted, all is pinned or granted; "
         "no_space: the device has no storage left; grace: sessions of before a restart were still awaited.",
         {{"reason", starved_names}}),
     }},
    {"Sessions",
     {
       gauge(id::sessions, "maru_sessions", "sessions", "Sessions of workers that are open."),
       gauge(
         id::sessions_connected, "maru_sessions_connected", "sessions",
         "Open sessions whose worker is connected. The others are awaited, or wait for proof of their worker's death."),
       counter(id::session_opened, "maru_session_opened_total", "sessions", "Sessions that were opened."),
       counter(id::session_resumed, "maru_session_resumed_total", "sessions",
               "Sessions that came back after a lost connection or a restart of marud, with what they held."),
       counter(id::session_ended, "maru_session_ended_total", "sessions",
               "Sessions that ended, by reason. close: the worker said so; death: its process is gone; lease: it went "
               "silent; operator: ended by hand; shutdown: marud stopped.",
               {{"reason", ended_names}}),
       counter(id::lease_renewed, "maru_lease_renewed_total", "renewals", "Leases that workers renewed."),
       counter(id::lease_expired, "maru_lease_expired_total", "expiries",
               "Leases that ran out: the worker is stopped, or hangs, and what it holds waits for proof of its death."),
     }},
    {"Requests",
     {
       histogram(id::request_seconds, "maru_request_seconds", "seconds",
                 "Time from the arrival of a request at its session to the reply, by operation. grant, commit and "
                 "give_back are the reserve, commit and abort of a put.",
                 latency_buckets, {{"op", op_names}}),
       counter(id::request, "maru_request_total", "requests",
               "Requests answered, by operation and result. ok: every item has its answer, a miss is one; partial: "
               "some items were refused; busy: try again; no_room: no page or no space; refused: it makes no sense, or "
               "the session is over; failed: storage.",
               {{"op", op_names}, {"result", answer_names}}),
       histogram(id::batch_items, "maru_batch_items", "items", "Keys or pages in one request, by operation.",
                 batch_buckets, {{"op", batch_ops}}),
       counter(id::rejected, "maru_rejected_total", "events",
               "Input refused before it did anything, by door (where it came in) and reason.",
               {{"door", {}}, {"reason", {}}}),
       gauge(id::certificate_not_after, "maru_tls_certificate_not_after_seconds", "seconds",
             "When the certificate that marud shows ends, in seconds since 1970; 0 without TLS."),
     }},
    {"Actors",
     {
       gauge(id::mailbox_length, "maru_mailbox_length", "messages",
             "Messages waiting for all actors of a kind: where work piles up.", {{"actor", actor_names}}),
       histogram(id::handler_seconds, "maru_handler_seconds", "seconds",
                 "Time an actor took for one message, by kind of actor. Those that block by design: store_worker, "
                 "region_preparer and admin.",
                 handler_buckets, {{"actor", actor_names}}),
     }},
    {"Recovery and damage",
     {
       gauge(id::recovery_seconds, "maru_recovery_seconds", "seconds",
             "Time from the last start to a recovered pool, the opening of RocksDB included."),
       gauge(id::recovered_entries, "maru_recovered_entries", "keys", "Entries the last start found intact and kept."),
       gauge(id::recovered_sessions, "maru_recovered_sessions", "sessions",
             "Sessions of before the last start that it waited for."),
       counter(id::recovery_dropped, "maru_recovery_dropped_total", "keys",
               "Entries the last start had to drop, by what did not agree with the record. state, generation: an "
               "eviction was under way at the crash; contents_lost: the memory was new.",
               {{"reason", dropped_names}}),
       gauge(
         id::restart_grace, "maru_restart_grace", "boolean",
         "1 while sessions of before the restart are awaited: nothing is evicted or removed until they are settled."),
       counter(id::corruption, "maru_corruption_total", "events",
               "Stored bytes that did not check out and were not used, by kind. 0 in health.",
               {{"kind", corruption_names}}),
       counter(id::payload_check, "maru_payload_check_total", "chunks",
               "Chunks that a reader reported as damaged and marud read itself, by what it found. gone: removed "
               "meanwhile; damaged ones are misses from then on.",
               {{"result", check_names}}),
       counter(
         id::memory_failures, "maru_memory_failures_total", "pages",
         "Pages whose memory failed and that are retired: what was in them is lost, and they are never used again. "
         "0 in health."),
     }},
    {"RocksDB",
     {
       gauge(id::rocksdb_wal_bytes, "maru_rocksdb_wal_bytes", "bytes",
             "Bytes in RocksDB's write-ahead logs: what a restart replays."),
       gauge(id::rocksdb_memtable_bytes, "maru_rocksdb_memtable_bytes", "bytes", "Memory of RocksDB's write buffers."),
       gauge(id::rocksdb_block_cache_bytes, "maru_rocksdb_block_cache_bytes", "bytes",
             "Memory of RocksDB's block cache."),
       gauge(id::rocksdb_live_bytes, "maru_rocksdb_live_bytes", "bytes", "Bytes in RocksDB's live table files."),
       gauge(id::rocksdb_pending_compaction_bytes, "maru_rocksdb_pending_compaction_bytes", "bytes",
             "Bytes RocksDB has yet to rewrite: its compaction debt."),
       gauge(id::rocksdb_level0_files, "maru_rocksdb_level0_files", "files",
             "Table files that RocksDB has not merged yet; many of them slow writes down."),
       gauge(id::rocksdb_estimated_keys, "maru_rocksdb_estimated_keys", "keys",
             "Entries in RocksDB, by its own estimate."),
       gauge(id::rocksdb_write_stalled, "maru_rocksdb_write_stalled", "boolean",
             "1 while RocksDB slows or stops writes, so that puts wait."),
       counter(id::rocksdb_stalls, "maru_rocksdb_stalls_total", "events",
               "Times RocksDB began to slow or to stop writes.", {{"kind", stall_kinds}}),
       counter(id::rocksdb_background_errors, "maru_rocksdb_background_errors_total", "events",
               "Errors of RocksDB's own flushes and compactions: the disk refuses."),
       histogram(id::rocksdb_write_seconds, "maru_rocksdb_write_seconds", "seconds",
                 "Time of one write to RocksDB, which holds a group of commits, removals and sessions.",
                 latency_buckets, {{"result", write_results}}),
       histogram(id::rocksdb_write_items, "maru_rocksdb_write_items", "items",
                 "Records in one write to RocksDB: how well commits are grouped.", batch_buckets),
     }},
    {"The process",
     {
       gauge(id::build_info, "maru_build_info", "1", "Always 1; the labels say which marud this is.",
             {{"revision", {}}, {"version", {}}}),
       gauge(id::server_epoch, "maru_server_epoch", "starts",
             "Grows by one with every marud that takes over the pool."),
       gauge(id::process_start_time, "process_start_time_seconds", "seconds",
             "When marud was started, in seconds since 1970."),
       gauge(id::process_resident_memory, "process_resident_memory_bytes", "bytes",
             "Memory of the process, with the part of a pool in memory that it has touched."),
       gauge(id::process_open_fds, "process_open_fds", "descriptors", "File descriptors that are open."),
       gauge(id::process_max_fds, "process_max_fds", "descriptors", "File descriptors that may be open at once."),
     }},
  });
  return all;
}

std::size_t definition::series() const {
  std::size_t n = 1;
  for (const auto& l : labels)
    n *= l.values.size();
  return n;
}

std::string_view to_string(kind k) { return k == kind::counter ? "counter" : k == kind::gauge ? "gauge" : "histogram"; }

std::string_view to_string(op o) {
  auto i = static_cast<std::size_t>(o);
  return i < op_count ? op_names[i] : "unknown";
}

}  // namespace maru::metrics
