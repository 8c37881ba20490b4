#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>
#include <utility>

#include "metrics/metrics.hpp"

namespace maru::metrics {

namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Labels;

constexpr std::size_t ec_count = static_cast<std::size_t>(ec::last_) + 1;
constexpr std::size_t dynamic_labels_max = 64;  // label values that are not an enum: more than these become "other"

// Names of enumerators, in their order.
constexpr std::array<std::string_view, op_count> op_names = {"hello",   "grant",       "give_back", "commit", "lookup",
                                                             "exists",  "pin",         "unpin",     "remove", "renew",
                                                             "regions", "show_region", "usage",     "report", "close"};
constexpr std::array<std::string_view, 5> evicted_names = {"reserve", "request", "region", "operator", "damage"};
constexpr std::array<std::string_view, 5> ended_names = {"close", "death", "lease", "operator", "shutdown"};
constexpr std::array<std::string_view, 7> dropped_names = {"no_region",  "state",  "generation",   "hash",
                                                           "descriptor", "record", "contents_lost"};
constexpr std::array<std::string_view, 5> corruption_names = {"descriptor", "superblock", "region_row", "record",
                                                              "payload"};
constexpr std::array<std::string_view, 6> page_states = {"free",     "granted",     "committed",
                                                         "evicting", "quarantined", "unassigned"};
constexpr std::array<std::string_view, 3> put_results = {"ok", "exists", "failed"};

static_assert(op_names.size() == static_cast<std::size_t>(op::close) + 1);
static_assert(evicted_names.size() == static_cast<std::size_t>(evicted_for::damage) + 1);
static_assert(ended_names.size() == static_cast<std::size_t>(ended_by::shutdown) + 1);
static_assert(dropped_names.size() == static_cast<std::size_t>(dropped_for::contents_lost) + 1);
static_assert(corruption_names.size() == static_cast<std::size_t>(corruption::payload) + 1);

// 25 us, about what waking a thread costs, up to the bound of a grant's wait.
const Histogram::BucketBoundaries latency_buckets = {0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                                     0.01,     0.025,   0.05,   0.1,     0.25,   1,     5};

std::size_t index_of(auto enumerator) { return static_cast<std::size_t>(enumerator); }

double number(std::uint64_t n) { return static_cast<double>(n); }

// One metric per value of a label, all made at the start: on the hot path it is an array access and an addition.
template <class Metric, std::size_t N>
class by_label {
public:
  template <class... Args>
  by_label(prometheus::Family<Metric>& family, const std::string& label, const std::array<std::string_view, N>& values,
           const Args&... args) {
    for (std::size_t i = 0; i < N; ++i)
      metrics_[i] = &family.Add({{label, std::string{values[i]}}}, args...);
  }

  Metric& operator[](std::size_t i) { return *metrics_[i]; }

private:
  std::array<Metric*, N> metrics_{};
};

// Metrics whose label values are words of the caller. They are made at their first use, and there is a bound on them.
template <class Metric>
class by_words {
public:
  explicit by_words(prometheus::Family<Metric>& family) : family_(family) {}

  Metric& at(const Labels& labels) {
    std::lock_guard guard{mutex_};
    if (auto i = metrics_.find(labels); i != metrics_.end())
      return *i->second;
    if (metrics_.size() < dynamic_labels_max)
      return *metrics_.emplace(labels, &family_.Add(labels)).first->second;
    if (!rest_) {
      auto other = labels;
      for (auto& [name, value] : other)
        value = "other";
      rest_ = &family_.Add(other);
    }
    return *rest_;
  }

private:
  prometheus::Family<Metric>& family_;
  std::mutex mutex_;
  std::map<Labels, Metric*> metrics_;
  Metric* rest_ = nullptr;
};

std::array<std::string_view, ec_count> ec_names() {
  std::array<std::string_view, ec_count> names;
  for (std::size_t i = 0; i < ec_count; ++i)
    names[i] = to_string(static_cast<ec>(i));
  return names;
}

}  // namespace

std::string_view to_string(op o) { return index_of(o) < op_count ? op_names[index_of(o)] : "unknown"; }

struct registry::impl {
  prometheus::Registry all;

  prometheus::Family<Counter>& counter_family(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(all);
  }
  prometheus::Family<Gauge>& gauge_family(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(all);
  }
  prometheus::Family<Histogram>& histogram_family(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(all);
  }
  Counter& counter(const char* name, const char* help) { return counter_family(name, help).Add({}); }
  Gauge& gauge(const char* name, const char* help) { return gauge_family(name, help).Add({}); }

