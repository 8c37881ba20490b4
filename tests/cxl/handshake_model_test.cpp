// Goal: the handshake of cxl/pin_handshake.hpp keeps a pinned page, through every interleaving of a few small threads, on
// x86, on Arm, and by C++20's memory model; with kills at every step, on both sides; and it does not keep pages for
// nothing. Method: the very templates run over model words under an explorer. Ghost words note who holds what; each thread
// claims what must hold then. That the explorer would find a fault is shown by faulty variants of every step, for which
// it has to.
#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "tests/cxl/handshake_scene.hpp"
#include "tests/support/explorer.hpp"
#include "tests/support/message_views.hpp"
#include "tests/support/store_buffers.hpp"

namespace maru::cxl {
namespace {

enum class machine { x86, arm, cpp };

std::unique_ptr<test::model_memory> memory_of(machine m, const model_program& program) {
  if (m == machine::cpp)
    return std::make_unique<test::message_views>(program);
  return std::make_unique<test::store_buffers>(
    m == machine::x86 ? test::store_buffers::machine::x86 : test::store_buffers::machine::arm, program);
}

std::string name_of(const ::testing::TestParamInfo<machine>& m) {
  return m.param == machine::x86 ? "X86" : m.param == machine::arm ? "Arm" : "Cpp";
}

class Handshake : public ::testing::TestWithParam<machine> {
protected:
  model_word slot(const char* name) { return program.word(name); }

  test::findings explored() {
    auto found = explore(program, *memory_of(GetParam(), program));
    std::cout << found.executions << " executions, " << found.states << " states\n";
    EXPECT_EQ(found.violation, "") << in_lines(found.trace);
    return found;
  }

  static std::string in_lines(const std::vector<std::string>& trace) {
    std::string out;
    for (const auto& line : trace)
      out += "  " + line + "\n";
    return out;
  }

  model_program program;
};

INSTANTIATE_TEST_SUITE_P(Memory, Handshake, ::testing::Values(machine::x86, machine::arm, machine::cpp), name_of);

TEST_P(Handshake, KeepsAPinnedPageFromAnEvictor) {
  page p{program, 1};
  auto s = slot("slot");
  program.thread("reader", [&] { read_pinned(p, s, old_key); });
  program.thread("marud", [&] { evict({p}, {s}); });
  auto found = explored();
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.pins] == 1 && e[p.evictions] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.pins] == 1 && e[p.steps_back] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.pins] == 0 && e[p.evictions] == 1; }));
}

// One fence a batch. Each reader has a table of its own; one pins both pages, one after the other.
TEST_P(Handshake, KeepsThePinnedPagesOfABatch) {
  page p{program, 1}, q{program, 2};
  auto s = slot("slot of a"), t = slot("slot of b");
  program.thread("reader a", [&] {
    read_pinned(p, s, old_key);
    read_pinned(q, s, old_key);
  });
  program.thread("reader b", [&] { read_pinned(q, t, old_key); });
  program.thread("marud", [&] { evict({p, q}, {s, t}); });
  auto found = explored();
  for (auto evicted_p : {0u, 1u})
    for (auto evicted_q : {0u, 1u})
      EXPECT_TRUE(found.some([&](auto& e) { return e[p.evictions] == evicted_p && e[q.evictions] == evicted_q; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[q.pins] == 2 && e[q.steps_back] == 1 && e[p.evictions] == 1; }));
}

TEST_P(Handshake, IsTriedAgainByBoth) {
  page p{program, 1};
  auto s = slot("slot");
  program.thread("reader", [&] {
    read_pinned(p, s, old_key);
    read_pinned(p, s, old_key);
  });
  program.thread("marud", [&] { evict({p}, {s}) || evict({p}, {s}); });
  auto found = explored();
  for (auto pins : {0u, 1u, 2u})
    EXPECT_TRUE(found.some([&](auto& e) { return e[p.pins] == pins && e[p.evictions] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.pins] == 2 && e[p.steps_back] == 2; }));
}

TEST_P(Handshake, GivesReadersTheBytesOfTheirKeyWhileThePageIsReused) {
  page p{program, 1};
  auto s = slot("slot");
  auto new_reads = program.word("reads of the new key", 0, model_program::word_kind::ghost);
  program.thread("reader", [&] {
    for (int i = 0; i < 2; ++i)
      if (auto seen = look_up(p); seen != 0 && read_pinned(p, s, seen) && seen == new_key)
        count(new_reads);
  });
  program.thread("marud", [&] {
    if (evict({p}, {s}))
      let_it_be_written(p);
  });
  program.thread("writer", [&] { write_page(p); });
  auto found = explored();
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.pins] == 2 && e[new_reads] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[new_reads] == 2; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.refusals] == 1 && e[new_reads] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.steps_back] == 1; }));
}

