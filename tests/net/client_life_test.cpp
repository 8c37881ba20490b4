// Goal: a client works while many use it, gives way to marud, and ends without leaving anything behind.
// Method: as client_test.cpp; threads are looked at in /proc; the fork is a real one.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <set>

#include "tests/net/client_fixture.hpp"
#include "tests/support/child_process.hpp"

namespace maru::test {
namespace {

using Client = client_fixture;

std::set<std::string> threads() {
  std::set<std::string> ids;
  for (auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.insert(entry.path().string());
  return ids;
}

TEST_F(Client, BusyIsTriedAgain) {
  auto c = must_open();
  pool().set(op::lookup, treat::busy);
  std::thread later([this] {
    EXPECT_TRUE(soon([this] { return pool().count(op::lookup) >= 3; }));
    pool().set(op::lookup, treat::answer);
  });
  EXPECT_TRUE(c->lookup(keys{"a"}));
  later.join();
}

TEST_F(Client, AFutureThatIsReadyDoesNotWaitForMarudToBeLessBusy) {
  auto c = must_open();
  pool().set(op::exists, treat::busy);
  auto found = c->exists_async(keys{"a"});
  auto polled = [&] { return found.ready() || pool().count(op::exists) >= 4; };
  EXPECT_TRUE(soon(polled)) << "who polls has it asked again";
  EXPECT_FALSE(found.ready());
  pool().set(op::exists, treat::answer);
  EXPECT_TRUE(soon([&] { return found.ready(); }));
  auto began = steady::now();
  EXPECT_TRUE(found.get());
  EXPECT_LT(steady::now() - began, 500ms);
}

TEST_F(Client, AFutureIsReadyAtItsDeadlineWhateverMarudDoes) {
  auto o = options();
  o.timeout = 200ms;
  auto c = must_open(o);
  for (auto [how, code] : {std::pair{treat::busy, ec::busy}, std::pair{treat::ignore, ec::timeout}}) {
    pool().set(op::exists, how);
    auto found = c->exists_async(keys{"a"});
    EXPECT_FALSE(found.ready());
    EXPECT_TRUE(soon([&] { return found.ready(); }));
    EXPECT_EQ(found.get().code(), code);
  }
}

TEST_F(Client, ARefusalThatIsReadAfterTheDeadlineIsNoDoubt) {
  auto o = options();
  o.timeout = 400ms;
  auto c = must_open(o);
  auto page = c->alloc(1);
  ASSERT_TRUE(page);
  pool().set(op::commit, treat::busy);
  auto key = keys{"a"};
  auto stored = c->commit_async(key, {&*page, 1});
  auto asked = steady::now();
  while (steady::now() < asked + 300ms) {  // refused, and sent again; at the end it waits to be sent once more
    stored.ready();
    std::this_thread::sleep_for(1ms);
  }
  std::this_thread::sleep_until(asked + o.timeout);
  auto sent = pool().count(op::commit);
  EXPECT_TRUE(stored.ready());
  EXPECT_EQ(stored.get().code(), ec::busy);
  EXPECT_EQ(c->info().pages_in_doubt, 0u);
  EXPECT_EQ(pool().count(op::commit), sent);
}

TEST_F(Client, BusyUntilTheDeadlineIsBusy) {
  auto o = options();
  o.timeout = 200ms;
  auto c = must_open(o);
  pool().set(op::lookup, treat::busy);
  auto began = steady::now();
  EXPECT_EQ(c->lookup(keys{"a"}).code(), ec::busy);
  EXPECT_LT(steady::now() - began, 2s);
}

TEST_F(Client, RecalledGrantsAreGivenBack) {
  pool().lease_ms = 400;  // renews every 100 ms
  auto c = must_open();
  { ASSERT_TRUE(c->alloc(1)); }
  EXPECT_TRUE(soon([&] { return c->info().grants_in_reserve == 8; }));
  pool().recall = 5;
  EXPECT_TRUE(soon([&] { return pool().granted() == 3; }));
  EXPECT_EQ(c->info().grants_in_reserve, 3u);
}

TEST_F(Client, GrantsThatMarudDoesNotTakeBackNowStayInTheReserve) {
  pool().lease_ms = 400;
  auto c = must_open();
  { ASSERT_TRUE(c->alloc(1)); }
  EXPECT_TRUE(soon([&] { return c->info().grants_in_reserve == 8; }));
  pool().set(op::give_back, treat::busy);
  pool().recall = 5;
  EXPECT_TRUE(soon([&] { return pool().count(op::give_back) == 1 && c->info().grants_in_reserve == 8; }));
  pool().set(op::give_back, treat::answer);
  pool().recall = 5;
  EXPECT_TRUE(soon([&] { return pool().granted() == 3; }));
}

TEST_F(Client, CloseEndsTheSession) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  ASSERT_TRUE(c->pin(keys{"a"}));
  c->close();
  EXPECT_EQ(pool().sessions(), 0u);
  EXPECT_EQ(c->lookup(keys{"a"}).code(), ec::session_over);
  EXPECT_EQ(c->alloc(1).code(), ec::session_over);
  EXPECT_EQ(c->store("b", {}).code(), ec::session_over);
  EXPECT_EQ(c->unpin(keys{"a"}).code(), ec::session_over);
  EXPECT_FALSE(c->info().connected);
  c->close();
}

TEST_F(Client, AViewOutlivesTheClientAndKeepsItsPin) {
  view v;
  {
    auto c = must_open();
    ASSERT_TRUE(c->store("a", bytes_of("abc")));
    ASSERT_TRUE(c->pin(keys{"a"}));
    v = *c->retrieve("a");
  }
  EXPECT_TRUE(soon([this] { return pool().pins() == 1; })) << "the pin by key has ended";
  EXPECT_TRUE(soon([this] { return pool().granted() == 0 && pool().leaving(); })) << "and so have the grants";
  EXPECT_EQ(text_of(v.bytes()), "abc");
  EXPECT_EQ(pool().sessions(), 1u);
  v = view{};
  EXPECT_TRUE(soon([this] { return pool().sessions() == 0; }));
}

TEST_F(Client, APageThatOutlivesTheClientStaysGranted) {
  page_buffer page;
  {
    auto c = must_open();
    page = *c->alloc(3);
  }
  write(page, "abc");
  EXPECT_EQ(pool().sessions(), 1u);
  page = page_buffer{};
  EXPECT_TRUE(soon([this] { return pool().sessions() == 0; }));
}

TEST_F(Client, CloseWhileOthersWork) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  std::atomic<int> working{0};
  std::vector<std::thread> workers;
  for (int t = 0; t < 4; ++t)
    workers.emplace_back([&, t] {
      for (int i = 0;; ++i) {
        auto code =
          t % 2 == 0 ? c->retrieve("a").code() : c->store("k" + std::to_string(t) + "." + std::to_string(i), {}).code();
        if (code != ec::ok && code != ec::out_of_memory) {
          EXPECT_EQ(code, ec::session_over);
          return;
        }
        ++working;
      }
    });
  EXPECT_TRUE(soon([&] { return working > 100; }));
  c->close();
  for (auto& w : workers)
    w.join();
  EXPECT_TRUE(soon([this] { return pool().sessions() == 0; }));
}

TEST_F(Client, EightThreadsShareOneClient) {
  auto c = must_open();
  std::atomic<int> wrong{0};
  std::vector<std::thread> workers;
  for (int t = 0; t < 8; ++t)
    workers.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        auto key = "t" + std::to_string(t) + "." + std::to_string(i), other = "t" + std::to_string((t + 1) % 8) + ".0";
        std::string content = key + " content";
        wrong += !c->store(key, bytes_of(content));
        auto views = c->retrieve_batch(keys{key, other});
        wrong += !views || text_of((*views)[0].bytes()) != content;
        if (views && (*views)[1])
          wrong += text_of((*views)[1].bytes()) != other + " content";
        wrong += !(*c->pin(keys{key}))[0];
        wrong += !(*c->unpin(keys{key}))[0];
        views->clear();
        if (i > 0)
          wrong += (*c->remove(keys{key}))[0] != ec::ok;
      }
    });
  for (auto& w : workers)
    w.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(pool().entries(), 8u);
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
}

