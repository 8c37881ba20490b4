// Goal: with payload checksums a damaged chunk is a miss, is counted, and its page is not used again; a worker's word
// alone drops nothing. Method: real marud; the test damages bytes through its own mapping of the pool.
#include <gtest/gtest.h>

#include "tests/system/process.hpp"

namespace maru::test {
namespace {

using keys = std::vector<std::string_view>;

// Flips a bit of a chunk in the pool. The view stays pinned.
void damage(const view& v) {
  auto* bytes = const_cast<std::byte*>(v.bytes().data());
  bytes[v.bytes().size() / 2] ^= std::byte{0x10};
}

std::uint64_t quarantined(marud& m) { return m.ask("status")["pages"]["quarantined"].get<std::uint64_t>(); }

TEST(Checksums, Invariant7_ADamagedChunkIsAMissAndItsPageIsNotUsedAgain) {
  marud m{{"--payload-checksums=verify"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a") && put(*c, "b"));
  page_ref page;
  {
    auto v = c->retrieve("a");
    ASSERT_TRUE(v);
    page = v->where().page;
    damage(*v);
  }
  EXPECT_EQ(read_back(*c, "a"), "missing");
  EXPECT_EQ(read_back(*c, "b"), "ok");
  EXPECT_EQ(c->info().damaged, 1u);
  EXPECT_TRUE(eventually([&] { return quarantined(m) == 1 && m.ask("status")["entries"] == 1; }));
  EXPECT_EQ(m.metric("maru_corruption_total{kind=\"payload\"}"), "1");
  EXPECT_TRUE(put(*c, "a")) << "the key can be stored again";
  for (int i = 0; i < 9000; ++i)
    ASSERT_TRUE(put(*c, "filler" + std::to_string(i)));
  auto again = c->retrieve("filler8999");
  ASSERT_TRUE(again);
  auto entries = m.ask("ls", {{"limit", 4096}})["entries"];
  for (const auto& e : entries)
    EXPECT_FALSE(e["region"] == value_of(page.region) && e["page"] == value_of(page.page));
  EXPECT_EQ(quarantined(m), 1u);
  EXPECT_EQ(m.audit(), "");
}

TEST(Checksums, ADamagedChunkThatOthersHavePinnedGoesWithTheLastPin) {
  marud m{{"--payload-checksums=verify"}};
  auto writer = m.open();
  auto reader = m.open();
  ASSERT_TRUE(writer && reader && put(*writer, "a"));
  auto pinned = writer->retrieve("a");
  ASSERT_TRUE(pinned);
  damage(*pinned);
  EXPECT_EQ(read_back(*reader, "a"), "missing");
  EXPECT_TRUE(eventually([&] { return !(*reader->exists(keys{"a"}))[0]; })) << "a miss for everybody";
  EXPECT_EQ(quarantined(m), 0u) << "the page is still looked at";
  EXPECT_EQ(put(*writer, "a").code(), ec::exists);
  EXPECT_EQ(m.audit(), "");
  pinned = error{};
  EXPECT_TRUE(eventually([&] { return quarantined(m) == 1; }));
  EXPECT_TRUE(put(*writer, "a"));
  EXPECT_EQ(read_back(*reader, "a"), "ok");
  EXPECT_EQ(m.audit(), "");
}

TEST(Checksums, ABatchWithPrefixStopEndsAtADamagedChunk) {
  marud m{{"--payload-checksums=verify"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a") && put(*c, "b") && put(*c, "c"));
  damage(*c->retrieve("b"));
  auto all = c->retrieve_batch(keys{"a", "b", "c"});
  ASSERT_TRUE(all);
  EXPECT_TRUE((*all)[0] && !(*all)[1] && (*all)[2]);
  ASSERT_TRUE(eventually([&] { return quarantined(m) == 1; }));
  ASSERT_TRUE(put(*c, "b"));
  damage(*c->retrieve("b"));
  auto prefix = c->retrieve_batch(keys{"a", "b", "c"}, true);
  ASSERT_TRUE(prefix);
  EXPECT_TRUE((*prefix)[0] && !(*prefix)[1] && !(*prefix)[2]);
}

TEST(Checksums, BytesOfALocationAreVerifiedToo) {
  marud m{{"--payload-checksums=verify"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a"));
  auto found = c->lookup(keys{"a"}, {.pin = true});
  ASSERT_TRUE(found && found->front());
  EXPECT_TRUE(c->bytes(*found->front()));
  damage(*c->retrieve("a"));
  EXPECT_EQ(c->bytes(*found->front()).code(), ec::missing);
}

TEST(Checksums, OnWriteOnlyReadersThatAskForItVerify) {
  marud m{{"--payload-checksums=on_write"}};
  auto trusting = m.open();
  auto wary = m.open({.verify_payloads = true});
  ASSERT_TRUE(trusting && wary && put(*trusting, "a"));
  damage(*trusting->retrieve("a"));
  EXPECT_EQ(read_back(*trusting, "a"), "wrong");
  EXPECT_EQ(read_back(*wary, "a"), "missing");
}

TEST(Checksums, OffThereIsNothingToVerify) {
  marud m;
  auto c = m.open({.verify_payloads = true});
  ASSERT_TRUE(c && put(*c, "a"));
  EXPECT_EQ(c->retrieve("a")->where().checksum, 0u);
  damage(*c->retrieve("a"));
  EXPECT_EQ(read_back(*c, "a"), "wrong");
}

TEST(Checksums, AreKeptOverARestart) {
  marud m{{"--payload-checksums=verify"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a") && put(*c, "b"));
  m.kill_hard();
  ASSERT_TRUE(m.start());
  damage(*c->retrieve("a"));
  EXPECT_EQ(read_back(*c, "a"), "missing");
  EXPECT_EQ(read_back(*c, "b"), "ok");
}

}  // namespace
}  // namespace maru::test
