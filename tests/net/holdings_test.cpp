// Goal: whatever crosses a reconnect, the client's idea of its pins and grants is what the server was told.
// Method: each crossing by example: answers, unpins and commits of before the declaration, between it and its answer,
// and after; and a seeded random run (MARU_SEED) of client, lossy wire and a model server that must agree on every pin.
#include "net/holdings.hpp"
#include "tests/support/random_run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <unordered_map>

namespace maru::net {
namespace {

pin_id key(std::uint64_t n) { return {{n, n}, {}}; }
pin_id view(std::uint64_t n) { return {{n, n}, {{static_cast<region_id>(1), static_cast<page_index>(n)}, 1}}; }
bool add_pins(holdings& held, std::uint64_t wire, const std::vector<pin_id>& pins) {
  return held.add_pins(wire, pins, std::vector<page_ref>(pins.size(), page_ref{region_id{1}, {}}));
}

page_grant grant(std::uint32_t index, generation gen = 1) {
  return {{static_cast<region_id>(1), static_cast<page_index>(index)}, gen};
}

// A client with a session over a first wire.
class holdings_test : public ::testing::Test {
protected:
  holdings_test() {
    wire = held.declare().wire;
    held.start_over();
    tenure = held.tenure();
  }
  holdings held;
  std::uint64_t wire = 0, tenure = 0;
  std::vector<ec> ok{ec::ok}, gone{ec::gone}, exists{ec::exists};
};

using Holdings = holdings_test;

TEST_F(Holdings, DeclareWhatTheClientHas) {
  held.add_grants(wire, std::vector{grant(1), grant(2)});
  add_pins(held, wire, {key(1), key(1)});
  add_pins(held, wire, {view(2)});
  auto out = held.take_pages(1);
  held.doubt(tenure, out->grants);
  auto declared = held.declare();
  EXPECT_GT(declared.wire, wire);
  EXPECT_EQ(declared.grants.size(), 2u);
  EXPECT_EQ(declared.pins.size(), 3u);
}

TEST_F(Holdings, AnswersOfAnEarlierWireAreVoid) {
  held.declare();
  EXPECT_FALSE(add_pins(held, wire, {key(1)}));
  EXPECT_FALSE(add_pins(held, wire, {view(1)}));
  EXPECT_FALSE(held.add_grants(wire, std::vector{grant(1)}));
  EXPECT_EQ(held.pins(), 0u);
  EXPECT_EQ(held.idle(), 0u);
}

TEST_F(Holdings, QueuedUnpinsOfBeforeADeclarationAreNotSentAfterIt) {
  add_pins(held, wire, {view(1), view(1)});
  held.drop_view(tenure, view(1));
  auto next = held.declare();
  EXPECT_EQ(next.pins.size(), 1u);
  held.resume(next, {});
  EXPECT_TRUE(held.take_unpins(next.wire, 10).empty());
  held.drop_view(tenure, view(1));
  EXPECT_EQ(held.take_unpins(next.wire, 10).size(), 1u);
}

TEST_F(Holdings, ViewsDroppedWhileTheDeclarationIsUnderWayAreUnpinnedAfterIt) {
  add_pins(held, wire, {view(1)});
  auto next = held.declare();
  held.drop_view(tenure, view(1));
  EXPECT_TRUE(held.take_unpins(wire, 10).empty()) << "the old wire is dead";
  held.resume(next, {});
  EXPECT_EQ(held.take_unpins(next.wire, 10), std::vector{view(1)});
}

TEST_F(Holdings, LatePinsAreUnpinnedOverTheirOwnWireOnly) {
  held.unpin_later(wire, std::vector{key(1)});
  EXPECT_EQ(held.take_unpins(wire, 10).size(), 1u);
  held.declare();
  held.unpin_later(wire, std::vector{key(1)});
  EXPECT_FALSE(held.unpins_waiting());
}

TEST_F(Holdings, UnpinsAreTakenInOrderAndBounded) {
  held.unpin_later(wire, std::vector{key(1), key(2), key(3)});
  EXPECT_EQ(held.take_unpins(wire, 2), (std::vector{key(1), key(2)}));
  EXPECT_EQ(held.take_unpins(wire, 2), std::vector{key(3)});
}

TEST_F(Holdings, DropPinsTellsWhichItKnew) {
  add_pins(held, wire, {key(1)});
  add_pins(held, wire, {view(2)});
  auto dropped = held.drop_pins(std::vector{key(1), key(1), key(2), key(3)});
  EXPECT_EQ(dropped.known, (std::vector<bool>{true, false, false, false}));
  EXPECT_EQ(dropped.pins, std::vector{key(1)});
  EXPECT_EQ(held.pins(), 1u);
}

TEST_F(Holdings, AResumedSessionKeepsWhatTheServerKept) {
  held.add_grants(wire, std::vector{grant(1), grant(2), grant(3)});
  auto next = held.declare();
  std::vector<ec> kept(3, ec::gone);
  auto first = std::find(next.grants.begin(), next.grants.end(), grant(2)) - next.grants.begin();
  kept[static_cast<std::size_t>(first)] = ec::ok;
  held.resume(next, kept);
  EXPECT_EQ(held.idle(), 1u);
  EXPECT_TRUE(held.holds(tenure, grant(2)));
  EXPECT_EQ(held.tenure(), tenure);
}

TEST_F(Holdings, GrantsWithoutAnAnswerAreGone) {
  held.add_grants(wire, std::vector{grant(1)});
  held.resume(held.declare(), {});
  EXPECT_FALSE(held.holds(tenure, grant(1)));
}

TEST_F(Holdings, APageInDoubtSurvivesAResumeThatCallsItGone) {
  held.add_grants(wire, std::vector{grant(1)});
  auto out = held.take_pages(1);
  held.doubt(tenure, out->grants);
  held.resend({{}, out->grants, tenure});
  held.resume(held.declare(), gone);
  EXPECT_EQ(held.in_doubt(), 1u);
  EXPECT_EQ(held.take_resends().size(), 1u);
  held.settle(tenure, out->grants, ok);
  EXPECT_EQ(held.in_doubt(), 0u);
}

TEST_F(Holdings, ADoubtSettledAsExistsGivesThePageBack) {
  held.add_grants(wire, std::vector{grant(1)});
  auto out = held.take_pages(1);
  held.doubt(tenure, out->grants);
  held.settle(tenure, out->grants, exists);
  EXPECT_EQ(held.idle(), 1u);
}

TEST_F(Holdings, ARefusedCommitLeavesThePageOut) {
  held.add_grants(wire, std::vector{grant(1)});
  auto out = held.take_pages(1);
  held.settle(tenure, out->grants, exists);
  EXPECT_EQ(held.idle(), 0u);
  held.put_back(tenure, out->grants[0]);
  EXPECT_EQ(held.idle(), 1u);
}

TEST_F(Holdings, ANewSessionForgetsTheOldOne) {
  held.add_grants(wire, std::vector{grant(1), grant(2)});
  add_pins(held, wire, {view(1)});
  auto out = held.take_pages(1);
  held.declare();
  held.start_over();
  EXPECT_EQ(held.pins(), 0u);
  EXPECT_EQ(held.idle(), 0u);
  EXPECT_FALSE(held.holds(tenure, out->grants[0]));
  held.put_back(tenure, out->grants[0]);
  held.drop_view(tenure, view(1));
  held.resend({{}, out->grants, tenure});
  EXPECT_EQ(held.idle(), 0u);
  EXPECT_FALSE(held.unpins_waiting());
  EXPECT_TRUE(held.take_resends().empty());
}

TEST_F(Holdings, RecallGivesIdlePagesOfThisWireOnly) {
  held.add_grants(wire, std::vector{grant(1), grant(2)});
  EXPECT_TRUE(held.recall(wire + 1, 2).empty());
  EXPECT_EQ(held.recall(wire, 1).size(), 1u);
  EXPECT_EQ(held.idle(), 1u);
}

// Client and server talk over a wire that can be cut with messages in it, in both directions. After each quiet moment
// both must count the same pins, and the server never fewer than the client while messages are under way.
TEST_F(Holdings, ClientAndServerAgreeOnPinsWhateverIsCut) {
  std::mt19937_64 random{maru::test::test_seed()};
  struct packet {
    bool unpin;
    pin_id pin;
  };
  struct answer {
    std::uint64_t wire;
    pin_id pin;
  };
  std::unordered_map<pin_id, int> server, client;
  std::vector<packet> to_server;
  std::vector<answer> to_client, arrived;  // `arrived`: delivered, not yet looked at by the caller
  auto serve = [&](const packet& p) {
    if (p.unpin) {
      ASSERT_GT(server[p.pin], 0) << "an unpin too much";
      --server[p.pin];
    } else {
      ++server[p.pin];
      to_client.push_back({wire, p.pin});
    }
  };
  auto flush = [&] {
    for (auto& pin : held.take_unpins(wire, 100))
      to_server.push_back({true, pin});
  };
  for (int step = 0; step < 30000; ++step) {
    auto n = random() % 4;
    auto any = random() % 2 == 0 ? key(n) : view(n);
    switch (random() % 8) {
      case 0: to_server.push_back({false, any}); break;
      case 1:
        if (!to_server.empty()) {
          auto p = to_server.front();
          to_server.erase(to_server.begin());
          serve(p);
        }
        break;
      case 2:
        arrived.insert(arrived.end(), to_client.begin(), to_client.end());
        to_client.clear();
        break;
      case 3:
        if (!arrived.empty()) {
          auto a = arrived.back();
          arrived.pop_back();
          std::vector<pin_id> one{a.pin};
          if (random() % 3 < 2)
            client[a.pin] += add_pins(held, a.wire, one);
          else
            held.unpin_later(a.wire, one);  // its caller had given up
        }
        break;
      case 4:
        if (client[view(n)] > 0) {
          --client[view(n)];
          held.drop_view(tenure, view(n));
        }
        break;
      case 5: {
        auto dropped = held.drop_pins(std::vector{key(n)});
        EXPECT_EQ(dropped.known[0], client[key(n)] > 0);
        client[key(n)] -= dropped.known[0];
        if (random() % 2 == 0)
          held.unpin_later(dropped.wire, dropped.pins);
        else
          for (auto& known : dropped.pins)
            to_server.push_back({true, known});
        break;
      }
      case 6: flush(); break;
      case 7:
        if (random() % 20 == 0) {
          // Cut: what is under way is lost, or served first.
          while (!to_server.empty() && random() % 2 == 0) {
            auto p = to_server.front();
            to_server.erase(to_server.begin());
            serve(p);
          }
          to_server.clear();
          to_client.clear();
          auto declared = held.declare();
          server.clear();
          for (auto& pin : declared.pins)
            ++server[pin];
          wire = declared.wire;
          if (client[view(n)] > 0 && random() % 2 == 0) {
            --client[view(n)];
            held.drop_view(tenure, view(n));
          }
          held.resume(declared, {});
        }
        break;
    }
    for (auto& [pin, count] : client)
      ASSERT_GE(server[pin], count) << "the server lost a pin, step " << step;
  }
  while (!to_server.empty()) {
    auto p = to_server.front();
    to_server.erase(to_server.begin());
    serve(p);
  }
  arrived.insert(arrived.end(), to_client.begin(), to_client.end());
  for (auto& a : arrived)
    held.unpin_later(a.wire, std::vector{a.pin});
  to_server.clear();
  for (auto batch = held.take_unpins(wire, 100); !batch.empty(); batch = held.take_unpins(wire, 100))
    for (auto& pin : batch)
      serve({true, pin});
  for (auto& [pin, count] : server)
    EXPECT_EQ(count, client[pin]);
}

}  // namespace
}  // namespace maru::net
