// Goal: a full pool goes on serving: eviction, bounds, page sizes, out of memory. Method: small pools, real processes.
#include <gtest/gtest.h>

#include <thread>

#include "tests/system/process.hpp"

namespace maru::test {
namespace {

TEST(Pressure, AGrantThatNeedsEvictionIsServed) {
  marud m{{"--pool-size=4MiB"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < 3000; ++i)
    ASSERT_TRUE(put(*c, "k" + std::to_string(i))) << i;
  EXPECT_EQ(read_back(*c, "k2999"), "ok");
  EXPECT_EQ(read_back(*c, "k0"), "missing");
  auto s = m.ask("status");
  EXPECT_GT(s["evicted"], 1500);
  EXPECT_GT(s["pages"]["committed"], 800) << "the reserve is small: " << s.dump();
  EXPECT_EQ(m.audit(), "");
}

TEST(Pressure, Invariant4_APinnedEntryIsNeverEvicted) {
  marud m{{"--pool-size=4MiB"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  std::vector<view> kept;
  for (int i = 0; i < 50; ++i) {
    auto key = "pin" + std::to_string(i);
    ASSERT_TRUE(put(*c, key));
    auto v = c->retrieve(key);
    ASSERT_TRUE(v);
    kept.push_back(std::move(*v));
  }
  for (int i = 0; i < 3000; ++i)
    ASSERT_TRUE(put(*c, "k" + std::to_string(i)));
  for (int i = 0; i < 50; ++i) {
    auto wanted = content_of("pin" + std::to_string(i), 4096);
    EXPECT_EQ(std::memcmp(kept[static_cast<std::size_t>(i)].bytes().data(), wanted.data(), wanted.size()), 0);
  }
}

TEST(Pressure, APoolFullOfPinsSaysOutOfMemoryAndRecovers) {
  marud m{{"--pool-size=2MiB"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  std::vector<view> kept;
  auto code = ec::ok;
  for (int i = 0; i < 600 && code == ec::ok; ++i) {
    auto key = "k" + std::to_string(i);
    code = put(*c, key).code();
    // Once everything else is pinned the newest key itself may go, to keep the reserve.
    if (auto v = c->retrieve(key))
      kept.push_back(std::move(*v));
  }
  EXPECT_EQ(code, ec::out_of_memory);
  EXPECT_GT(kept.size(), 400u);
  kept.clear();
  EXPECT_TRUE(eventually([&] { return put(*c, "again").code() == ec::ok; }));
}

TEST(Pressure, FourWritersOnAFullPoolNeverReadWrongBytes) {
  marud m{{"--pool-size=8MiB", "--shards=2"}};
  std::atomic<int> wrong{0}, errors{0}, reads{0};
  std::vector<std::jthread> all;
  for (int t = 0; t < 4; ++t)
    all.emplace_back([&, t] {
      auto c = m.open();
      for (int i = 0; c && i < 1500; ++i) {
        auto code = put(*c, "t" + std::to_string(t) + "k" + std::to_string(i)).code();
        errors += code != ec::ok;
        if (code != ec::ok)
          std::fprintf(stderr, "put: %s\n", std::string{to_string(code)}.c_str());
        auto at = std::to_string(i > 20 ? i - 20 : 0);
        auto own = read_back(*c, "t" + std::to_string(t) + "k" + at);
        auto others = read_back(*c, "t" + std::to_string((t + 1) % 4) + "k" + at);  // may not be there yet, or no more
        wrong += (own == "wrong") + (others == "wrong");
        reads += own == "ok";
      }
      errors += c == nullptr;
    });
  all.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(errors, 0);
  EXPECT_GT(reads, 1000);
  EXPECT_EQ(m.audit(), "");
}

TEST(Pressure, PageSizesShareThePool) {
  marud m{{"--pool-size=8MiB"}};
  auto small = m.open(), big = m.open({.chunk_bytes = 1 << 20});
  ASSERT_TRUE(small && big);
  for (int i = 0; i < 3000; ++i)  // all of the pool is 4 KiB pages now
    ASSERT_TRUE(put(*small, "s" + std::to_string(i)));
  for (int i = 0; i < 8; ++i)
    ASSERT_TRUE(put(*big, "b" + std::to_string(i), 1 << 20)) << i << " " << m.ask("status").dump();
  EXPECT_EQ(read_back(*big, "b7", 1 << 20), "ok");
  for (int i = 0; i < 3000; ++i)  // and back
    ASSERT_TRUE(put(*small, "t" + std::to_string(i))) << i << " " << m.ask("status").dump();
  EXPECT_EQ(m.audit(), "");
}

TEST(Pressure, TheOperatorEvictsWhatIsAskedFor) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(put(*c, "k" + std::to_string(i)));
  auto gone = m.ask("evict", {{"bytes", 400 * 4096}});
  EXPECT_GE(gone["evicted_pages"], 400);
  EXPECT_LT(gone["evicted_pages"], 700);
  EXPECT_EQ(read_back(*c, "k999"), "ok") << "the least recently used go first";
  EXPECT_EQ(m.audit(), "");
}

TEST(Pressure, Invariant3_EveryPageIsInExactlyOneState) {
  marud m{{"--pool-size=4MiB"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < 2000; ++i)
    ASSERT_TRUE(put(*c, "k" + std::to_string(i)));
  auto s = m.ask("status");
  auto& p = s["pages"];
  auto sum = p["free"].get<int>() + p["granted"].get<int>() + p["committed"].get<int>() + p["evicting"].get<int>()
             + p["quarantined"].get<int>();
  EXPECT_EQ(sum * 4096 + s["pool"]["unassigned_bytes"].get<int>(), 4 << 20);
  EXPECT_EQ(s["entries"], p["committed"]);
  EXPECT_EQ(m.audit(), "");
}

}  // namespace
}  // namespace maru::test
