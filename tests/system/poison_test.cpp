// Goal: memory that fails costs the chunk that was in it and nothing else: the worker's call gets an error, both processes live,
// all other keys are served, and the page is never used again, by any marud. Method: real marud on a pool that is full up to the
// last page of its file, which is then cut by that page; a touch of it raises SIGBUS, as poisoned memory does.
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/bounds.hpp"
#include "tests/support/environment_variable.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

using keys = std::vector<std::string_view>;
constexpr std::size_t page_bytes = 4096, pool_bytes = 2 * bounds::MiB;

class poison : public ::testing::Test {
protected:
  explicit poison(std::vector<std::string> more = {}) : server(options(std::move(more))) {}

  static std::vector<std::string> options(std::vector<std::string> more) {
    more.push_back("--pool-size=2MiB");
    return more;
  }
  std::string last_page() const {
    std::string bytes(page_bytes, '\0');
    std::ifstream in{server.pool(), std::ios::binary};
    in.seekg(pool_bytes - page_bytes).read(bytes.data(), page_bytes);
    return bytes;
  }
  // Stores chunks until one lies in the last page of the file: its key.
  std::string fill_last_page(client& c) {
    for (int n = 0; n < 4000; ++n) {
      auto key = "key" + std::to_string(n);
      EXPECT_TRUE(put(c, key));
      if (last_page() == content_of(key, page_bytes))
        return key;
    }
    ADD_FAILURE() << "no chunk came to lie in the last page";
    return {};
  }
  static void write(page_buffer& page, const std::string& key) {
    std::memcpy(page.bytes().data(), content_of(key, page_bytes).data(), page_bytes);
  }
  // Stores chunks until the page for the next one is the last of the file: that page.
  page_buffer take_last_page(client& c) {
    for (int n = 0; n < 4000; ++n) {
      auto key = "key" + std::to_string(n);
      auto p = c.alloc(page_bytes);
      if (!p)
        break;
      write(*p, key);
      if (last_page() == content_of(key, page_bytes))
        return *std::move(p);
      EXPECT_TRUE(c.commit(key, *p));
    }
    ADD_FAILURE() << "nobody was granted the last page";
    return {};
  }
  void cut_last_page() const { std::filesystem::resize_file(server.pool(), pool_bytes - page_bytes); }
  void mend_file() const { std::filesystem::resize_file(server.pool(), pool_bytes); }

  std::uint64_t retired() { return pages(server, "retired"); }
  // More chunks than the pool has pages: every page that can be used is.
  void use_every_page(client& c) {
    constexpr int all = pool_bytes / page_bytes + 200;
    for (int n = 0; n < all; ++n)
      ASSERT_TRUE(put(c, "filler" + std::to_string(n)));
    for (int n = all - 100; n < all; ++n)
      EXPECT_EQ(read_back(c, "filler" + std::to_string(n)), "ok");
  }
  void expect_unused(page_ref page) {
    auto listed = server.ask("ls", {{"limit", 4096}});
    EXPECT_FALSE(listed["entries"].empty());
    for (const auto& e : listed["entries"])
      EXPECT_FALSE(e["region"] == value_of(page.region) && e["page"] == value_of(page.page));
  }

  void expect_never_used_again(client& c, page_ref page) {
    use_every_page(c);
    expect_unused(page);
    EXPECT_EQ(server.audit(), "");
  }

  marud server;
};

class poison_with_checksums : public poison {
protected:
  poison_with_checksums() : poison({"--payload-checksums=verify"}) {}
};

