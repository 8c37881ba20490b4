// Goal: what workers see of each other through a real marud. Method: this test and child processes are the workers; every
// byte read is compared.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "tests/system/process.hpp"

namespace maru::test {
namespace {

TEST(Sharing, TwoWorkersReadOneCopyInPlace) {
  marud m;
  worker writer{m.address()}, reader{m.address()};
  EXPECT_EQ(writer.ask("put a b c"), "ok");
  EXPECT_EQ(reader.ask("get b"), "ok");
  auto c = m.open();
  ASSERT_TRUE(c);
  std::vector<std::string_view> keys = {"a"};
  auto first = c->lookup(keys), second = c->lookup(keys);
  ASSERT_TRUE(first && second && (*first)[0]);
  EXPECT_EQ((*first)[0], (*second)[0]) << "one copy, in one place";
  EXPECT_EQ(m.audit(), "");
}

TEST(Sharing, Invariant1_NothingIsVisibleBeforeItsCommit) {
  marud m;
  auto c = m.open(), other = m.open();
  ASSERT_TRUE(c && other);
  auto bytes = content_of("k", 4096);
  auto page = c->alloc(bytes.size());
  ASSERT_TRUE(page);
  std::memcpy(page->bytes().data(), bytes.data(), bytes.size());
  EXPECT_EQ(read_back(*other, "k"), "missing");
  ASSERT_TRUE(c->commit("k", *page));
  EXPECT_EQ(read_back(*other, "k"), "ok");
}

TEST(Sharing, Invariant8_FirstCommitOfAKeyWins) {
  marud m;
  auto a = m.open(), b = m.open();
  ASSERT_TRUE(a && b);
  ASSERT_TRUE(put(*a, "k"));
  std::string other(4096, 'x');
  EXPECT_EQ(b->store("k", std::as_bytes(std::span{other})).code(), ec::exists);
  EXPECT_EQ(read_back(*b, "k"), "ok") << "nothing is overwritten";
}

TEST(Sharing, ConcurrentCommitsOfOneKeyHaveOneWinner) {
  marud m;
  constexpr int threads = 8, rounds = 50;
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int r = 0; r < rounds; ++r) {
    std::atomic<int> won{0}, lost{0};
    auto key = "race-" + std::to_string(r);
    std::vector<std::jthread> all;
    for (int t = 0; t < threads; ++t)
      all.emplace_back([&] {
        auto code = put(*c, key).code();
        won += code == ec::ok;
        lost += code == ec::exists;
      });
    all.clear();
    EXPECT_EQ(won, 1);
    EXPECT_EQ(lost, threads - 1);
  }
  EXPECT_EQ(m.audit(), "");
}

TEST(Sharing, PrefixStopMissesAndPinsNothingAfterTheFirstMiss) {
  for (std::string shards : {"--shards=1", "--shards=3"}) {
    marud m{{shards}};
    auto c = m.open();
    ASSERT_TRUE(c);
    for (auto key : {"p0", "p1", "p3", "p4"})
      ASSERT_TRUE(put(*c, key));
    std::vector<std::string_view> keys = {"p0", "p1", "p2", "p3", "p4"};
    auto found = c->lookup(keys, {.pin = true, .prefix_stop = true});
    ASSERT_TRUE(found);
    EXPECT_TRUE((*found)[0] && (*found)[1]);
    EXPECT_FALSE((*found)[2] || (*found)[3] || (*found)[4]);
    EXPECT_TRUE(eventually([&] { return m.ask("status")["pins"] == 2; })) << m.ask("status").dump();
    EXPECT_EQ(m.ask("stat", {{"key_hex", "7033"}})["pins"], 0) << shards;
  }
}

TEST(Sharing, RemoveSaysRemovedMissingOrPinned) {
  marud m;
  auto c = m.open(), other = m.open();
  ASSERT_TRUE(c && other);
  ASSERT_TRUE(put(*c, "free") && put(*c, "held"));
  std::vector<std::string_view> held = {"held"}, all = {"free", "held", "never"};
  ASSERT_TRUE(other->pin(held));
  auto codes = c->remove(all);
  ASSERT_TRUE(codes);
  EXPECT_EQ(*codes, (std::vector<ec>{ec::ok, ec::pinned, ec::missing}));
  EXPECT_EQ(read_back(*c, "free"), "missing");
  EXPECT_EQ(read_back(*c, "held"), "ok");
  EXPECT_TRUE(put(*other, "free")) << "a removed key can be stored again by anybody";
  EXPECT_EQ(m.audit(), "");
}

TEST(Sharing, AViewShowsItsBytesWhateverBecomesOfItsKey) {
  marud m{{"--pool-size=4MiB"}};
  auto c = m.open(), other = m.open();
  ASSERT_TRUE(c && other && put(*c, "a"));
  auto view = other->retrieve("a");
  ASSERT_TRUE(view);
  std::vector<std::string_view> a = {"a"};
  EXPECT_EQ((*c->remove(a))[0], ec::ok);
  ASSERT_TRUE(put(*c, "a")) << "anybody can store the key again";
  for (int i = 0; i < 3000; ++i)  // three times the pool
    ASSERT_TRUE(put(*c, "filler" + std::to_string(i))) << i;
  auto wanted = content_of("a", 4096);
  EXPECT_EQ(std::memcmp(view->bytes().data(), wanted.data(), wanted.size()), 0);
  EXPECT_EQ(m.ask("status")["pages"]["evicting"], 1);
  EXPECT_EQ(m.audit(), "");
  view = error{};
  EXPECT_TRUE(eventually([&] { return m.ask("status")["pages"]["evicting"] == 0 && m.ask("status")["pins"] == 0; }));
  EXPECT_EQ(m.audit(), "");
}

TEST(Sharing, UnpinEndsOnlyPinsOfItsOwnSession) {
  marud m;
  auto a = m.open(), b = m.open();
  ASSERT_TRUE(a && b);
  ASSERT_TRUE(put(*a, "k"));
  std::vector<std::string_view> k = {"k"};
  ASSERT_TRUE(a->pin(k));
  auto foreign = b->unpin(k);
  ASSERT_TRUE(foreign);
  EXPECT_FALSE((*foreign)[0]);
  EXPECT_EQ((*b->remove(k))[0], ec::pinned);
  EXPECT_TRUE((*a->unpin(k))[0]);
  EXPECT_FALSE((*a->unpin(k))[0]) << "a pin cannot underflow";
  EXPECT_EQ((*b->remove(k))[0], ec::ok);
}

TEST(Sharing, ManyWorkersOnSeveralShardsKeepEveryByte) {
  marud m{{"--shards=4", "--pool-size=32MiB"}};
  std::vector<std::jthread> all;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    all.emplace_back([&, t] {
      auto c = m.open();
      if (!c) {
        ++wrong;
        return;
      }
      for (int i = 0; i < 200; ++i) {
        auto key = "w" + std::to_string((t * 100 + i) % 500);
        auto code = put(*c, key).code();
        wrong += code != ec::ok && code != ec::exists;
        wrong += read_back(*c, key) != "ok";
      }
    });
  all.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(m.audit(), "");
}

}  // namespace
}  // namespace maru::test
