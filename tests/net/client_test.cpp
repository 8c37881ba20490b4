// Goal: the client does what net/client.hpp says while its marud is there: opening and puts.
// Method: real clients against a fake marud in this process (fake_marud.hpp), over loopback and a real data file.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/bounds.hpp"
#include "tests/net/client_fixture.hpp"

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

TEST_F(Client, OnlyWhatIsLeftOfAPageIsTheChunk) {
  auto c = must_open();
  auto page = c->alloc(6);
  ASSERT_TRUE(page);
  write(*page, "abcdef");
  page->shrink(2);
  ASSERT_TRUE(c->commit("a", *page));
  EXPECT_EQ(text_of(c->retrieve("a")->bytes()), "ab");
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

}  // namespace
}  // namespace maru::test
