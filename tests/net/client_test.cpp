// Goal: the client does what net/client.hpp says while its marud is there: open, puts, reads, pins, bounds, deadlines.
// Method: real clients against a fake marud in this process (fake_marud.hpp), over loopback and a real data file.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/bounds.hpp"
#include "tests/net/client_fixture.hpp"
#include "tests/support/child_process.hpp"

namespace maru::test {
namespace {

using Client = client_fixture;

// A socket that takes connections and says nothing.
class silent_server {
public:
  silent_server() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(fd_, 8), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    port_ = ntohs(at.sin_port);
  }
  ~silent_server() { ::close(fd_); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

private:
  int fd_;
  std::uint16_t port_ = 0;
};

std::set<std::string> threads() {
  std::set<std::string> ids;
  for (auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    ids.insert(entry.path().string());
  return ids;
}

// -- open

TEST_F(Client, OpenTellsWhatItJoined) {
  auto c = must_open();
  auto info = c->info();
  EXPECT_TRUE(info.connected);
  EXPECT_NE(info.session, 0u);
  EXPECT_EQ(info.page_bytes, fake_pool::page_bytes);
  EXPECT_EQ(info.pool_path, pool().path());
  EXPECT_EQ(info.pool, "70707070-7070-7070-7070-707070707070");
  auto hello = pool().last_hello();
  EXPECT_EQ(hello.version, net::protocol_version);
  EXPECT_EQ(hello.boot_id.size(), 16u);
  EXPECT_FALSE(hello.instance.empty());
  EXPECT_FALSE(hello.host.empty());
}

TEST_F(Client, OpenProvesThatTheProcessLives) {
  auto c = must_open();
  auto path = pool().folder() + "/" + std::to_string(c->info().session) + ".lock";
  EXPECT_EQ(file_lock::acquire(path).code(), ec::in_use);
  c->close();
  EXPECT_TRUE(file_lock::acquire(path));
}

TEST_F(Client, OpenIsUnavailableWhereNobodyListens) {
  auto o = options();
  o.timeout = 300ms;
  marud.stop();
  auto began = steady::now();
  auto opened = client::open(o);
  EXPECT_EQ(opened.code(), ec::unavailable);
  EXPECT_NE(opened.error().message.find(o.server), std::string::npos) << opened.error().message;
  EXPECT_GE(steady::now() - began, 300ms);
  EXPECT_LT(steady::now() - began, 3s);
}

TEST_F(Client, OpenWaitsForAServerThatComesLate) {
  auto o = options();
  marud.stop();
  std::thread late([this] {
    std::this_thread::sleep_for(100ms);
    marud.start();
  });
  EXPECT_TRUE(client::open(o));
  late.join();
}

TEST_F(Client, OpenAgainstASilentSocketEndsAtItsDeadline) {
  silent_server silent;
  auto o = options();
  o.server = silent.address();
  o.timeout = 300ms;
  auto began = steady::now();
  EXPECT_EQ(client::open(o).code(), ec::unavailable);
  EXPECT_LT(steady::now() - began, 3s);
}

TEST_F(Client, OpenAgainstAMarudThatNeverAnswersHelloEndsAtItsDeadline) {
  pool().set(op::hello, treat::ignore);
  auto o = options();
  o.timeout = 300ms;
  EXPECT_EQ(client::open(o).code(), ec::unavailable);
}

TEST_F(Client, OpenPassesOnWhyMarudRefuses) {
  auto o = options();
  for (auto code : {ec::refused, ec::version_mismatch}) {
    pool().refuse_hello = static_cast<std::uint8_t>(code);
    auto began = steady::now();
    auto opened = client::open(o);
    EXPECT_EQ(opened.code(), code);
    EXPECT_NE(opened.error().message.find("the test says so"), std::string::npos);
    EXPECT_LT(steady::now() - began, 4s) << "trying again would not help";
  }
}

TEST_F(Client, OpenTriesAgainWhileMarudIsBusy) {
  pool().refuse_hello = static_cast<std::uint8_t>(ec::busy);
  std::thread later([this] {
    EXPECT_TRUE(soon([this] { return pool().count(op::hello) >= 2; }));
    pool().refuse_hello = 0;
  });
  EXPECT_TRUE(client::open(options()));
  later.join();
}

TEST_F(Client, OpenNamesThePathItCannotMap) {
  auto o = options();
  o.pool_path = "/nonexistent/pool";
  auto opened = client::open(o);
  EXPECT_EQ(opened.code(), ec::io);
  EXPECT_NE(opened.error().message.find("/nonexistent/pool"), std::string::npos);
  EXPECT_NE(opened.error().message.find("pool_path"), std::string::npos);
  EXPECT_TRUE(soon([this] { return pool().sessions() == 0; })) << "the session was ended";
}

TEST_F(Client, OpenRefusesAFileOfAnotherSize) {
  pool().claimed_bytes = 2 * fake_pool::data_bytes;
  auto opened = client::open(options());
  EXPECT_EQ(opened.code(), ec::unknown_contents);
  EXPECT_NE(opened.error().message.find(pool().path()), std::string::npos);
}

TEST_F(Client, ThePathComesFromOptionThenEnvironmentThenMarud) {
  std::filesystem::create_symlink(pool().path(), pool().folder() + "/a");
  std::filesystem::create_symlink(pool().path(), pool().folder() + "/b");
  ::setenv("MARU_POOL_PATH", (pool().folder() + "/a").c_str(), 1);
  auto o = options();
  EXPECT_EQ(must_open(o)->info().pool_path, pool().folder() + "/a");
  o.pool_path = pool().folder() + "/b";
  EXPECT_EQ(must_open(o)->info().pool_path, o.pool_path);
  ::unsetenv("MARU_POOL_PATH");
}

TEST_F(Client, AnAddressThatIsNoneIsABadOption) {
  auto o = options();
  for (auto* bad : {"", "localhost", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"}) {
    o.server = bad;
    EXPECT_EQ(client::open(o).code(), ec::bad_option) << bad;
  }
}

// -- puts

TEST_F(Client, AStoredChunkIsRetrievedInPlace) {
  auto writer = must_open(), reader = must_open();
  ASSERT_TRUE(writer->store("key", bytes_of("content")));
  auto v = reader->retrieve("key");
  ASSERT_TRUE(v) << to_string(v.error());
  EXPECT_EQ(text_of(v->bytes()), "content");
  EXPECT_EQ(v->where().length, 7u);
}

TEST_F(Client, AnEmptyChunkIsAChunk) {
  auto c = must_open();
  ASSERT_TRUE(c->store("empty", {}));
  EXPECT_EQ(c->retrieve("empty")->bytes().size(), 0u);
}

TEST_F(Client, TheFirstCommitWinsAndTheSecondKeepsItsPage) {
  auto c = must_open();
  ASSERT_TRUE(c->store("key", bytes_of("first")));
  auto page = c->alloc(6);
  write(*page, "second");
  EXPECT_EQ(c->commit("key", *page).code(), ec::exists);
  ASSERT_TRUE(*page);
  EXPECT_TRUE(c->commit("other", *page));
  EXPECT_FALSE(*page);
  EXPECT_EQ(text_of(c->retrieve("key")->bytes()), "first");
  EXPECT_EQ(text_of(c->retrieve("other")->bytes()), "second");
}

TEST_F(Client, AllocSendsNothingWhileGrantsAreInReserve) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  { ASSERT_TRUE(c->alloc(1)); }
  EXPECT_EQ(pool().count(op::grant), 1);
  EXPECT_EQ(pool().count(op::regions), 1);
  std::vector<page_buffer> pages;
  for (int i = 0; i < 8; ++i)
    pages.push_back(*c->alloc(1));
  EXPECT_EQ(pool().count(op::grant), 1);
  EXPECT_EQ(pool().count(op::regions), 1);
  EXPECT_EQ(c->info().grants_in_reserve, 0u);
  pages.push_back(*c->alloc(1));
  EXPECT_EQ(pool().count(op::grant), 2);
}

TEST_F(Client, TheReserveIsRefilledBeforeItRunsOut) {
  auto c = must_open();
  std::vector<page_buffer> pages;
  for (int i = 0; i < 30; ++i) {
    pages.push_back(*c->alloc(1));
    ASSERT_TRUE(soon([&] { return c->info().grants_in_reserve >= 4; }));
  }
  std::set<page_ref> distinct;
  for (auto& p : pages)
    distinct.insert(p.grant().page);
  EXPECT_EQ(distinct.size(), 30u);
}

TEST_F(Client, AReaderTakesNoGrants) {
  auto c = must_open();
  EXPECT_EQ(c->retrieve("nothing").code(), ec::missing);
  EXPECT_EQ(pool().count(op::grant), 0);
}

TEST_F(Client, ADestroyedPageReturnsToTheReserve) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  page_ref first;
  {
    auto page = c->alloc(10);
    first = page->grant().page;
    EXPECT_EQ(c->info().grants_in_reserve, 7u);
    auto moved = std::move(*page);
    EXPECT_FALSE(*page);
    EXPECT_TRUE(moved);
  }
  EXPECT_EQ(c->info().grants_in_reserve, 8u);
  EXPECT_EQ(c->alloc(10)->grant().page, first);
}

TEST_F(Client, AllocBatchIsAllOrNone) {
  pool().pages_max = 20;
  auto c = must_open();
  auto some = c->alloc_batch(12, 100);
  ASSERT_TRUE(some);
  EXPECT_EQ(some->size(), 12u);
  EXPECT_EQ(c->alloc_batch(12, 100).code(), ec::out_of_memory);
  EXPECT_TRUE(c->alloc_batch(8, 100)) << "what was fetched for the refused batch is in reserve";
  EXPECT_EQ(c->alloc_batch(0, 100)->size(), 0u);
  EXPECT_EQ(c->alloc_batch(bounds::batch_items_max + 1, 1).code(), ec::too_large);
}

TEST_F(Client, AllocHoldsAPageAtMost) {
  auto c = must_open();
  EXPECT_EQ(c->alloc(fake_pool::page_bytes)->bytes().size(), fake_pool::page_bytes);
  EXPECT_EQ(c->alloc(fake_pool::page_bytes + 1).code(), ec::too_large);
}

TEST_F(Client, CommitBatchAnswersPerKey) {
  auto c = must_open();
  ASSERT_TRUE(c->store("taken", bytes_of("x")));
  auto pages = c->alloc_batch(5, 1);
  for (auto& p : *pages)
    write(p, "y");
  std::string big(bounds::key_bytes_max + 1, 'k');
  auto codes = c->commit_batch(keys{"a", "taken", "", big, "b"}, *pages);
  ASSERT_TRUE(codes);
  EXPECT_EQ(*codes, (std::vector{ec::ok, ec::exists, ec::invalid, ec::too_large, ec::ok}));
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_EQ(bool((*pages)[i]), (*codes)[i] != ec::ok) << i;
  EXPECT_EQ(c->commit_batch(keys{"a"}, *pages).code(), ec::invalid);
}

TEST_F(Client, PagesThatAreNoneOrSomebodyElsesAreNotCommitted) {
  auto a = must_open(), b = must_open();
  page_buffer empty;
  EXPECT_EQ(a->commit("key", empty).code(), ec::not_granted);
  auto foreign = b->alloc(1);
  EXPECT_EQ(a->commit("key", *foreign).code(), ec::not_granted);
  EXPECT_TRUE(*foreign);
  EXPECT_EQ(pool().count(op::commit), 0);
}

TEST_F(Client, AsyncCommitTakesThePagesAndReturnsTheRefused) {
  auto o = options();
  o.fetch_ahead = false;
  auto c = must_open(o);
  ASSERT_TRUE(c->store("taken", bytes_of("x")));
  auto pages = c->alloc_batch(2, 1);
  auto answer = c->commit_async(keys{"taken", "new"}, *pages);
  EXPECT_FALSE((*pages)[0]);
  EXPECT_FALSE((*pages)[1]);
  EXPECT_EQ(*answer.get(), (std::vector{ec::exists, ec::ok}));
  EXPECT_EQ(c->info().grants_in_reserve, 6u);
  EXPECT_EQ(answer.get().code(), ec::invalid) << "a second time";
}

// -- reads and pins

TEST_F(Client, LookupTellsLocationsAndMisses) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("aaa")));
  auto found = c->lookup(keys{"a", "b", "a"});
  ASSERT_TRUE(found);
  EXPECT_TRUE((*found)[0]);
  EXPECT_FALSE((*found)[1]);
  EXPECT_EQ((*found)[0], (*found)[2]);
  EXPECT_EQ(pool().pins(), 0u);
  EXPECT_EQ(*c->exists(keys{"a", "b"}), (std::vector<bool>{true, false}));
}