TEST_F(poison, AReaderInPlaceIsToldAndThePageIsNeverUsedAgain) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  ASSERT_TRUE(put(*c, "other"));
  page_ref page;
  {
    auto v = c->retrieve(key);
    ASSERT_TRUE(v);
    page = v->where().page;
    EXPECT_TRUE(v->intact());
    cut_last_page();
    EXPECT_EQ(v->bytes()[17], std::byte{0}) << "and the process lives";
    EXPECT_FALSE(v->intact());
    EXPECT_EQ(read_back(*c, "other"), "ok");
  }
  ASSERT_TRUE(eventually([&] { return retired() == 1; })) << server.log();
  EXPECT_EQ(read_back(*c, key), "missing");
  EXPECT_EQ(server.metric("maru_memory_failures_total"), "1");
  EXPECT_TRUE(eventually([&] { return server.metric("maru_pages{state=\"retired\"}") == "1"; }))
    << "shown once a second";
  EXPECT_TRUE(put(*c, key)) << "the chunk can be stored again";
  expect_never_used_again(*c, page);
}

TEST_F(poison, APageStaysRetiredOverARestart) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  auto page = c->retrieve(key)->where().page;
  cut_last_page();
  EXPECT_EQ(c->retrieve(key)->bytes()[0], std::byte{0});
  ASSERT_TRUE(eventually([&] { return retired() == 1; }));
  server.kill_hard();
  mend_file();  // a file that is too short is refused
  ASSERT_TRUE(server.start()) << server.log();
  EXPECT_EQ(retired(), 1u);
  EXPECT_EQ(read_back(*c, key), "missing");
  use_every_page(*c);
  expect_unused(page);
  EXPECT_EQ(retired(), 1u);
  EXPECT_EQ(server.audit(), "");
}

TEST_F(poison, AWriterGetsAnErrorForItsChunkAndItsPageIsRetired) {
  auto c = server.open();
  auto last = take_last_page(*c);
  auto beside = c->alloc(page_bytes);
  ASSERT_TRUE(last && beside);
  auto page = last.grant().page;
  cut_last_page();
  for (auto* p : {&last, &*beside})
    write(*p, "good");
  std::vector<page_buffer> two;
  two.push_back(std::move(last));
  two.push_back(std::move(*beside));
  auto codes = c->commit_batch(keys{"lost", "good"}, two);
  ASSERT_TRUE(codes) << to_string(codes.error());
  EXPECT_EQ(*codes, (std::vector<ec>{ec::memory_failed, ec::ok}));
  EXPECT_FALSE(two[0]) << "not to be written again";
  EXPECT_EQ(read_back(*c, "lost"), "missing");
  EXPECT_EQ(read_back(*c, "good"), "ok");
  ASSERT_TRUE(eventually([&] { return retired() == 1; })) << server.log();
  expect_never_used_again(*c, page);
}

TEST_F(poison, AWorkersWordAloneRetiresNothing) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  auto v = c->retrieve(key);
  server.body().signal(SIGSTOP);  // until all is as it was
  cut_last_page();
  EXPECT_EQ(v->bytes()[0], std::byte{0});
  mend_file();
  EXPECT_FALSE(v->intact()) << "this worker has lost its sight of the page all the same";
  server.body().signal(SIGCONT);
  ASSERT_TRUE(eventually([&] { return server.metric("maru_payload_check_total{result=\"intact\"}") == "1"; }));
  EXPECT_EQ(c->retrieve(key).code(), ec::memory_failed) << "no byte of it is shown any more";
  EXPECT_EQ(retired(), 0u);
  EXPECT_EQ(server.metric("maru_memory_failures_total"), "0");
  EXPECT_EQ(server.ask("ls", {{"limit", 4096}})["entries"].size(), server.ask("status")["entries"]);
}

TEST_F(poison, ABatchServesAllChunksButTheLostOne) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  ASSERT_TRUE(put(*c, "a") && put(*c, "z"));
  auto held = c->retrieve(key);  // keeps the page, so that the key stays for this test
  cut_last_page();
  EXPECT_EQ(held->bytes()[0], std::byte{0});
  auto views = c->retrieve_batch(keys{"a", key, "z"});
  ASSERT_TRUE(views) << to_string(views.error());
  EXPECT_TRUE((*views)[0] && !(*views)[1] && (*views)[2]);
  auto prefix = c->retrieve_batch(keys{"a", key, "z"}, true);
  EXPECT_TRUE((*prefix)[0] && !(*prefix)[1] && !(*prefix)[2]);
}

