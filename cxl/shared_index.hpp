// The index in the pool: which page slot holds a key, for workers that map the metadata and so need not ask. It is a copy
// for readers: marud's own index stays the authority, and each start makes the copy anew.
//
// Form: a header of 4 KiB, then buckets of one 64-byte line. A bucket is a head word and seven entries of 8 bytes:
//   head   {sequence 32 | check 16 | spilled 8 | elsewhere 8}
//   entry  {tag 32 | slot + 1: 32}, 0 where free; the tag is a part of the hash that does not choose the bucket
// A key lies in its first bucket, or where that is full in its second one (`spilled` of the first counts those), or where
// both are full in none (`elsewhere` counts those: their readers ask by message). So a hit reads one line, seldom two, and
// the descriptor, which has the whole hash; and most misses read one line. Two buckets a page slot of the pool's smallest
// page are four times as much room as entries can be: of a pool full of smallest pages about one key in 200 spills.
//
// The sequence is odd while marud writes the bucket: a reader then tries again a few times, and asks by message after
// that. `check` is a digest of the entries and the two counters: damage shows as a bucket that does not fit it, not as a
// miss.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/types.hpp"
#include "base/uuid.hpp"
#include "cxl/descriptor_table.hpp"

namespace maru::cxl {

// Bytes of the index of a pool with so many page slots.
std::uint64_t shared_index_bytes(std::uint64_t slots);

// The parts of the section that both sides see.
// Limits: 2^32 - 2 page slots.
class shared_index {
public:
  shared_index() = default;
  // `section` has shared_index_bytes(slots), 64-byte aligned. Does not own the memory.
  shared_index(std::span<std::byte> section, std::uint64_t slots);

  // What readers have to know to use it: it changes with the server epoch and with the pool's devices. 0: closed, readers ask
  // by message.
  std::uint64_t open_word() const { return word(header_word).load(std::memory_order_acquire); }

protected:
  static constexpr std::size_t entries_per_bucket = 7;
  using bucket_entries = std::array<std::uint64_t, entries_per_bucket>;
  enum : std::size_t { header_word, header_nonce_low, header_nonce_high, header_shards };
  struct place {
    std::uint64_t first, second;  // buckets
    std::uint32_t tag;
  };
  // The counters of a head; 255 stays: so many, or not known.
  struct head_fields {
    std::uint32_t sequence = 0;
    std::uint16_t check = 0;
    std::uint8_t spilled = 0, elsewhere = 0;
    static head_fields of(std::uint64_t word);
    std::uint64_t packed() const;
  };
  static constexpr std::uint8_t many = 255;

  std::atomic_ref<std::uint64_t> word(std::size_t i) const { return std::atomic_ref{words_[i]}; }
  std::atomic_ref<std::uint64_t> bucket_word(std::uint64_t bucket, std::size_t i) const;
  place place_of(const key_hash& hash, std::uint64_t shards) const;
  static std::uint16_t check_of(const bucket_entries& entries, const head_fields& head);

  std::uint64_t* words_ = nullptr;
  std::uint64_t slots_ = 0, buckets_ = 0;
};

// marud's side of one partition: an index shard's.
// Concurrency: one thread at a time; different shards at the same time.
class index_writer : public shared_index {
public:
  // REQUIRES: shard < shards, as in begin().
  index_writer(const shared_index& index, std::uint64_t shards) : shared_index(index), shards_(shards) {}

  // Closes the index to readers. Before anything that they see of the pool is changed by a start.
  static void close(const shared_index& index);
  // Empties it for so many shards; still closed.
  static void clear(const shared_index& index, std::uint64_t shards);
  // Opens it to readers that know this word; `nonce` lets them tell that they see marud's memory.
  static void open(const shared_index& index, std::uint64_t opens_with, const uuid& nonce);

  // Readers find the key in this slot from now on. REQUIRES: it is not published.
  void publish(const key_hash& hash, std::uint64_t slot);
  // They do not any more. REQUIRES: it is published.
  void withdraw(const key_hash& hash, std::uint64_t slot);

private:
  struct contents {
    head_fields head;
    bucket_entries entries;
  };
  contents load(std::uint64_t bucket) const;
  void store(std::uint64_t bucket, const contents& before, contents now);
  bool put(std::uint64_t bucket, std::uint64_t entry);
  bool take(std::uint64_t bucket, std::uint64_t entry);
  void count(std::uint64_t bucket, std::uint8_t head_fields::*counter, int more);

  std::uint64_t shards_;
};

// What a reader sees of a key.
enum class sight : std::uint8_t {
  hit,
  miss,
  unclear,  // on its way in or out, or being written: marud knows
  damaged,  // what lies there is not what marud wrote: marud knows
};

// A worker's side, over its read-only mapping.
// Concurrency: all members from any thread.
class index_reader : public shared_index {
public:
  // Empty where the section is not marud's memory as `nonce` tells, or makes no sense.
  static std::optional<index_reader> attach(std::span<std::byte> section, std::uint64_t slots, const uuid& nonce);

  // A miss counts where the index is still open afterwards: the next start empties it.
  // `out` and `slot` are set for a hit: a committed page that has the key. What is read is right as of some moment of the
  // call; only a pin makes it stay. Reads two bucket lines at most, and one descriptor unless tags collide.
  sight find(const key_hash& hash, const descriptor_table& descriptors, descriptor& out, std::uint64_t& slot) const;
  // Has what find() reads first on its way.
  void prefetch(const key_hash& hash) const;

private:
  explicit index_reader(const shared_index& index) : shared_index(index) {}
  sight look(const key_hash& hash, const descriptor_table& descriptors, descriptor& out, std::uint64_t& slot) const;
  // A miss of this bucket says where else the key may be by `head`.
  sight look_in(std::uint64_t bucket, std::uint32_t tag, const key_hash& hash, const descriptor_table& descriptors,
                descriptor& out, std::uint64_t& slot, head_fields& head) const;

  std::uint64_t shards_ = 1;
};

}  // namespace maru::cxl