TEST_F(Client, TheRuntimeGoesWithItsLastClient) {
  auto before = threads();
  {
    auto a = must_open(), b = must_open();
    EXPECT_GT(threads().size(), before.size());
    a.reset();
    EXPECT_TRUE(b->exists(keys{"a"}));
  }
  EXPECT_TRUE(soon([&] { return threads().size() == before.size(); }));
}

TEST_F(Client, AnyThreadMayLetTheLastClientGo) {
  auto c = must_open();
  auto gone = std::async(std::launch::async, [c = std::move(c)]() mutable { c.reset(); });
  EXPECT_EQ(gone.wait_for(10s), std::future_status::ready);
}

TEST_F(Client, NoSignalLandsOnItsThreads) {
  auto before = threads();
  auto c = must_open();
  int checked = 0;
  for (auto& thread : threads()) {
    if (before.contains(thread))
      continue;
    std::ifstream status(thread + "/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("SigBlk:")) {
        // All but SIGKILL, SIGSTOP and the two that the C library keeps for itself; it blocks these while a thread begins.
        constexpr auto all = 0xfffffffe7ffbfeffu;
        std::uint64_t faults = 0;  // of the thread itself: memory that fails is survived by a handler
        for (auto fault : {SIGILL, SIGBUS, SIGFPE, SIGSEGV})
          faults |= std::uint64_t{1} << (fault - 1);
        EXPECT_EQ(std::stoull(line.substr(line.size() - 16), nullptr, 16) & all, all & ~faults)
          << thread << " " << line;
        ++checked;
      }
  }
  EXPECT_GE(checked, 3);
}

TEST_F(Client, AForkedChildIsToldToOpenItsOwn) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto v = std::make_unique<view>(*c->retrieve("a"));
  auto page = std::make_unique<page_buffer>(*c->alloc(3));
  auto pending = std::make_unique<future<std::vector<bool>>>(c->exists_async(keys{"a"}));
  auto child = in_child([&] {
    ::alarm(20);
    // One bit a claim, so that the exit code tells which failed.
    int wrong = 0;
    wrong |= 1 * (c->exists(keys{"a"}).code() != ec::session_over);
    wrong |= 2 * (c->alloc(1).code() != ec::session_over);
    wrong |= 4 * (c->commit("b", *page).code() != ec::session_over);
    wrong |= 8 * (pending->get().code() != ec::session_over);
    pending.reset();
    v.reset();
    page.reset();
    c->close();
    c.reset();
    auto own = client::open(options());
    wrong |= 16 * !own;
    if (own)
      wrong |= 32 * !(*own)->exists(keys{"a"});
    own = error{};
    return wrong;
  });
  EXPECT_EQ(child, 0);
  EXPECT_EQ(text_of(v->bytes()), "abc");
  EXPECT_TRUE(c->exists(keys{"a"})) << "the parent did not notice";
  EXPECT_EQ(pool().pins(), 1u);
}

}  // namespace
}  // namespace maru::test
