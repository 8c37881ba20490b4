"""What Maru's dashboards show: build.py makes the JSON files of it.

In an expression HERE stands for the instances that the viewer chose, [RATE] for the window that fits the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

# (from this value on, colour); the first one is for everything below.
Thresholds = tuple[tuple[float | None, str], ...]


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    queries: dict[str, str]  # legend: expression
    help: str
    thresholds: Thresholds = ()
    kind: str = "timeseries"
    stacked: bool = False


@dataclass(frozen=True)
class Dashboard:
    name: str  # of its file, and with "maru-" before it its address in Grafana
    title: str
    help: str
    rows: dict[str, list[Panel]]


def stat(title: str, unit: str, expression: str, help: str, thresholds: Thresholds = ()) -> Panel:
    return Panel(title, unit, {"": expression}, help, thresholds, "stat")


def select(metric: str, labels: str = "") -> str:
    return f"{metric}{{HERE{', ' + labels if labels else ''}}}"


def rate(metric: str, labels: str = "", by: str = "instance") -> str:
    """Events a second, by labels."""
    return f"sum by ({by}) (rate({select(metric, labels)}[RATE]))"


def quantile(q: float, metric: str, labels: str = "", by: str = "instance") -> str:
    """A quantile of a histogram over the window."""
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({select(metric + '_bucket', labels)}[RATE])))"


def mean(metric: str, labels: str = "", by: str = "instance") -> str:
    """The mean of a histogram over the window."""
    return f"{rate(metric + '_sum', labels, by)} / {rate(metric + '_count', labels, by)}"


NONE_IS_GOOD: Thresholds = ((None, "green"), (0.000001, "red"))
HIT_RATE: Thresholds = ((None, "red"), (0.2, "yellow"), (0.5, "green"))
FAST: Thresholds = ((None, "green"), (0.005, "yellow"), (0.05, "red"))
HALF: Thresholds = ((None, "green"), (0.5, "yellow"), (0.8, "red"))

WHERE = "{{instance}}"
hit_rate = rate("maru_lookup_total", 'result="hit"') + " / " + rate("maru_lookup_total")
pool_used = (
    'sum by (instance) (maru_pool_bytes{HERE, state="committed"}) / sum by (instance) (maru_pool_bytes{HERE})'
)
# Of the same target by all its labels: where a pod takes over from another one, an instance has two for a while.
page_waste = '1 - maru_entry_bytes{HERE} / ignoring (state) maru_pool_bytes{HERE, state="committed"}'
failures = 'result=~"storage_failed|io|corrupt|no_space"'
lookups = Panel(
    "Lookups", "ops", {"{{result}}": rate("maru_lookup_total", by="result")},
    "Keys looked up a second. A miss is a block that a worker computes itself.", stacked=True,
)
hit_rates = Panel(
    "Hit rate", "percentunit", {WHERE: hit_rate},
    "Share of the keys looked up that were there. It falls after a restart with a lost pool, with a new workload, or "
    "when the pool is too small for what is reused.", HIT_RATE,
)
pool_by_state = Panel(
    "Pool by state", "bytes", {"{{state}}": "sum by (state) (maru_pool_bytes{HERE})"},
    "Bytes of the pool by the state of their page. A full cache is committed for the most part; granted is in the "
    "hands of workers, quarantined out of use, retired for good.", stacked=True,
)
evictions = Panel(
    "Evictions", "ops", {"{{reason}}": rate("maru_evicted_total", by="reason")},
    "Entries evicted a second. reserve is the usual one, ahead of the demand; request means that a grant had to wait.",
    stacked=True,
)
sessions = Panel(
    "Sessions", "short",
    {"{{instance}} open": "maru_sessions{HERE}", "{{instance}} connected": "maru_sessions_connected{HERE}"},
    "Open sessions, and those whose worker is connected. A gap that stays is workers that went silent.",
)
grant_wait = Panel(
    "Grant wait", "s", {"{{instance}} p99": quantile(0.99, "maru_grant_wait_seconds")},
    "How long workers waited for a page. Above 0 where the reserve of free pages is used up.", FAST,
)
out_of_memory = Panel(
    "Out of memory", "ops", {"{{reason}}": rate("maru_out_of_memory_total", by="reason")},
    "Grants that got no page in time: the worker goes on without storing.", NONE_IS_GOOD,
)
quarantine = Panel(
    "Quarantined pages", "short", {WHERE: "maru_quarantined_pages{HERE}"},
    "Pages that a lost process may still be writing, or whose bytes were damaged.", NONE_IS_GOOD,
)
failures_of_memory = Panel(
    "Retired pages", "short", {WHERE: 'maru_pages{HERE, state="retired"}'},
    "Pages whose memory failed: what was in them is lost, and they are never used again.", NONE_IS_GOOD,
)
damage = Panel(
    "Damaged bytes", "ops", {"{{kind}}": rate("maru_corruption_total", by="kind")},
    "Stored bytes that did not check out, and were not used.", NONE_IS_GOOD,
)

overview = Dashboard(
    "overview", "Maru: overview", "Is the cache up, does it help, is it healthy: for whoever is on call.",
    {
        "Now": [
            stat("Instances", "short", "count(maru_build_info{HERE}) or vector(0)", "marud processes that answer.",
                 ((None, "red"), (1, "green"))),
            stat("Alerts firing", "short", 'count(ALERTS{alertname=~"Maru.*", alertstate="firing"}) or vector(0)',
                 "Alerts of Maru; the runbook has an entry for each.", NONE_IS_GOOD),
            stat("Hit rate", "percentunit",
                 'sum(rate(maru_lookup_total{HERE, result="hit"}[RATE])) / sum(rate(maru_lookup_total{HERE}[RATE]))',
                 "Share of the keys looked up that were there.", HIT_RATE),
            stat("Puts in flight", "short", "sum(maru_puts_in_flight{HERE})",
                 "Commits that arrived and are not answered yet.", ((None, "green"), (4096, "yellow"))),
            stat("Pins", "short", "sum(maru_pins{HERE})", "Entries in use by readers."),
            stat("Pins of lost workers", "short", "sum(maru_pins_held_dead{HERE})",
                 "Pins that wait for the proof that their worker is dead.", NONE_IS_GOOD),
            Panel("Alerts", "short",
                  {"{{alertname}} {{instance}}":
                   'sum by (alertname, instance) (ALERTS{alertname=~"Maru.*", alertstate="firing"})'},
                  "Which ones fire where: docs/runbook.md has an entry for each. Empty in health.", stacked=True),
            Panel("Not answering", "short", {WHERE: "1 - up{HERE}"},
                  "1 while an instance does not answer its scrapes. Targets that are gone are not shown: see "
                  "Instances.",
                  NONE_IS_GOOD),
        ],
        "Does it help": [lookups, hit_rates],
        "Is it fast": [
            Panel("Latency of lookups", "s",
                  {"p50": quantile(0.5, "maru_request_seconds", 'op=~"lookup|pin"', "job"),
                   "p99": quantile(0.99, "maru_request_seconds", 'op=~"lookup|pin"', "job")},
                  "From the arrival of a lookup at its session to the reply, with and without pins.", FAST),
            Panel("Latency of commits", "s",
                  {"p50": quantile(0.5, "maru_request_seconds", 'op="commit"', "job"),
                   "p99": quantile(0.99, "maru_request_seconds", 'op="commit"', "job")},
                  "From the arrival of a commit to its answer, the durable write included.", FAST),
        ],
        "Is it healthy": [
            pool_by_state,
            evictions,
            sessions,
            Panel("Trouble", "ops",
                  {"out of memory": rate("maru_out_of_memory_total", by="job"),
                   "commits failed": rate("maru_commit_total", failures, "job"),
                   "damaged bytes": rate("maru_corruption_total", by="job"),
                   "memory failed": rate("maru_memory_failures_total", by="job"),
                   "leases expired": rate("maru_lease_expired_total", by="job"),
                   "input refused": rate("maru_rejected_total", by="job")},
                  "What should not happen, a second.", NONE_IS_GOOD),
            Panel("Pins and puts in flight", "short",
                  {"pins": "sum(maru_pins{HERE})", "of lost workers": "sum(maru_pins_held_dead{HERE})",
                   "puts in flight": "sum(maru_puts_in_flight{HERE})"},
                  "What readers hold and what writers wait for. Puts that stay in flight while none is answered hang."),
            grant_wait,
        ],
    },
)

cache = Dashboard(
    "cache", "Maru: cache efficiency", "What is found, what is stored, what goes, and how much room it takes.",
    {
        "Found": [
            hit_rates,
            lookups,
            Panel("Looked up without a message", "percentunit",
                  {WHERE: rate("maru_local_keys_total", 'result="answered"') + " / " + rate("maru_local_keys_total")},
                  "Of the keys that workers looked up in the pool itself: the share that needed no question to marud."),
        ],
        "Stored": [
            Panel("Commits", "ops", {"{{result}}": rate("maru_commit_total", by="result") + " > 0"},
                  "Keys committed a second, by result. exists: two workers computed the same block.", stacked=True),
            Panel("Computed twice", "percentunit",
                  {WHERE: rate("maru_commit_total", 'result="exists"') + " / " + rate("maru_commit_total")},
                  "Share of the commits that came too late: work that a lookup in time would have saved.", HALF),
            Panel("Entries", "short", {WHERE: "maru_entries{HERE}"}, "Keys that a lookup can find."),
            Panel("Bytes stored", "bytes",
                  {"{{instance}} chunks": "maru_entry_bytes{HERE}",
                   "{{instance}} pages": 'maru_pool_bytes{HERE, state="committed"}'},
                  "Bytes of the chunks, and of the pages that hold them."),
        ],
        "Gone": [
            evictions,
            Panel("Lifetime", "s", {WHERE: "sum by (instance) (maru_entries{HERE}) / " + rate("maru_evicted_total")},
                  "How long an entry stays at the present rate of evictions: longer than the time between two requests "
                  "of one conversation, or the pool is too small. Endless while nothing is evicted."),
            Panel("Removals", "ops", {"{{result}}": rate("maru_remove_total", by="result")},
                  "Keys that workers asked to remove.", stacked=True),
            Panel("Waste in pages", "percentunit", {WHERE: page_waste},
                  "Share of the committed bytes that no chunk uses: pages larger than their chunks.", HALF),
        ],
        "Batches": [
            Panel("Keys in a request", "short", {"{{op}}": mean("maru_batch_items", by="op")},
                  "Mean size of batches. One request of 64 keys costs about what one of a single key does."),
            Panel("Chunks in a request, p99", "short", {"{{op}}": quantile(0.99, "maru_batch_items", by="op")},
                  "The largest batches; the bound is 4096."),
        ],
    },
)

latency = Dashboard(
    "latency", "Maru: latency", "How long requests take, by operation, and where the time goes inside marud.",
    {
        "Requests": [
            Panel("p50 by operation", "s", {"{{op}}": quantile(0.5, "maru_request_seconds", by="op")},
                  "Median time from the arrival of a request to its reply.", FAST),
            Panel("p99 by operation", "s", {"{{op}}": quantile(0.99, "maru_request_seconds", by="op")},
                  "One request in a hundred takes longer.", FAST),
            Panel("Requests", "reqps", {"{{op}}": rate("maru_request_total", by="op")}, "Requests a second.",
                  stacked=True),
            Panel("Requests that were not done", "reqps",
                  {"{{op}} {{result}}": rate("maru_request_total", 'result!="ok"', "op, result") + " > 0"},
                  "By what became of them; the metric's help text explains the words. Some busy and partial ones are "
                  "usual; empty where all were done."),
        ],
        "Reserve, commit, abort": [
            Panel("p99 of the steps of a put", "s",
                  {"{{op}}": quantile(0.99, "maru_request_seconds", 'op=~"grant|commit|give_back"', "op")},
                  "grant is the reserve, give_back the abort.", FAST),
            Panel("Commits by result, p99", "s", {"{{result}}": quantile(0.99, "maru_put_seconds", by="result")},
                  "The durable write is in ok and failed; exists is answered without one.", FAST),
            grant_wait,
            Panel("Durable write, p99", "s", {"{{result}}": quantile(0.99, "maru_rocksdb_write_seconds", by="result")},
                  "One write to RocksDB for a group of commits.", FAST),
        ],
        "Actors": [
            Panel("Busy", "percentunit", {"{{actor}}": rate("maru_handler_seconds_sum", by="actor")},
                  "Share of one core that the actors of a kind use; there are several sessions, and one index_shard "
                  "and store_worker a shard.", HALF),
            Panel("Handler time, p99", "s", {"{{actor}}": quantile(0.99, "maru_handler_seconds", by="actor")},
                  "Time for one message. The store_worker and the region_preparer block by design.", FAST),
            Panel("Messages waiting", "short", {"{{actor}}": "sum by (actor) (maru_mailbox_length{HERE})"},
                  "Where work piles up.", ((None, "green"), (1000, "red"))),
            Panel("Messages", "ops", {"{{actor}}": rate("maru_handler_seconds_count", by="actor")},
                  "Messages handled a second.", stacked=True),
        ],
    },
)

memory = Dashboard(
    "memory", "Maru: memory", "Where the pool's bytes are, and whether new chunks find room.",
    {
        "States": [
            pool_by_state,
            Panel("Pages by state", "short", {"{{state}}": "sum by (state) (maru_pages{HERE})"},
                  "The same in pages.", stacked=True),
            Panel("In use", "percentunit", {WHERE: pool_used},
                  "Share of the pool that holds chunks. A cache in use is full but for its reserve, about 1 %."),
            quarantine,
            failures_of_memory,
            Panel("Devices", "bytes",
                  {"{{device}} {{state}}": 'sum by (device, state) (maru_device_bytes{HERE}) > 0'},
                  "What each device of the pool holds. One that is drained has nothing but unassigned bytes in the end."),
        ],
        "Free space": [
            Panel("Number of devices", "short", {"{{state}}": "sum by (state) (maru_devices{HERE})"},
                  "left_out: it is not there, or its memory failed, and marud started without it."),
            Panel("Free bytes", "bytes",
                  {"{{instance}} {{state}}": 'maru_pool_bytes{HERE, state=~"free|unassigned"}',
                   "{{instance}} longest run": "maru_largest_free_run_bytes{HERE}"},
                  "Free pages, room of no page size, and the longest piece of either: what the largest page can have."),
            Panel("Fragmentation", "percentunit", {WHERE: "maru_fragmentation_ratio{HERE}"},
                  "Share of the free bytes outside the longest run. It matters where page sizes differ; the few free "
                  "pages of a full cache lie scattered, so it is near 100 % there."),
            Panel("Waste in pages", "percentunit", {WHERE: page_waste},
                  "Share of the committed bytes that no chunk uses.", HALF),
            Panel("Reserve", "short",
                  {"{{instance}} free": 'maru_pages{HERE, state="free"}',
                   "{{instance}} wanted": "maru_reserve_pages{HERE}"},
                  "Free pages, and how many of them eviction keeps ready."),
        ],
        "Demand": [
            Panel("Pages granted and back", "ops",
                  {"granted": rate("maru_reserved_pages_total", by="job"),
                   "committed": rate("maru_commit_total", 'result="ok"', "job"),
                   "aborted: {{reason}}": rate("maru_aborted_pages_total", by="reason")},
                  "What workers took, what they stored, what came back unused."),
            Panel("Grants waiting", "short", {WHERE: "maru_grants_waiting{HERE}"}, "Grants that wait for a page now.",
                  NONE_IS_GOOD),
            grant_wait,
            out_of_memory,
        ],
        "Process": [
            Panel("Regions", "short", {WHERE: "maru_regions{HERE}"}, "Pieces of the pool that have a page size."),
            Panel("Resident memory", "bytes", {WHERE: "process_resident_memory_bytes{HERE}"},
                  "Memory of marud, with the part of a pool in memory that it has touched."),
        ],
    },
)

workers = Dashboard(
    "sessions", "Maru: sessions and pins", "Who is there, who is gone, and what the lost ones still hold.",
    {
        "Sessions": [
            sessions,
            Panel("Opened and ended", "ops",
                  {"opened": rate("maru_session_opened_total", by="job"),
                   "resumed": rate("maru_session_resumed_total", by="job"),
                   "ended: {{reason}}": rate("maru_session_ended_total", by="reason")},
                  "death: a worker's process went away without closing."),
            Panel("Lease renewals", "ops", {WHERE: rate("maru_lease_renewed_total")},
                  "Each worker renews every few seconds."),
            Panel("Leases expired", "ops", {WHERE: rate("maru_lease_expired_total")},
                  "Workers that went silent: stopped, or hanging.", NONE_IS_GOOD),
        ],
        "Pins": [
            Panel("Pins", "short", {WHERE: "maru_pins{HERE}"}, "Entries in use by readers, which cannot be evicted."),
            Panel("Pins taken and ended", "ops",
                  {"taken": rate("maru_pin_total", by="job"),
                   "ended: {{reason}}": rate("maru_pin_ended_total", by="reason")},
                  "Both rates are the same in the long run, or workers forget to unpin."),
            Panel("Pins of lost workers", "short", {WHERE: "maru_pins_held_dead{HERE}"},
                  "They wait for the proof that their process is dead.", NONE_IS_GOOD),
            Panel("Longest hold", "s", {WHERE: "maru_longest_hold_seconds{HERE}"},
                  "For how long a session has held one page without a break. One that only grows is a pin that nobody "
                  "ends: its page is never free again while that worker lives."),
            quarantine,
        ],
        "Doors": [
            Panel("Input refused", "ops", {"{{door}}: {{reason}}": rate("maru_rejected_total", by="door, reason")},
                  "Requests, greetings and bytes that were refused before they did anything.", NONE_IS_GOOD),
            Panel("File descriptors", "percentunit",
                  {WHERE: "process_open_fds{HERE} / process_max_fds{HERE}"},
                  "Share of the descriptors that marud may open; a worker takes two: its connection and its session's "
                  "file.", HALF),
            Panel("Certificate ends in", "s",
                  {WHERE: "maru_tls_certificate_not_after_seconds{HERE} - time() and "
                          "maru_tls_certificate_not_after_seconds{HERE} > 0"},
                  "Of the certificate that marud shows; nothing without TLS. A new file is taken up without a restart.",
                  ((None, "red"), (7 * 86400, "yellow"), (14 * 86400, "green"))),
        ],
    },
)

durability = Dashboard(
    "durability", "Maru: durability", "What a restart finds, how the metadata store keeps up, what was damaged.",
    {
        "Starts": [
            stat("Up for", "s", "min(time() - process_start_time_seconds{HERE})", "Since the youngest start."),
            stat("Server epoch", "short", "max(maru_server_epoch{HERE})", "Times that a marud took the pool over."),
            stat("Recovery", "s", "max(maru_recovery_seconds{HERE})", "Time that the last start took.",
                 ((None, "green"), (10, "yellow"), (30, "red"))),
            stat("Entries recovered", "short", "sum(maru_recovered_entries{HERE})", "That the last start kept."),
            stat("Entries dropped", "short", "sum(maru_recovery_dropped_total{HERE})",
                 "That the last start could not keep. A few by a crash during evictions are usual.",
                 ((None, "green"), (1000, "yellow"))),
            stat("Awaiting sessions", "short", "sum(maru_restart_grace{HERE})",
                 "Instances that wait for sessions of before a restart; they evict nothing meanwhile.",
                 ((None, "green"), (1, "yellow"))),
        ],
        "Recovery": [
            Panel("Dropped by reason", "short", {"{{reason}}": "sum by (reason) (maru_recovery_dropped_total{HERE})"},
                  "What did not agree with the record."),
            Panel("Sessions awaited", "short", {WHERE: "maru_recovered_sessions{HERE}"},
                  "Sessions of before the last start."),
        ],
        "RocksDB": [
            Panel("Write", "s",
                  {"p50": quantile(0.5, "maru_rocksdb_write_seconds", by="job"),
                   "p99": quantile(0.99, "maru_rocksdb_write_seconds", by="job")},
                  "One write of a group of commits, removals and sessions.", FAST),
            Panel("Records in a write", "short", {WHERE: mean("maru_rocksdb_write_items")},
                  "How well commits are grouped."),
            Panel("Write-ahead log", "bytes", {WHERE: "maru_rocksdb_wal_bytes{HERE}"}, "What a restart replays."),
            Panel("Compaction debt", "bytes", {WHERE: "maru_rocksdb_pending_compaction_bytes{HERE}"},
                  "Bytes that RocksDB has yet to rewrite, as far as it reckons them: not for entries, of which the "
                  "files in level 0 tell."),
            Panel("Files in level 0", "short", {WHERE: "maru_rocksdb_level0_files{HERE}"},
                  "Files that are not merged yet. Merging begins at 16, from 40 on writes are slowed down.",
                  ((None, "green"), (32, "yellow"), (40, "red"))),
            Panel("Stalls", "ops",
                  {"{{kind}}": rate("maru_rocksdb_stalls_total", by="kind"),
                   "stalled now": "sum(maru_rocksdb_write_stalled{HERE})"},
                  "RocksDB slows or stops writes, so that puts wait.", NONE_IS_GOOD),
            Panel("Size", "bytes",
                  {"tables": "sum(maru_rocksdb_live_bytes{HERE})",
                   "write buffers": "sum(maru_rocksdb_memtable_bytes{HERE})",
                   "block cache": "sum(maru_rocksdb_block_cache_bytes{HERE})"},
                  "On disk, and in memory."),
            Panel("Keys against the index", "short",
                  {"in RocksDB, estimated": "sum(maru_rocksdb_estimated_keys{HERE})",
                   "in the index": "sum(maru_entries{HERE})"},
                  "The estimate counts deleted keys until they are compacted away."),
        ],
        "Damage": [
            damage,
            Panel("Payload checks", "ops", {"{{result}}": rate("maru_payload_check_total", by="result")},
                  "Chunks that a reader reported and marud read itself."),
            Panel("Errors in the background", "short", {WHERE: "maru_rocksdb_background_errors_total{HERE}"},
                  "Of RocksDB's flushes and compactions: the disk refuses.", NONE_IS_GOOD),
            Panel("Writes that failed", "ops", {WHERE: rate("maru_rocksdb_write_seconds_count", 'result="failed"')},
                  "The commits of such a write are answered with an error.", NONE_IS_GOOD),
        ],
    },
)

dashboards = [overview, cache, latency, memory, workers, durability]
