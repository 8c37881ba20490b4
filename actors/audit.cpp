#include "actors/audit.hpp"

#include <charconv>
#include <chrono>
#include <thread>

#include "base/hex.hpp"

namespace maru::actors {

namespace {

using namespace std::chrono_literals;

// A disagreement that settles within this was a put or a removal under way.
constexpr int looks = 5;
constexpr auto between_looks = 50ms;

template <class Look>
std::string persistent_problem(const environment& env, Look look) {
  std::string problem;
  for (int i = 0; i < looks; ++i) {
    problem = look();
    if (problem.empty() || env.stopping->load(std::memory_order_relaxed))  // marud's end waits for this thread
      return problem;
    std::this_thread::sleep_for(between_looks);
  }
  return problem;
}

}  // namespace

audit::audit(environment_ptr env, ask_states states, ask_index entries, std::vector<cxl::region_row> rows)
    : env_(std::move(env)), states_(std::move(states)), entries_(std::move(entries)), rows_(std::move(rows)) {
  for (const auto& row : rows_)
    total_pages_ += row.page_count();
  readers_ = env_->pool->attach_reader(env_->index_nonce);
}

// Cursors: "p<page number>" while pages are looked at, "r<outcome>:<hash>" for records.
audit::slice audit::next(std::string_view cursor) {
  std::uint64_t n = 0;
  if (cursor.starts_with('p'))
    std::from_chars(cursor.data() + 1, cursor.data() + cursor.size(), n);
  auto colon = cursor.find(':');
  if (!cursor.starts_with('r') || colon == cursor.npos)
    return check_pages(n);
  std::from_chars(cursor.data() + 1, cursor.data() + colon, n);
  return check_records(std::string{cursor.substr(colon + 1)}, n);
}

audit::slice audit::check_pages(std::uint64_t from) {
  slice out;
  // Point reads of what was written a moment ago are slow (the store buffers writes unsorted): sorted once, they are not.
  if (from == 0)
    if (auto flushed = env_->store->flush(); !flushed)
      out.problems.push_back({"RocksDB", flushed.error().message});
  out.total = total_pages_ + env_->store->stats().estimated_keys;
  std::uint64_t first = 0;
  for (const auto& row : rows_) {
    if (from >= first + row.page_count()) {
      first += row.page_count();
      continue;
    }
    auto begin = static_cast<std::uint32_t>(from - first);
    auto count = std::min<std::uint32_t>(bounds::slice_pages, row.page_count() - begin);
    auto states = states_(row.id, begin, count);
    for (std::uint32_t i = 0; i < states.size(); ++i) {
      page_index page{begin + i};
      auto problem = page_problem(row, page, states[i]);
      if (!problem.empty())
        problem = persistent_problem(*env_, [&] {
          auto now = states_(row.id, begin + i, 1);
          return now.empty() ? std::string{} : page_problem(row, page, now[0]);
        });
      if (!problem.empty())
        out.problems.push_back({to_string(page_ref{row.id, page}), problem});
    }
    out.done = from + count;
    out.cursor = "p" + std::to_string(out.done);
    return out;
  }
  out.done = total_pages_;
  out.cursor = "r" + std::to_string(total_pages_) + ":";
  return out;
}

std::string audit::page_problem(const cxl::region_row& row, page_index page, page_state state) const {
  auto slot = env_->pool->slot_of(row, page);
  auto d = env_->pool->descriptors().read(slot);
  if (!d)
    return "the descriptor's checksum does not fit";
  if (d->state != state)
    return "page table says " + std::string{cxl::to_string(state)} + ", descriptor says "
           + std::string{cxl::to_string(d->state)};
  if (state != page_state::committed)
    return {};
  auto entry = entries_(d->hash);
  if (!entry)
    return "committed, but the index has no entry for it";
  if (entry->where.page != page_ref{row.id, page} || entry->where.gen != d->gen)
    return "committed, but the index has its key elsewhere, at " + to_string(entry->where.page);
  if (auto problem = reader_problem(d->hash, slot); !entry->condemned && !problem.empty())
    return problem;
  auto record = env_->store->entry(d->hash);
  if (!record || !*record)
    return "committed, but RocksDB has no record of it";
  return (*record)->where == entry->where ? "" : "index and RocksDB disagree on where its key is";
}

// What a worker would find by itself.
std::string audit::reader_problem(const key_hash& hash, std::uint64_t slot) const {
  cxl::descriptor found;
  std::uint64_t at = slot;
  auto seen = readers_.is_open(env_->index_word->load()) ? readers_.find(hash, found, at) : cxl::sight::unclear;
  if (seen == cxl::sight::damaged)
    return "its bucket in the index that workers read is damaged: they ask for it by message";
  bool wrong = seen == cxl::sight::miss || (seen == cxl::sight::hit && at != slot);
  return wrong ? "committed, but the index that workers read does not have it there" : "";
}

audit::slice audit::check_records(const std::string& from, std::uint64_t done) {
  slice out;
  out.done = done;
  key_hash start;
  if (auto bytes = from_hex(from); bytes && bytes->size() == sizeof start)
    std::memcpy(&start, bytes->data(), sizeof start);
  std::size_t seen = 0;
  std::vector<std::pair<key_hash, storage::entry_record>> suspects;
  auto scanned = env_->store->scan_entries(
    start,
    [&](const key_hash& hash, const storage::entry_record& record) {
      if (seen == bounds::slice_pages) {
        out.cursor =
          "r" + std::to_string(done + seen) + ":" + to_hex({reinterpret_cast<const char*>(&hash), sizeof hash});
        return false;
      }
      ++seen;
      if (!record_problem(hash, record).empty())
        suspects.emplace_back(hash, record);
      return true;
    },
    [&](const key_hash& hash) {
      out.problems.push_back({to_string(hash), "the record in RocksDB is damaged"});
    });
  if (!scanned)
    out.problems.push_back({"RocksDB", scanned.error().message});
  for (const auto& [hash, record] : suspects) {
    auto problem = persistent_problem(*env_, [&, h = hash] {
      auto now = env_->store->entry(h);
      return now && *now ? record_problem(h, **now) : std::string{};
    });
    if (!problem.empty())
      out.problems.push_back({to_string(hash), problem});
  }
  out.done += seen;
  out.total = out.cursor.empty() ? out.done : std::max(out.done, total_pages_ + env_->store->stats().estimated_keys);
  return out;
}

std::string audit::record_problem(const key_hash& hash, const storage::entry_record& record) const {
  if (!record.key.empty() && hash_key(env_->pool->super().secret, record.key) != hash)
    return "the record's key does not have its hash";
  auto slot = env_->slot_of(record.where.page);
  if (!slot)
    return "RocksDB has it at page " + to_string(record.where.page) + ", which does not exist";
  auto d = env_->pool->descriptors().read(*slot);
  if (!d || d->state != page_state::committed || d->hash != hash || d->gen != record.where.gen)
    return "RocksDB has it at page " + to_string(record.where.page) + ", whose descriptor says otherwise";
  return {};
}

}  // namespace maru::actors