  prometheus::Family<Counter>& lookup_family =
    counter_family("maru_lookup_total", "Keys looked up, by result. hit / (hit + miss) is the hit rate.");
  Counter& hits = lookup_family.Add({{"result", "hit"}});
  Counter& misses = lookup_family.Add({{"result", "miss"}});
  by_label<Counter, ec_count> commits{
    counter_family("maru_commit_total",
                   "Keys whose commit was answered, by result. ok: stored; exists: another worker was first and its "
                   "chunk is kept; everything else is an error of docs/architecture.md."),
    "result", ec_names()};
  Gauge& puts_in_flight = gauge("maru_puts_in_flight", "Commits that arrived and are not answered yet.");
  by_label<Histogram, 3> put_seconds{
    histogram_family("maru_put_seconds",
                     "Time from the arrival of a commit to its answer, the durable write included."),
    "result", put_results, latency_buckets};

  Gauge& pins = gauge("maru_pins", "Pins held now: entries that readers use and that cannot be evicted or removed.");
  Gauge& pins_held_dead =
    gauge("maru_pins_held_dead",
          "Pins of sessions whose lease is over but whose process is not proven dead. They wait for that proof; a "
          "value that stays above 0 needs an operator.");
  Counter& pins_taken = counter("maru_pin_total", "Pins taken since the start.");

  by_label<Gauge, 6> pages{
    gauge_family("maru_pages",
                 "Pages by state; the states add up to the pool. unassigned: in regions no page size has yet."),
    "state", page_states};
  by_label<Gauge, 6> pool_bytes{gauge_family("maru_pool_bytes", "Bytes of the pool by the state of their page."),
                                "state", page_states};
  Gauge& quarantined = gauge("maru_quarantined_pages",
                             "Pages that a process may still be writing, kept out of use until it is proven dead.");
  Gauge& largest_free_run = gauge("maru_largest_free_run_bytes",
                                  "Longest run of unassigned bytes: the largest page size that can get a region.");
  Histogram& grant_wait = histogram_family("maru_grant_wait_seconds",
                                           "Time grants waited for a page; above 0 where the reserve was empty and "
                                           "pages had to be evicted first.")
                            .Add({}, latency_buckets);
  by_label<Counter, 5> evicted{
    counter_family("maru_evicted_total",
                   "Entries evicted, by reason. reserve: ahead of the demand; request: a grant had to wait for it; "
                   "region: to give a region to another page size; operator: asked for; damage: its bytes did not fit "
                   "their checksum."),
    "reason", evicted_names};

  Gauge& sessions = gauge("maru_sessions", "Sessions of workers that are open.");
  by_label<Counter, 5> ended{
    counter_family("maru_session_ended_total",
                   "Sessions that ended, by reason. close: the worker said so; death: its process is gone; lease: it "
                   "went silent; operator: ended by hand; shutdown: marud stopped."),
    "reason", ended_names};
  by_label<Histogram, op_count> requests{
    histogram_family("maru_request_seconds",
                     "Time from the arrival of a request at its session to the reply, by operation."),
    "op", op_names, latency_buckets};
  by_words<Gauge> mailboxes{gauge_family("maru_mailbox_length", "Messages waiting for an actor: where work piles up.")};
  by_words<Counter> rejections{counter_family(
    "maru_rejected_total", "Input refused before it did anything, by door (where it came in) and reason.")};

  Gauge& recovery_seconds =
    gauge("maru_recovery_seconds", "Time from the last start to a recovered pool, the opening of RocksDB included.");
  Gauge& recovered_entries = gauge("maru_recovered_entries", "Entries the last start found intact and kept.");
  by_label<Counter, 7> dropped{
    counter_family("maru_recovery_dropped_total",
                   "Entries the last start had to drop, by what did not agree with the record. state, generation: an "
                   "eviction was under way at the crash; contents_lost: the memory was new."),
    "reason", dropped_names};
  by_label<Counter, 5> corrupted{
    counter_family("maru_corruption_total",
                   "Stored bytes that did not check out and were not used, by kind. 0 in health."),
    "kind", corruption_names};

  Gauge& wal_bytes = gauge("maru_rocksdb_wal_bytes", "Bytes in RocksDB's write-ahead logs: what a restart replays.");
  Gauge& memtable_bytes = gauge("maru_rocksdb_memtable_bytes", "Memory of RocksDB's write buffers.");
  Gauge& block_cache_bytes = gauge("maru_rocksdb_block_cache_bytes", "Memory of RocksDB's block cache.");
  Gauge& live_bytes = gauge("maru_rocksdb_live_bytes", "Bytes in RocksDB's live table files.");
  Gauge& pending_compaction_bytes =
    gauge("maru_rocksdb_pending_compaction_bytes", "Bytes RocksDB has yet to rewrite: its backlog.");
  Gauge& estimated_keys = gauge("maru_rocksdb_estimated_keys", "Entries in RocksDB, by its own estimate.");
  Gauge& write_stalled =
    gauge("maru_rocksdb_write_stalled", "1 while RocksDB slows or stops writes, so that puts wait.");
  Gauge& server_epoch = gauge("maru_server_epoch", "Grows by one with every marud that takes over the pool.");
};