TEST_F(poison_with_checksums, ALookAtTheBytesThatMeetsFailedMemoryIsAnErrorOfThatCall) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  auto held = c->retrieve(key);
  auto pinned = c->lookup(keys{key}, {.pin = true});
  ASSERT_TRUE(held && pinned && pinned->front());
  cut_last_page();
  EXPECT_EQ(c->bytes(*pinned->front()).code(), ec::memory_failed);
  EXPECT_EQ(c->info().damaged, 0u) << "lost, not damaged";
  EXPECT_FALSE(held->intact());
  ASSERT_TRUE(eventually([&] { return server.metric("maru_memory_failures_total") == "1"; })) << server.log();
  EXPECT_EQ(server.metric("maru_corruption_total{kind=\"payload\"}"), "0");
  EXPECT_TRUE(eventually([&] { return !(*c->exists(keys{key}))[0]; })) << "a miss for everybody";
  EXPECT_EQ(retired(), 0u) << "the page is held";
  held = error{};
  EXPECT_TRUE((*c->unpin(keys{key}))[0]);
  EXPECT_TRUE(eventually([&] { return retired() == 1; }));
  EXPECT_EQ(server.audit(), "");
}

TEST_F(poison, AWorkerProcessThatReadsALostChunkLives) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  worker w{server.address()};
  EXPECT_EQ(w.ask("get " + key), "ok");
  cut_last_page();
  EXPECT_EQ(w.ask("get " + key), "memory_failed");
  ASSERT_TRUE(put(*c, "a"));
  EXPECT_EQ(w.ask("get a"), "ok");
}

TEST_F(poison, WhereTouchesAreNotGuardedACallIsToldAllTheSame) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  environment_variable off{"MARU_GUARD_MEMORY", "0"};
  worker w{server.address()};
  EXPECT_EQ(w.ask("get " + key), "ok");
  cut_last_page();
  EXPECT_EQ(w.ask("get " + key), "memory_failed");
  ASSERT_TRUE(eventually([&] { return retired() == 1; })) << server.log();
  EXPECT_EQ(w.ask("get " + key), "missing");
}

TEST_F(poison, WhereTouchesAreNotGuardedAReaderInPlaceDiesOfIt) {
  auto c = server.open();
  auto key = fill_last_page(*c);
  environment_variable off{"MARU_GUARD_MEMORY", "0"};
  environment_variable no_handler{"ASAN_OPTIONS", "handle_sigbus=0"};  // of a sanitizer, which exits
  worker w{server.address()};
  EXPECT_EQ(w.ask("view " + key), "ok");
  cut_last_page();
  w.body().say("look");
  EXPECT_EQ(w.body().wait_signal(), SIGBUS);
}

// On a machine that is there for it: memory that is poisoned indeed.
TEST_F(poison, PoisonedMemoryIsRetired) {
  if (auto* asked = std::getenv("MARU_TEST_HWPOISON"); asked == nullptr || std::string_view{asked} != "1")
    GTEST_SKIP() << "memory is poisoned only where MARU_TEST_HWPOISON=1 says that the machine is there for it";
  auto c = server.open();
  ASSERT_TRUE(put(*c, "a") && put(*c, "b"));
  auto v = c->retrieve("a");
  ASSERT_TRUE(v);
  ASSERT_EQ(::madvise(const_cast<std::byte*>(v->bytes().data()), page_bytes, MADV_HWPOISON), 0) << std::strerror(errno);
  EXPECT_EQ(v->bytes()[0], std::byte{0});
  EXPECT_FALSE(v->intact());
  auto page = v->where().page;
  v = error{};
  ASSERT_TRUE(eventually([&] { return retired() == 1; })) << server.log();
  EXPECT_EQ(read_back(*c, "a"), "missing");
  EXPECT_EQ(read_back(*c, "b"), "ok");
  use_every_page(*c);
  expect_unused(page);
  server.kill_hard();
  ASSERT_TRUE(server.start()) << server.log();
  EXPECT_EQ(retired(), 1u);
}

}  // namespace
}  // namespace maru::test
