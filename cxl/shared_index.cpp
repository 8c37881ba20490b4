#include "cxl/shared_index.hpp"

#include <algorithm>
#include <cstring>

#include "base/kill_point.hpp"

namespace maru::cxl {

namespace {

constexpr std::size_t header_bytes = 4096, line_bytes = 64, line_words = line_bytes / sizeof(std::uint64_t);
constexpr std::uint64_t buckets_min = 1024;
constexpr int attempts_max = 4;

std::uint64_t bucket_count(std::uint64_t slots) { return std::max((slots + 1) / 2, buckets_min); }

// A number below `n`, from the high bits of `x` (D. Lemire, "Fast random integer generation in an interval", 2019).
std::uint64_t below(std::uint64_t x, std::uint64_t n) {
  __extension__ using wide = unsigned __int128;
  return static_cast<std::uint64_t>((wide{x} * n) >> 64);
}

constexpr std::uint32_t tag_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry >> 32); }
constexpr std::uint64_t slot_of(std::uint64_t entry) { return (entry & UINT32_MAX) - 1; }
constexpr std::uint64_t entry_of(std::uint32_t tag, std::uint64_t slot) {
  return (std::uint64_t{tag} << 32) | (slot + 1);
}
// A number and its complement: another one of both shows.
constexpr std::uint64_t guarded(std::uint32_t n) { return (std::uint64_t{~n} << 32) | n; }

}  // namespace

std::uint64_t shared_index_bytes(std::uint64_t slots) { return header_bytes + bucket_count(slots) * line_bytes; }

shared_index::shared_index(std::span<std::byte> section, std::uint64_t slots)
    : words_(reinterpret_cast<std::uint64_t*>(section.data())), slots_(slots), buckets_(bucket_count(slots)) {}

shared_index::head_fields shared_index::head_fields::of(std::uint64_t word) {
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint16_t>(word >> 16),
          static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
}

std::uint64_t shared_index::head_fields::packed() const {
  return (std::uint64_t{sequence} << 32) | (std::uint64_t{check} << 16) | (std::uint64_t{spilled} << 8) | elsewhere;
}

std::atomic_ref<std::uint64_t> shared_index::bucket_word(std::uint64_t bucket, std::size_t i) const {
  return word(header_bytes / sizeof(std::uint64_t) + bucket * line_words + i);
}

// Each shard has a run of buckets: a bucket has one writer.
shared_index::place shared_index::place_of(const key_hash& hash, std::uint64_t shards) const {
  std::uint64_t begin = 0, n = buckets_;
  if (shards > 1) {  // divisions are a good part of a lookup
    auto shard = hash.high % shards;
    begin = buckets_ * shard / shards;
    n = buckets_ * (shard + 1) / shards - begin;
  }
  auto first = below(hash.low, n), second = below((hash.low << 32) | (hash.low >> 32), n);
  if (second == first)
    second = first + 1 < n ? first + 1 : 0;
  return {begin + first, begin + second, static_cast<std::uint32_t>(hash.high >> 32)};
}

std::uint16_t shared_index::check_of(const bucket_entries& entries, const head_fields& head) {
  constexpr std::uint64_t factor = 0x9e3779b97f4a7c15ull;
  std::uint64_t mix = 0;
  for (auto e : entries)
    mix = (mix ^ e) * factor;
  mix = (mix ^ ((std::uint64_t{head.spilled} << 8) | head.elsewhere)) * factor;
  return static_cast<std::uint16_t>(mix >> 48);
}

// -- marud

void index_writer::close(const shared_index& index) {
  index_writer{index, 1}.word(header_word).store(0, std::memory_order_seq_cst);
}

void index_writer::clear(const shared_index& index, std::uint64_t shards) {
  index_writer all{index, shards};
  all.word(header_shards).store(guarded(static_cast<std::uint32_t>(shards)), std::memory_order_relaxed);
  // A reader of before may still be looking. Who finds an empty bucket looks then whether the index is open: by the release
  // it sees that it is closed.
  for (std::uint64_t b = 0; b < all.buckets_; ++b)
    for (std::size_t i = 0; i < line_words; ++i)
      all.bucket_word(b, i).store(0, std::memory_order_release);
}

void index_writer::open(const shared_index& index, std::uint64_t opens_with, const uuid& nonce) {
  index_writer all{index, 1};
  std::uint64_t halves[2];
  std::memcpy(halves, nonce.bytes.data(), sizeof halves);
  all.word(header_nonce_low).store(halves[0], std::memory_order_relaxed);
  all.word(header_nonce_high).store(halves[1], std::memory_order_relaxed);
  all.word(header_word).store(opens_with, std::memory_order_release);
}

index_writer::contents index_writer::load(std::uint64_t bucket) const {
  contents c;
  c.head = head_fields::of(bucket_word(bucket, 0).load(std::memory_order_relaxed));
  for (std::size_t i = 0; i < entries_per_bucket; ++i)
    c.entries[i] = bucket_word(bucket, i + 1).load(std::memory_order_relaxed);
  // Damage must not be sealed by the next check: whoever misses here asks from now on.
  if (c.head.check != check_of(c.entries, c.head))
    c.head.elsewhere = many;
  return c;
}

void index_writer::store(std::uint64_t bucket, const contents& before, contents now) {
  auto head = now.head;
  head.sequence |= 1;
  bucket_word(bucket, 0).store(head.packed(), std::memory_order_relaxed);
  kill_point(kill_at::inside_bucket);
  for (std::size_t i = 0; i < entries_per_bucket; ++i)
    if (now.entries[i] != before.entries[i])
      // Releases the odd sequence too: who sees a new entry finds that on its second look at the head.
      bucket_word(bucket, i + 1).store(now.entries[i], std::memory_order_release);
  now.head.check = check_of(now.entries, now.head);
  now.head.sequence = head.sequence + 1;
  bucket_word(bucket, 0).store(now.head.packed(), std::memory_order_release);
}

