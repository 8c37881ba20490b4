// Goal: the checker of histories accepts what a correct marud can answer, and refuses every kind of wrong answer.
// Method: histories made by hand; begin and end of each call are given.
#include "tests/crash/linearizability.hpp"

#include <gtest/gtest.h>

namespace maru::test {
namespace {

using enum verb;

std::string check(std::initializer_list<call> calls, bool evicts = false) {
  key_history h{evicts};
  for (const auto& c : calls)
    h.add(c);
  return h.violation();
}

TEST(Linearizability, AcceptsALifeInOrder) {
  EXPECT_EQ(check({{read, 0, ec::missing, 1, 2},
                   {commit, 7, ec::ok, 3, 4},
                   {commit, 8, ec::exists, 5, 6},
                   {read, 7, ec::ok, 7, 8},
                   {pin, 7, ec::ok, 9, 10},
                   {remove, 0, ec::pinned, 11, 12},
                   {unpin, 0, ec::ok, 13, 14},
                   {remove, 0, ec::ok, 15, 16},
                   {remove, 0, ec::missing, 17, 18},
                   {commit, 9, ec::ok, 19, 20}}),
            "");
}

TEST(Linearizability, ACallMayTakeEffectAnywhereBetweenItsEnds) {
  EXPECT_EQ(check({{commit, 7, ec::ok, 1, 10}, {read, 0, ec::missing, 2, 3}, {read, 7, ec::ok, 4, 5}}), "");
  EXPECT_EQ(check({{commit, 7, ec::ok, 1, 10}, {commit, 8, ec::exists, 2, 9}, {read, 7, ec::ok, 3, 4}}), "");
  EXPECT_NE(check({{commit, 7, ec::ok, 1, 10}, {read, 7, ec::ok, 2, 3}, {read, 0, ec::missing, 4, 5}}), "")
    << "seen, then unseen";
}

TEST(Linearizability, RefusesAStaleRead) {
  EXPECT_NE(
    check({{commit, 7, ec::ok, 1, 2}, {remove, 0, ec::ok, 3, 4}, {commit, 8, ec::ok, 5, 6}, {read, 7, ec::ok, 7, 8}}),
    "");
  EXPECT_NE(check({{commit, 7, ec::ok, 1, 2}, {read, 0, ec::missing, 3, 4}}), "") << "acknowledged, but not visible";
}

TEST(Linearizability, RefusesALostUpdate) {
  EXPECT_NE(check({{commit, 7, ec::ok, 1, 5}, {commit, 8, ec::ok, 2, 6}}), "") << "two first commits";
  EXPECT_NE(check({{commit, 7, ec::exists, 1, 2}}), "") << "nobody was there";
}

TEST(Linearizability, RefusesAResurrectedKey) {
  EXPECT_NE(check({{commit, 7, ec::ok, 1, 2}, {remove, 0, ec::ok, 3, 4}, {read, 7, ec::ok, 5, 6}}), "");
  EXPECT_NE(
    check({{commit, 7, ec::ok, 1, 2}, {remove, 0, ec::ok, 3, 4}, {restart, 0, ec::ok, 5, 6}, {read, 7, ec::ok, 7, 8}}),
    "")
    << "an acknowledged removal is durable";
}

TEST(Linearizability, RefusesASecondRemoval) {
  EXPECT_NE(check({{commit, 7, ec::ok, 1, 2}, {remove, 0, ec::ok, 3, 8}, {remove, 0, ec::ok, 4, 7}}), "");
  EXPECT_EQ(check({{commit, 7, ec::ok, 1, 2}, {remove, 0, ec::ok, 3, 8}, {remove, 0, ec::missing, 4, 7}}), "");
}

TEST(Linearizability, RefusesTheRemovalOfWhatIsPinned) {
  EXPECT_NE(check({{commit, 7, ec::ok, 1, 2}, {pin, 7, ec::ok, 3, 4}, {remove, 0, ec::ok, 5, 6}}), "");
  EXPECT_NE(check({{commit, 7, ec::ok, 1, 2}, {remove, 0, ec::pinned, 5, 6}}), "") << "pinned by nobody";
}

TEST(Linearizability, OnlyAPoolThatEvictsMayForget) {
  std::initializer_list<call> forgotten = {{commit, 7, ec::ok, 1, 2}, {read, 0, ec::missing, 3, 4}};
  EXPECT_NE(check(forgotten), "");
  EXPECT_EQ(check(forgotten, true), "");
  std::initializer_list<call> pinned = {
    {commit, 7, ec::ok, 1, 2}, {pin, 7, ec::ok, 3, 4}, {read, 0, ec::missing, 5, 6}};
  EXPECT_NE(check(pinned, true), "");
  std::initializer_list<call> back = {{commit, 7, ec::ok, 1, 2}, {read, 0, ec::missing, 3, 4}, {read, 7, ec::ok, 5, 6}};
  EXPECT_NE(check(back, true), "") << "evicted for good";
}

TEST(Linearizability, ACallWithoutAnAnswerTakesEffectOnceOrNever) {
  call lost{commit, 7, {}, 1};
  EXPECT_EQ(check({lost, {read, 0, ec::missing, 5, 6}}), "");
  EXPECT_EQ(check({lost, {read, 0, ec::missing, 5, 6}, {read, 7, ec::ok, 7, 8}}), "");
  EXPECT_NE(check({lost, {remove, 0, ec::ok, 5, 6}, {read, 7, ec::ok, 7, 8}}), "");
  EXPECT_NE(check({{read, 7, ec::ok, 1, 2}, {commit, 7, {}, 3}}), "") << "before it was asked for";
  call unpinned{unpin, 0, {}, 5};  // of a view that went: some time
  EXPECT_EQ(check({{commit, 7, ec::ok, 1, 2},
                   {pin, 7, ec::ok, 3, 4},
                   unpinned,
                   {remove, 0, ec::pinned, 6, 7},
                   {remove, 0, ec::ok, 8, 9}}),
            "");
}

TEST(Linearizability, OnlyARestartBringsBackWhatARemovalWithoutAnAnswerHid) {
  call c{commit, 7, ec::ok, 1, 2}, hidden{remove, 0, {}, 3}, miss{read, 0, ec::missing, 4, 5};
  call hit{read, 7, ec::ok, 8, 9};
  EXPECT_EQ(check({c, hidden, miss, {restart, 0, ec::ok, 6, 7}, hit}), "");
  EXPECT_NE(check({c, hidden, miss, hit}), "");
  EXPECT_NE(check({c, {remove, 0, ec::ok, 3, 4}, {restart, 0, ec::ok, 6, 7}, hit}), "");
}

TEST(Linearizability, ACallWithoutAnAnswerThatEndedHasNoLaterEffect) {
  call tried{remove, 0, {}, 3, 6};  // the first try of one that was sent again
  call c{commit, 7, ec::ok, 1, 2};
  EXPECT_EQ(check({c, tried, {read, 0, ec::missing, 7, 8}}), "");
  EXPECT_NE(check({c, tried, {read, 7, ec::ok, 7, 8}, {read, 0, ec::missing, 9, 10}}), "");
}

}  // namespace
}  // namespace maru::test
