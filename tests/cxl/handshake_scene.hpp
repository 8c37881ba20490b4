// The players of handshake_model_test.cpp: a page, a reader that pins it, and marud, which takes it away and lets it be
// written again. They run cxl/pin_handshake.hpp over model words, note in ghost words who holds what, and claim what must
// hold then.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cxl/pin_handshake.hpp"
#include "tests/support/model_program.hpp"

namespace maru::cxl {

using test::model_program;
using test::model_word;
using test::model_words;
using test::require;

// State words, as in a descriptor: {generation, state}.
inline constexpr std::uint64_t generation_one = 0x10000;
inline constexpr std::uint64_t state_mask = 0xff;
enum : std::uint64_t { is_free = 0, is_granted = 1, is_committed = 2, is_evicting = 3 };
inline constexpr std::uint64_t old_key = generation_one | is_committed, new_key = 2 * generation_one | is_committed;
// The bytes of the key that a state word was committed with.
inline constexpr std::uint64_t bytes_of(std::uint64_t committed) { return committed / generation_one + 0xa0; }

// In the name of a page in a slot: kind 1 bit, region 31, page 32.
inline constexpr std::uint64_t view_kind = 1ull << 63;

// A page with a committed chunk.
struct page {
  page(model_program& p, std::uint64_t number)
      : name(number),
        state(p.word(of("state", number), old_key)),
        bytes(p.word(of("bytes", number), bytes_of(old_key), model_program::word_kind::plain)),
        record(p.word(of("record", number), 1)),
        grant(p.word(of("grant", number))),
        commit(p.word(of("commit", number))),
        held(p.word(of("held", number), 0, model_program::word_kind::ghost)),
        given_away(p.word(of("given away", number), 0, model_program::word_kind::ghost)),
        pins(p.word(of("pins", number), 0, model_program::word_kind::ghost)),
        refusals(p.word(of("refusals", number), 0, model_program::word_kind::ghost)),
        evictions(p.word(of("evictions", number), 0, model_program::word_kind::ghost)),
        steps_back(p.word(of("steps back", number), 0, model_program::word_kind::ghost)) {}
  static std::string of(const std::string& what, std::uint64_t number) {
    return what + " of page " + std::to_string(number & UINT32_MAX);
  }

  std::uint64_t name;  // in slots
  model_word state, bytes;
  model_word record;         // whether RocksDB has the entry
  model_word grant, commit;  // messages to and from the page's next writer
  // Ghosts: who holds it now, what it is, and what happened.
  model_word held, given_away, pins, refusals, evictions, steps_back;
};

inline void count(model_word ghost, std::uint64_t by = 1) { ghost.store(ghost.load() + by); }

// -- the reader. What it does other than by default is a fault, which the explorer has to find.

struct reader_steps {
  bool (*take)(model_word slot, std::uint64_t name, model_word state, std::uint64_t expected) = &take_pin<model_words>;
  void (*end)(model_word slot) = &end_pin<model_words>;
};

// The state word where a key is found, else 0.
inline std::uint64_t look_up(const page& p) {
  auto seen = p.state.load(std::memory_order_acquire);
  return (seen & state_mask) == is_committed ? seen : 0;
}

inline void hold(const page& p) {
  require(p.given_away.load() == 0, "a page that was given away is pinned");
  count(p.held);
  count(p.pins);
}

inline void let_go(const page& p) { count(p.held, UINT64_MAX); }

inline void read_bytes(const page& p, std::uint64_t key) {
  require(p.bytes.load(std::memory_order_relaxed) == bytes_of(key), "a pinned page has the bytes of another key");
}

// A pinned read; false where it was refused (and the reader asks by message).
inline bool read_pinned(const page& p, model_word slot, std::uint64_t key, reader_steps steps = {}) {
  if (!steps.take(slot, p.name, p.state, key)) {
    count(p.refusals);
    return false;
  }
  hold(p);
  read_bytes(p, key);
  read_bytes(p, key);
  steps.end(slot);
  let_go(p);
  return true;
}

// -- the evictor. Likewise, but for the two ways to read the slots.

using names = std::vector<std::uint64_t>;
using slots = std::vector<model_word>;

inline names read_whole(const slots& all) {
  names out;
  for (auto slot : all)
    out.push_back(slot.load(std::memory_order_relaxed));
  return out;
}

inline names read_torn(const slots& all) {
  names out;
  for (auto slot : all) {
    auto low = slot.load(std::memory_order_relaxed);
    auto high = slot.load(std::memory_order_relaxed);
    out.push_back((high & ~std::uint64_t{UINT32_MAX}) | (low & UINT32_MAX));
  }
  return out;
}

struct evictor_steps {
  bool looks_first = false;
  bool settles = true;
  names (*read)(const slots& all) = &read_whole;
  bool concludes = true;
};

inline names look_settled(const slots& all, evictor_steps steps = {}) {
  if (steps.settles)
    settle<model_words>();
  auto found = steps.read(all);
  if (steps.concludes)
    conclude<model_words>();
  return found;
}

inline bool named(const names& in, std::uint64_t name) { return std::find(in.begin(), in.end(), name) != in.end(); }

// No slot names the page: its entry is deleted from RocksDB, and from then on it can be granted.
inline void give_away(const page& p) {
  require(p.held.load() == 0, "a page is taken from a reader that holds it");
  p.record.store(0, std::memory_order_seq_cst);
  p.given_away.store(1);
  count(p.evictions);
  p.state.store(2 * generation_one | is_free, std::memory_order_release);
}

inline void step_back(const page& p) {
  count(p.steps_back);
  p.state.store(old_key, std::memory_order_release);
}

// A batch; true where all victims were given away.
inline bool evict(const std::vector<page>& victims, const slots& tables, evictor_steps steps = {}) {
  names found;
  if (steps.looks_first)
    found = look_settled(tables, steps);
  for (const auto& victim : victims)
    announce<model_words>(victim.state, generation_one | is_evicting);
  if (!steps.looks_first)
    found = look_settled(tables, steps);
  bool all = true;
  for (const auto& victim : victims) {
    if (named(found, victim.name)) {
      step_back(victim);
      all = false;
    } else {
      give_away(victim);
    }
  }
  return all;
}

// marud with a page that it gave away: grants it, and commits what was written there.
inline void let_it_be_written(const page& p) {
  p.state.store(2 * generation_one | is_granted, std::memory_order_release);
  p.grant.store(1, std::memory_order_release);
  test::wait_until(p.commit, 1);
  p.given_away.store(0);
  p.state.store(new_key, std::memory_order_release);
}

// The worker that is granted the page.
inline void write_page(const page& p) {
  test::wait_until(p.grant, 1);
  require(p.held.load() == 0, "a page is granted that a reader holds");
  p.bytes.store(bytes_of(new_key), std::memory_order_relaxed);
  require(p.held.load() == 0, "a page is written that a reader holds");
  p.commit.store(1, std::memory_order_release);
}

}  // namespace maru::cxl