// Where the reader dies its slot stays, and so does the page, up to the proof of death: then the table is wiped, and
// nothing keeps the page any more.
TEST_P(Handshake, KeepsThePageOfAKilledReaderUntilItIsProvenDead) {
  page p{program, 1};
  auto s = slot("slot");
  auto wiped = program.word("wiped", 0, model_program::word_kind::ghost);
  auto reader = program.thread(
    "reader", [&] { read_pinned(p, s, old_key); }, model_program::mortality::mortal);
  program.thread("marud", [&] {
    if (!evict({p}, {s})) {
      test::wait_for_end(reader);
      count(wiped, p.held.load());  // who is dead holds nothing
      p.held.store(0);
      s.store(0, std::memory_order_release);
      require(evict({p}, {s}), "the page of a dead reader is kept");
    }
    let_it_be_written(p);
  });
  program.thread("writer", [&] { write_page(p); });
  auto found = explored();
  EXPECT_TRUE(found.some([&](auto& e) { return e[wiped] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[wiped] == 0 && e[s] != 0 && e[p.pins] == 0; }));
  EXPECT_FALSE(found.some([&](auto& e) { return e[p.state] != new_key; })) << "a page was lost";
}

// The next marud finds the state word as it was left, the record, and readers that never stopped.
TEST_P(Handshake, IsFinishedByTheNextMarudAfterAKill) {
  page p{program, 1};
  auto s = slot("slot");
  auto restored = program.word("restored", 0, model_program::word_kind::ghost);
  program.thread("reader", [&] {
    for (int i = 0; i < 2; ++i)
      read_pinned(p, s, old_key);
  });
  auto marud = program.thread(
    "marud", [&] { evict({p}, {s}); }, model_program::mortality::mortal);
  program.thread("next marud", [&] {
    test::wait_for_end(marud);
    if ((p.state.load(std::memory_order_acquire) & state_mask) != is_evicting)
      return;
    if (p.record.load(std::memory_order_acquire) == 1 && named(look_settled({s}), p.name)) {
      count(restored);
      step_back(p);
    } else {
      give_away(p);
    }
  });
  auto found = explored();
  EXPECT_TRUE(found.some([&](auto& e) { return e[restored] == 1 && e[p.pins] == 2; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[restored] == 0 && e[p.pins] == 1 && e[p.evictions] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.evictions] == 2; })) << "no kill between the record and the word";
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.state] == old_key && e[p.steps_back] == 0; }));
  EXPECT_FALSE(found.some([&](auto& e) { return (e[p.state] & state_mask) == is_evicting; })) << "a page was lost";
  EXPECT_FALSE(found.some([&](auto& e) { return e[p.state] == old_key && e[p.record] == 0; }));
}

// A remove is stopped by names of keys; names of views only delay the reuse of the page. The reader makes a view from
// what it has pinned, in a second slot and by the same handshake.
TEST_P(Handshake, LetsAViewDelayTheReuseButNotTheRemoval) {
  page p{program, 1};
  auto by_key = slot("slot of the key"), by_view = slot("slot of the view");
  auto held_by_key = program.word("held by key", 0, model_program::word_kind::ghost);
  auto removed = program.word("removed", 0, model_program::word_kind::ghost);
  program.thread("reader", [&] {
    if (!take_pin<model_words>(by_key, p.name, p.state, old_key))
      return;
    hold(p);
    require(removed.load() == 0, "a key that was removed is pinned");
    held_by_key.store(1);
    read_bytes(p, old_key);
    bool viewed = take_pin<model_words>(by_view, p.name | view_kind, p.state, old_key);
    if (viewed)
      hold(p);
    end_pin<model_words>(by_key);
    held_by_key.store(0);
    let_go(p);
    if (!viewed)
      return;
    read_bytes(p, old_key);
    end_pin<model_words>(by_view);
    let_go(p);
  });
  program.thread("marud", [&] {
    announce<model_words>(p.state, generation_one | is_evicting);
    auto found = look_settled({by_key, by_view});
    if (named(found, p.name))
      return step_back(p);
    require(held_by_key.load() == 0, "a key is removed that a reader holds");
    removed.store(1 + named(found, p.name | view_kind));
    if (named(found, p.name | view_kind))
      test::wait_until(by_view, 0);  // looked at again and again
    give_away(p);
    let_it_be_written(p);
  });
  program.thread("writer", [&] { write_page(p); });
  auto found = explored();
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.steps_back] == 1 && e[p.pins] == 2; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[removed] == 1 && e[p.pins] == 0; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[removed] == 2 && e[p.state] == new_key; }));
  EXPECT_FALSE(found.some([&](auto& e) { return e[removed] != 0 && e[p.state] != new_key; })) << "a page was lost";
}