TEST_F(Client, PrefixStopAndPinTravelAsFlags) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("1")));
  ASSERT_TRUE(c->store("c", bytes_of("2")));
  auto found = c->lookup(keys{"a", "b", "c"}, {.pin = true, .prefix_stop = true});
  EXPECT_FALSE((*found)[2]);
  EXPECT_EQ(pool().pins(), 1u);
  EXPECT_EQ(*c->pin(keys{"a", "b", "c"}), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(*c->pin(keys{"a", "b", "c"}, true), (std::vector<bool>{true, false, false}));
  auto views = c->retrieve_batch(keys{"a", "b", "c"}, true);
  EXPECT_FALSE((*views)[2]);
  EXPECT_EQ(pool().last_flags(), (std::vector<std::uint8_t>{3, 1, 3, 3}));
}

TEST_F(Client, PinnedLocationsHaveBytes) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto reader = must_open();
  auto found = reader->lookup(keys{"a"}, {.pin = true});
  EXPECT_EQ(text_of(*reader->bytes(*(*found)[0])), "abc");
  location nowhere = *(*found)[0];
  nowhere.page.region = region_id{99};
  EXPECT_EQ(reader->bytes(nowhere).code(), ec::missing);
}

TEST_F(Client, UnpinEndsAsManyPinsAsThereWere) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  ASSERT_TRUE(c->pin(keys{"a", "a"}));
  EXPECT_EQ(pool().pins(), 2u);
  EXPECT_EQ(*c->unpin(keys{"a", "a", "a", "b"}), (std::vector<bool>{true, true, false, false}));
  EXPECT_EQ(pool().pins(), 0u);
}