registry::registry(std::string_view version, std::string_view git_revision) : impl_(std::make_unique<impl>()) {
  impl_->gauge_family("maru_build_info", "Always 1; the labels say which marud this is.")
    .Add({{"version", std::string{version}}, {"revision", std::string{git_revision}}})
    .Set(1);
}

registry::~registry() = default;

void registry::lookups(std::uint64_t hits, std::uint64_t misses) {
  if (hits > 0)
    impl_->hits.Increment(number(hits));
  if (misses > 0)
    impl_->misses.Increment(number(misses));
}

void registry::puts_in_flight_add(std::int64_t n) { impl_->puts_in_flight.Increment(static_cast<double>(n)); }

void registry::put_seconds(ec outcome, double seconds) {
  // Of the many ways to fail none deserves a histogram of its own: maru_commit_total counts them apart.
  impl_->put_seconds[outcome == ec::ok ? 0 : outcome == ec::exists ? 1 : 2].Observe(seconds);
}

void registry::commits(ec outcome, std::uint64_t n) { impl_->commits[index_of(outcome)].Increment(number(n)); }
void registry::pins_taken(std::uint64_t n) { impl_->pins_taken.Increment(number(n)); }
void registry::pins(std::uint64_t now) { impl_->pins.Set(number(now)); }
void registry::pins_held_dead(std::uint64_t now) { impl_->pins_held_dead.Set(number(now)); }

namespace {

void set_all(by_label<Gauge, 6>& gauges, const page_counts& now) {
  const std::array values = {now.free, now.granted, now.committed, now.evicting, now.quarantined, now.unassigned};
  for (std::size_t i = 0; i < values.size(); ++i)
    gauges[i].Set(number(values[i]));
}

}  // namespace

void registry::pages(const page_counts& now) {
  set_all(impl_->pages, now);
  impl_->quarantined.Set(number(now.quarantined));
}

void registry::pool_bytes(const page_counts& bytes) { set_all(impl_->pool_bytes, bytes); }
void registry::largest_free_run(std::uint64_t bytes) { impl_->largest_free_run.Set(number(bytes)); }
void registry::grant_wait(double seconds) { impl_->grant_wait.Observe(seconds); }

void registry::evicted(evicted_for reason, std::uint64_t n) { impl_->evicted[index_of(reason)].Increment(number(n)); }

void registry::sessions(std::uint64_t now) { impl_->sessions.Set(number(now)); }
void registry::session_ended(ended_by reason) { impl_->ended[index_of(reason)].Increment(); }
void registry::request(op o, double seconds) { impl_->requests[index_of(o)].Observe(seconds); }

void registry::mailbox_length(std::string_view actor, std::uint64_t now) {
  impl_->mailboxes.at({{"actor", std::string{actor}}}).Set(number(now));
}

void registry::recovery(double seconds, std::uint64_t entries) {
  impl_->recovery_seconds.Set(seconds);
  impl_->recovered_entries.Set(number(entries));
}

void registry::recovery_dropped(dropped_for reason, std::uint64_t n) {
  impl_->dropped[index_of(reason)].Increment(number(n));
}

void registry::corrupted(corruption kind, std::uint64_t n) { impl_->corrupted[index_of(kind)].Increment(number(n)); }

void registry::rejected(std::string_view door, std::string_view reason) {
  impl_->rejections.at({{"door", std::string{door}}, {"reason", std::string{reason}}}).Increment();
}

void registry::server_epoch(std::uint64_t epoch) { impl_->server_epoch.Set(number(epoch)); }

void registry::store(const rocksdb& now) {
  impl_->wal_bytes.Set(number(now.wal_bytes));
  impl_->memtable_bytes.Set(number(now.memtable_bytes));
  impl_->block_cache_bytes.Set(number(now.block_cache_bytes));
  impl_->live_bytes.Set(number(now.live_bytes));
  impl_->pending_compaction_bytes.Set(number(now.pending_compaction_bytes));
  impl_->estimated_keys.Set(number(now.estimated_keys));
  impl_->write_stalled.Set(now.write_stalled ? 1 : 0);
}

std::uint64_t registry::lookup_hits() const { return static_cast<std::uint64_t>(impl_->hits.Value()); }
std::uint64_t registry::lookup_misses() const { return static_cast<std::uint64_t>(impl_->misses.Value()); }

std::uint64_t registry::evicted_total() const {
  double sum = 0;
  for (std::size_t i = 0; i < evicted_names.size(); ++i)
    sum += impl_->evicted[i].Value();
  return static_cast<std::uint64_t>(sum);
}

std::string registry::text() const { return prometheus::TextSerializer{}.Serialize(impl_->all.Collect()); }

}  // namespace maru::metrics
