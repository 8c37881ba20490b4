#include "actors/entry_scan.hpp"

#include <limits>
#include <optional>

#include "base/kill_point.hpp"
#include "base/parallel.hpp"

namespace maru::actors {

namespace {

using metrics::dropped_for;

constexpr std::size_t block_entries = 256;  // whose descriptors are on their way at the same time

class range_scan {
public:
  explicit range_scan(const environment& env) : env_(env) { block_.reserve(block_entries); }

  // The entries at positions from `first` to `last`.
  status run(std::uint64_t first, std::uint64_t last) {
    auto scanned = env_.store->scan_entries(
      storage::hash_at_position(first),
      [&](const key_hash& hash, const storage::entry_record& record) {
        if (storage::scan_position(hash) > last)
          return false;
        kill_point(kill_at::recovery_entry);
        gather(hash, record);
        return true;
      },
      [&](const key_hash& hash) {
        if (storage::scan_position(hash) <= last)
          out_.refused.emplace_back(hash, dropped_for::record);
      });
    check_block();
    return scanned;
  }

  scanned_entries take() { return std::move(out_); }

private:
  struct gathered {
    stored_entry entry;
    std::optional<std::uint64_t> slot;  // of its page's descriptor; empty: there is no such page
  };

  void gather(const key_hash& hash, const storage::entry_record& record) {
    auto& [entry, slot] = block_.emplace_back();
    entry = {hash, record.where, 0, record.committed_ms, record.key.empty()};
    auto region = env_.regions->find(record.where.page.region);
    if (region && value_of(record.where.page.page) < region->page_count()) {
      entry.page_bytes = region->page_bytes;
      slot = env_.pool->slot_of(*region, record.where.page.page);
      env_.pool->descriptors().prefetch(*slot);
    }
    if (block_.size() == block_entries)
      check_block();
  }

  void check_block() {
    for (const auto& [entry, slot] : block_) {
      if (auto why = disagreement(entry, slot))
        out_.refused.emplace_back(entry.hash, *why);
      else
        out_.confirmed.push_back(entry);
    }
    block_.clear();
  }

  // Why a record is not to be believed; empty when the pool agrees.
  std::optional<dropped_for> disagreement(const stored_entry& e, std::optional<std::uint64_t> slot) const {
    if (!slot)
      return dropped_for::no_region;
    auto d = env_.pool->descriptors().read(*slot);
    if (!d)
      return dropped_for::descriptor;
    if (d->state == cxl::page_state::evicting && d->gen == e.where.gen && d->hash == e.hash && is_pinned(e)) {
      env_.pool->descriptors().set_state(*slot, cxl::page_state::committed);
      d->state = cxl::page_state::committed;
    }
    if (d->state != cxl::page_state::committed)
      return dropped_for::state;
    if (d->gen != e.where.gen)
      return dropped_for::generation;
    if (d->hash != e.hash || d->length != e.where.length || d->checksum != e.where.checksum)
      return dropped_for::hash;
    return std::nullopt;
  }

  // marud was killed between the mark of an eviction and the look at the tables, and a worker has the entry pinned: the
  // eviction steps back. The mark is older than this look, as the handshake wants it.
  bool is_pinned(const stored_entry& e) const { return env_.tables->held(std::span{&e.where.page, 1}).front().by_key; }

  const environment& env_;
  std::vector<gathered> block_;
  scanned_entries out_;
};

}  // namespace

result<std::vector<scanned_entries>> scan_entries(const environment& env, std::size_t ranges) {
  std::vector<scanned_entries> out(ranges);
  std::vector<status> done(ranges);
  auto width = std::numeric_limits<std::uint64_t>::max() / ranges;
  in_parallel(ranges, [&](std::size_t i) {
    range_scan scan{env};
    bool last = i + 1 == ranges;  // its range takes what the division leaves
    done[i] = scan.run(i * width, last ? std::numeric_limits<std::uint64_t>::max() : (i + 1) * width - 1);
    out[i] = scan.take();
  });
  for (auto& s : done)
    if (!s)
      return s.error();
  return out;
}

}  // namespace maru::actors
