// Goal: what a worker holds is what marud sees in its file, page by page, however many there are and however often each is
// held; and no page is both held and given up. Method: pages that crowd one line; random holds against a model (seed from
// MARU_SEED); threads that pin beside one that evicts.
#include "cxl/held_pages.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <thread>

#include "tests/cxl/session_file.hpp"
#include "tests/support/random_run.hpp"

namespace maru::cxl {
namespace {

using test::page;
using test::seen;
using test::session_file;

TEST(HeldPages, MarudSeesWhatIsHeldAndHow) {
  session_file file;
  auto worker = file.worker();
  auto reader = file.reader();
  EXPECT_FALSE(seen(reader, page(1)).any());
  auto by_key = worker->add({page(1), false}), by_view = worker->add({page(2), true});
  EXPECT_TRUE(seen(reader, page(1)).by_key);
  EXPECT_FALSE(seen(reader, page(1)).by_view);
  EXPECT_TRUE(seen(reader, page(2)).by_view);
  EXPECT_FALSE(seen(reader, page(2)).by_key);
  EXPECT_FALSE(seen(reader, page(3)).any());
  worker->drop(by_key);
  EXPECT_FALSE(seen(reader, page(1)).any());
  EXPECT_TRUE(seen(reader, page(2)).any());
  worker->drop(by_view);
  EXPECT_EQ(reader.all(), std::vector<page_hold>{});
}

TEST(HeldPages, APageIsHeldBothWaysAtTheSameTime) {
  session_file file;
  auto worker = file.worker();
  auto by_key = worker->add({page(1), false});
  worker->add({page(1), true});
  EXPECT_TRUE(seen(file.reader(), page(1)).by_key && seen(file.reader(), page(1)).by_view);
  worker->drop(by_key);
  EXPECT_TRUE(!seen(file.reader(), page(1)).by_key && seen(file.reader(), page(1)).by_view);
}

TEST(HeldPages, APinHoldsAPageWhoseStateIsAsExpected) {
  session_file file;
  auto worker = file.worker();
  test::state s;
  EXPECT_LT(worker->pin({page(1), false}, s(), 2), held_pages::refused);
  EXPECT_TRUE(seen(file.reader(), page(1)).by_key);
}

TEST(HeldPages, ARefusedPinLeavesNothing) {
  session_file file;
  auto worker = file.worker();
  test::state s{3};
  EXPECT_EQ(worker->pin({page(1), false}, s(), 2), held_pages::refused);
  EXPECT_EQ(file.reader().all(), std::vector<page_hold>{});
}

TEST(HeldPages, PinsOfOnePageAreOneSlotThatGoesWithTheLast) {
  session_file file;
  auto worker = file.worker();
  test::state s;
  std::vector<held_pages::position> taken;
  for (int i = 0; i < 5; ++i)
    taken.push_back(i % 2 ? worker->pin({page(1), false}, s(), 2) : worker->add({page(1), false}));
  EXPECT_EQ(std::set<held_pages::position>(taken.begin(), taken.end()).size(), 1u);
  EXPECT_EQ(file.reader().all().size(), 1u);
  s.word = 3;
  EXPECT_EQ(worker->pin({page(1), false}, s(), 2), held_pages::refused);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(seen(file.reader(), page(1)).any()) << "after " << i;
    worker->drop(taken[static_cast<std::size_t>(i)]);
  }
  EXPECT_EQ(file.reader().all().size(), 0u);
}

TEST(HeldPages, DroppingNoPlaceDoesNothing) {
  session_file file;
  file.worker()->drop(held_pages::none);
}

TEST(HeldPages, AFullLineHasTheNextLevelUpToTheLast) {
  session_file file;
  auto worker = file.worker();
  constexpr auto room = held_pages::levels_max * held_pages::slots_per_line;
  auto pages = test::pages_of_one_line(held_pages::levels_max - 1, room + 1);
  std::vector<held_pages::position> taken;
  for (std::size_t i = 0; i < room; ++i) {
    taken.push_back(worker->add({pages[i], false}));
    ASSERT_NE(taken.back(), held_pages::none) << i;
  }
  EXPECT_EQ(worker->add({pages[room], false}), held_pages::none);
  test::state s;
  EXPECT_EQ(worker->pin({pages[room], false}, s(), 2), held_pages::none);
  auto reader = file.reader();
  for (std::size_t i = 0; i < room; ++i)
    EXPECT_TRUE(seen(reader, pages[i]).by_key) << i;
  EXPECT_FALSE(seen(reader, pages[room]).any());
  EXPECT_EQ(reader.all().size(), room);
  EXPECT_NE(worker->add({page(0), false}), held_pages::none) << "other lines have room";
  // A place that is free again is used again, and what lies behind it is still found.
  worker->drop(taken[0]);
  EXPECT_EQ(worker->add({pages[room - 1], false}), taken[room - 1]);
  EXPECT_EQ(worker->add({pages[room], false}), taken[0]);
}

TEST(HeldPages, ManyPagesAtOnceGetTheAnswersThatEachGetsAlone) {
  session_file file;
  auto worker = file.worker();
  std::vector<page_ref> asked;
  for (std::uint32_t i = 0; i < 3000; ++i) {
    if (i % 3 == 0)
      worker->add({page(i), i % 2 == 0});
    asked.push_back(page(i));
  }
  auto reader = file.reader();
  std::vector<held_pages_reader::kinds> out(asked.size());
  ASSERT_TRUE(reader.look_up(asked, out));
  for (std::uint32_t i = 0; i < 3000; ++i) {
    EXPECT_EQ(out[i].any(), i % 3 == 0) << i;
    EXPECT_EQ(out[i].any(), seen(reader, page(i)).any()) << i;
    EXPECT_EQ(out[i].by_view, i % 6 == 0) << i;
  }
}

TEST(HeldPages, ALookAddsToWhatOtherTablesHold) {
  session_file file;
  auto p = page(1);
  held_pages_reader::kinds held{true, false};
  ASSERT_TRUE(file.reader().look_up({&p, 1}, {&held, 1}));
  EXPECT_TRUE(held.by_key);
}

TEST(HeldPages, AHundredThousandRandomHoldsAreAsAModelHasThem) {
  std::mt19937_64 random{maru::test::test_seed()};
  session_file file;
  auto worker = file.worker();
  struct held {
    held_pages::position at;
    int count;
  };
  std::map<std::uint64_t, held> model;
  test::state s;
  int without_place = 0;
  std::size_t most = 0;
  for (int step = 0; step < 400'000; ++step) {
    page_hold hold{{region_id{1 + static_cast<std::uint32_t>(random() % 4)},
                    page_index{static_cast<std::uint32_t>(random() % 40'000)}},
                   random() % 2 == 0};
    auto at = model.find(hold.word());
    if (step < 150'000 || random() % 5 < 2) {
      auto taken = random() % 2 ? worker->add(hold) : worker->pin(hold, s(), 2);
      if (taken == held_pages::none) {  // by message, then
        ASSERT_TRUE(at == model.end()) << "what is held has its place";
        ++without_place;
        continue;
      }
      ASSERT_LT(taken, held_pages::refused);
      ASSERT_TRUE(at == model.end() || at->second.at == taken);
      auto& one = model[hold.word()];
      one = {taken, one.count + 1};
    } else if (at != model.end()) {
      worker->drop(at->second.at);
      if (--at->second.count == 0)
        model.erase(at);
    }
    most = std::max(most, model.size());
  }
  EXPECT_GT(most, 100'000u);
  EXPECT_LT(without_place, 400) << "lines fill up evenly";
  std::cout << without_place << " of 400,000 found no place\n";
  std::set<std::uint64_t> wanted, found;
  for (const auto& [word, one] : model)
    wanted.insert(word);
  auto reader = file.reader();
  auto all = reader.all();
  for (const auto& hold : all)
    found.insert(hold.word());
  EXPECT_EQ(all.size(), found.size()) << "each is there once";
  EXPECT_TRUE(wanted == found) << wanted.size() << " and " << found.size();
  std::vector<page_ref> asked;
  for (std::uint32_t i = 0; i < 40'000; i += 7)
    asked.push_back({region_id{1 + i % 5}, page_index{i}});
  std::vector<held_pages_reader::kinds> out(asked.size());
  ASSERT_TRUE(reader.look_up(asked, out));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    ASSERT_EQ(out[i].by_key, wanted.contains(page_hold{asked[i], false}.word()));
    ASSERT_EQ(out[i].by_view, wanted.contains(page_hold{asked[i], true}.word()));
  }
}

TEST(HeldPages, ThreadsThatPinTheSamePagesLeaveNothingBehind) {
  session_file file;
  auto worker = file.worker();
  auto pages = test::pages_of_one_line(1, 12);  // of one line, into the second level
  test::state s;
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        std::mt19937_64 random{t};
        auto reader = file.reader();
        for (int i = 0; i < 20'000; ++i) {
          auto p = pages[random() % pages.size()];
          auto at = worker->pin({p, false}, std::atomic_ref{s.word}, 2);
          wrong += at >= held_pages::refused;
          if (i % 64 == 0)
            wrong += !seen(reader, p).by_key;
          worker->drop(at);
        }
      });
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(file.reader().all().size(), 0u);
}

// The handshake of pin_handshake.hpp, with the real fences and the kernel between the sides.
TEST(HeldPages, APageThatIsGivenUpWasPinnedByNobody) {
  session_file file;
  auto worker = file.worker();
  constexpr std::uint64_t committed = 2, evicting = 3;
  test::state s{committed};
  std::atomic<bool> stop{false}, free{false};
  std::atomic<int> both{0};
  std::atomic<std::uint64_t> pinned{0}, freed{0}, refused{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!stop) {
        auto at = worker->pin({page(1), true}, std::atomic_ref{s.word}, committed);
        if (at == held_pages::refused) {
          ++refused;
          continue;
        }
        both += free.load();
        ++pinned;
        worker->drop(at);
      }
    });
  auto reader = file.reader();
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds{2};
  while (std::chrono::steady_clock::now() < end) {
    announce(std::atomic_ref{s.word}, evicting);
    shared_words::full_fence();
    if (!seen(reader, page(1)).any()) {
      free = true;
      ++freed;
      std::this_thread::yield();
      free = false;
    }
    std::atomic_ref{s.word}.store(committed);
    std::this_thread::yield();
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(both, 0);
  EXPECT_GT(pinned, 10u);
  EXPECT_GT(freed, 10u);
  std::cout << pinned << " pinned, " << refused << " refused, " << freed << " given up\n";
}

}  // namespace
}  // namespace maru::cxl