TEST_F(Client, UnpinByKeyLeavesAViewsPin) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto v = c->retrieve("a");
  EXPECT_EQ(*c->unpin(keys{"a"}), std::vector<bool>{false});
  EXPECT_EQ(pool().pins(), 1u);
}

TEST_F(Client, AViewsPinEndsWithIt) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  {
    auto v = c->retrieve("a");
    auto moved = std::move(*v);
    EXPECT_TRUE(moved);
    EXPECT_FALSE(*v);
    EXPECT_EQ(pool().pins(), 1u);
  }
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
}

TEST_F(Client, ManyViewsAreUnpinnedInFewMessages) {
  auto o = options();
  o.grant_batch = 100;
  auto c = must_open(o);
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i)
    names.push_back("key" + std::to_string(i));
  for (auto& n : names)
    ASSERT_TRUE(c->store(n, bytes_of(n)));
  auto views = c->retrieve_batch(keys(names.begin(), names.end()));
  ASSERT_TRUE(views);
  EXPECT_EQ(pool().pins(), 100u);
  pool().set(op::unpin, treat::hold);
  views->clear();
  EXPECT_TRUE(soon([this] { return pool().count(op::unpin) == 1; }));
  pool().set(op::unpin, treat::answer);
  marud.release();
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
  EXPECT_LE(pool().count(op::unpin), 2);
}