bool index_writer::put(std::uint64_t bucket, std::uint64_t entry) {
  auto before = load(bucket), now = before;
  auto at = std::find(now.entries.begin(), now.entries.end(), 0);
  if (at == now.entries.end())
    return false;
  *at = entry;
  store(bucket, before, now);
  return true;
}

bool index_writer::take(std::uint64_t bucket, std::uint64_t entry) {
  auto before = load(bucket), now = before;
  auto at = std::find(now.entries.begin(), now.entries.end(), entry);
  if (at == now.entries.end())
    return false;
  *at = 0;
  store(bucket, before, now);
  return true;
}

void index_writer::count(std::uint64_t bucket, std::uint8_t head_fields::*counter, int more) {
  auto before = load(bucket), now = before;
  auto& n = now.head.*counter;
  if (n != many && (more > 0 || n > 0))
    n = static_cast<std::uint8_t>(n + more);
  store(bucket, before, now);
}

void index_writer::publish(const key_hash& hash, std::uint64_t slot) {
  auto at = place_of(hash, shards_);
  auto entry = entry_of(at.tag, slot);
  if (put(at.first, entry))
    return;
  if (at.second != at.first && put(at.second, entry))
    count(at.first, &head_fields::spilled, 1);
  else
    count(at.first, &head_fields::elsewhere, 1);
}

void index_writer::withdraw(const key_hash& hash, std::uint64_t slot) {
  auto at = place_of(hash, shards_);
  auto entry = entry_of(at.tag, slot);
  if (take(at.first, entry))
    return;
  if (at.second != at.first && take(at.second, entry))
    count(at.first, &head_fields::spilled, -1);
  else
    count(at.first, &head_fields::elsewhere, -1);
}

// -- workers

std::optional<index_reader> index_reader::attach(std::span<std::byte> section, std::uint64_t slots, const uuid& nonce) {
  if (section.size() < shared_index_bytes(slots))
    return std::nullopt;
  index_reader reader{shared_index{section, slots}};
  std::uint64_t halves[2];
  std::memcpy(halves, nonce.bytes.data(), sizeof halves);
  if (reader.open_word() == 0 || reader.word(header_nonce_low).load(std::memory_order_relaxed) != halves[0]
      || reader.word(header_nonce_high).load(std::memory_order_relaxed) != halves[1])
    return std::nullopt;
  auto shards = reader.word(header_shards).load(std::memory_order_relaxed);
  reader.shards_ = static_cast<std::uint32_t>(shards);
  if (shards != guarded(static_cast<std::uint32_t>(shards)) || reader.shards_ == 0 || reader.shards_ > reader.buckets_)
    return std::nullopt;
  return reader;
}

void index_reader::prefetch(const key_hash& hash) const {
  __builtin_prefetch(words_ + header_bytes / sizeof(std::uint64_t) + place_of(hash, shards_).first * line_words);
}

sight index_reader::find(const key_hash& hash, const descriptor_table& descriptors, descriptor& out,
                         std::uint64_t& slot) const {
  auto seen = sight::unclear;
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    seen = look(hash, descriptors, out, slot);
    if (seen == sight::hit || seen == sight::miss)
      break;
  }
  return seen;
}

sight index_reader::look(const key_hash& hash, const descriptor_table& descriptors, descriptor& out,
                         std::uint64_t& slot) const {
  auto at = place_of(hash, shards_);
  head_fields head, rest;
  auto seen = look_in(at.first, at.tag, hash, descriptors, out, slot, head);
  if (seen != sight::miss || (head.spilled == 0 && head.elsewhere == 0))
    return seen;
  if (head.spilled > 0)
    if (seen = look_in(at.second, at.tag, hash, descriptors, out, slot, rest); seen != sight::miss)
      return seen;
  return head.elsewhere > 0 ? sight::unclear : sight::miss;
}

sight index_reader::look_in(std::uint64_t bucket, std::uint32_t tag, const key_hash& hash,
                            const descriptor_table& descriptors, descriptor& out, std::uint64_t& slot,
                            head_fields& head) const {
  auto word = bucket_word(bucket, 0).load(std::memory_order_acquire);
  head = head_fields::of(word);
  bool others = false;  // an entry with this tag that is another key's, or was this one's
  bucket_entries entries;
  for (std::size_t i = 0; i < entries_per_bucket; ++i) {
    auto entry = entries[i] = bucket_word(bucket, i + 1).load(std::memory_order_acquire);
    if (entry == 0 || tag_of(entry) != tag)
      continue;
    slot = slot_of(entry);
    if (slot >= slots_)
      return sight::damaged;
    auto d = descriptors.read(slot);
    if (!d)  // torn by a writer, or damaged: marud's own index tells
      return sight::damaged;
    others |= d->hash != hash;
    if (d->hash != hash)
      continue;
    out = *d;
    return d->state == page_state::committed && d->page.region != region_id::none ? sight::hit : sight::unclear;
  }
  if (bucket_word(bucket, 0).load(std::memory_order_acquire) != word || (head.sequence & 1) != 0)
    return sight::unclear;
  if (head.check != check_of(entries, head))
    return sight::damaged;
  return others ? sight::unclear : sight::miss;
}

}  // namespace maru::cxl