// The kernel copies a slot to marud in two halves, while the reader stores names of two pages there, one after the other.
// What comes together may be the name of a third one, which is spared for nothing.
TEST_P(Handshake, HidesNoPinWhereTheSlotIsReadTorn) {
  page p{program, 0x100000001}, q{program, 0x200000002}, third{program, 0x200000001};
  auto s = slot("slot");
  program.thread("reader", [&] {
    read_pinned(p, s, old_key);
    read_pinned(q, s, old_key);
  });
  program.thread("marud", [&] { evict({p, q, third}, {s}, {.read = &read_torn}); });
  auto found = explored();
  EXPECT_TRUE(found.some([&](auto& e) { return e[p.steps_back] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[q.steps_back] == 1; }));
  EXPECT_TRUE(found.some([&](auto& e) { return e[third.steps_back] == 1; })) << "no read was torn";
}

// -- faults that the explorer has to find

constexpr const char* taken = "a page is taken from a reader that holds it";

class FaultyHandshake : public Handshake {
protected:
  // A reader, and marud, which evicts the page and has it written again.
  void expect_violation(reader_steps reader, evictor_steps evictor, const char* claim) {
    page p{program, 1};
    auto s = slot("slot");
    program.thread("reader", [&] { read_pinned(p, s, old_key, reader); });
    program.thread("marud", [&] {
      if (evict({p}, {s}, evictor))
        let_it_be_written(p);
    });
    program.thread("writer", [&] { write_page(p); });
    expect_to_find(claim);
  }
  void expect_to_find(const char* claim) {
    auto found = explore(program, *memory_of(GetParam(), program));
    std::cout << in_lines(found.trace) << "  => " << found.violation << "\n";
    EXPECT_NE(found.violation.find(claim), std::string::npos);
  }
};

TEST_P(FaultyHandshake, IsFoundWhereTheSlotIsStoredWithRelease) {
  expect_violation({.take =
                      [](model_word slot, std::uint64_t name, model_word state, std::uint64_t expected) {
                        slot.store(name, std::memory_order_release);
                        return state.load(std::memory_order_seq_cst) == expected;
                      }},
                   {}, taken);
}

TEST_P(FaultyHandshake, IsFoundWhereTheReaderChecksBeforeItStores) {
  expect_violation({.take =
                      [](model_word slot, std::uint64_t name, model_word state, std::uint64_t expected) {
                        if (state.load(std::memory_order_seq_cst) != expected)
                          return false;
                        slot.store(name, std::memory_order_seq_cst);
                        return true;
                      }},
                   {}, taken);
}

TEST_P(FaultyHandshake, IsFoundWhereTheEvictorHasNoFence) { expect_violation({}, {.settles = false}, taken); }

TEST_P(FaultyHandshake, IsFoundWhereTheEvictorLooksBeforeItMarks) {
  expect_violation({}, {.looks_first = true}, taken);
}

// A name that moves from slot to slot without the handshake: marud may read the new slot before and the old one after.
TEST_P(FaultyHandshake, IsFoundWhereAPinIsHandedToAnotherSlot) {
  page p{program, 1};
  auto s = slot("first slot"), t = slot("second slot");
  program.thread("reader", [&] {
    if (!take_pin<model_words>(s, p.name, p.state, old_key))
      return;
    hold(p);
    t.store(p.name, std::memory_order_seq_cst);
    end_pin<model_words>(s);
    read_bytes(p, old_key);
    end_pin<model_words>(t);
    let_go(p);
  });
  program.thread("marud", [&] { evict({p}, {t, s}); });
  expect_to_find(taken);
}

// On x86 the store is a full fence for all loads; elsewhere only for those with the same order.
class FaultyHandshakeBeyondX86 : public FaultyHandshake {};

TEST_P(FaultyHandshakeBeyondX86, IsFoundWhereTheCheckIsRelaxed) {
  expect_violation({.take =
                      [](model_word slot, std::uint64_t name, model_word state, std::uint64_t expected) {
                        slot.store(name, std::memory_order_seq_cst);
                        return state.load(std::memory_order_relaxed) == expected;
                      }},
                   {}, taken);
}

// What needs loads that are done late or early to go wrong.
class FaultyHandshakeByCpp : public FaultyHandshake {};

TEST_P(FaultyHandshakeByCpp, IsFoundWhereAPinEndsRelaxed) {
  expect_violation({.end = [](model_word slot) { slot.store(0, std::memory_order_relaxed); }}, {}, "a race");
}

TEST_P(FaultyHandshakeByCpp, IsFoundWhereTheEvictorDoesNotConclude) {
  expect_violation({}, {.concludes = false}, "a race");
}

INSTANTIATE_TEST_SUITE_P(Memory, FaultyHandshake, ::testing::Values(machine::x86, machine::arm, machine::cpp), name_of);
INSTANTIATE_TEST_SUITE_P(Memory, FaultyHandshakeBeyondX86, ::testing::Values(machine::arm, machine::cpp), name_of);
INSTANTIATE_TEST_SUITE_P(Memory, FaultyHandshakeByCpp, ::testing::Values(machine::cpp), name_of);

}  // namespace
}  // namespace maru::cxl