TEST_F(Client, RemoveRightAfterAViewIsGoneFindsItUnpinned) {
  auto c = must_open();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(c->store("a", bytes_of("abc")));
    {
      auto v = c->retrieve("a");
      EXPECT_EQ((*c->remove(keys{"a"}))[0], ec::pinned);
    }
    ASSERT_EQ((*c->remove(keys{"a"}))[0], ec::ok);
    ASSERT_EQ((*c->remove(keys{"a"}))[0], ec::missing);
  }
}

TEST_F(Client, RefusesKeysAndBatchesOutOfBoundsWithoutSending) {
  auto c = must_open();
  std::string big(bounds::key_bytes_max + 1, 'k'), most(bounds::key_bytes_max, 'k');
  keys many(bounds::batch_items_max + 1, "k");
  EXPECT_EQ(c->lookup(keys{"a", ""}).code(), ec::invalid);
  EXPECT_EQ(c->lookup(keys{big}).code(), ec::too_large);
  EXPECT_EQ(c->lookup(many).code(), ec::too_large);
  EXPECT_EQ(c->exists(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->exists(many).code(), ec::too_large);
  EXPECT_EQ(c->pin(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->pin(many).code(), ec::too_large);
  EXPECT_EQ(c->unpin(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->unpin(many).code(), ec::too_large);
  EXPECT_EQ(c->remove(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->remove(many).code(), ec::too_large);
  EXPECT_EQ(c->retrieve("").code(), ec::invalid);
  EXPECT_EQ(c->retrieve_batch(many).code(), ec::too_large);
  EXPECT_EQ(c->store("", bytes_of("x")).code(), ec::invalid);
  EXPECT_EQ(c->store(big, bytes_of("x")).code(), ec::too_large);
  for (auto what : {op::lookup, op::exists, op::unpin, op::remove, op::commit})
    EXPECT_EQ(pool().count(what), 0);
  EXPECT_TRUE(c->lookup(keys{most}));
  many.pop_back();
  EXPECT_EQ(c->lookup(many)->size(), bounds::batch_items_max);
  EXPECT_EQ(c->lookup(keys{})->size(), 0u);
}

TEST_F(Client, FuturesAreReadyWhenTheAnswerIsThere) {
  auto c = must_open();
  pool().set(op::exists, treat::hold);
  auto first = c->exists_async(keys{"a"});
  auto second = c->exists_async(keys{"a", "b"});
  EXPECT_TRUE(soon([this] { return pool().count(op::exists) == 2; })) << "both are under way at once";
  EXPECT_FALSE(first.ready());
  marud.release();
  EXPECT_TRUE(soon([&] { return first.ready() && second.ready(); }));
  EXPECT_EQ(second.get()->size(), 2u);
  EXPECT_EQ(first.get()->size(), 1u);
  EXPECT_EQ(future<std::vector<bool>>{}.get().code(), ec::invalid);
}

// -- busy, recall, threads, the end

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
        // All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
        EXPECT_EQ(line.substr(line.size() - 16), "fffffffe7ffbfeff") << thread << " " << line;
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
