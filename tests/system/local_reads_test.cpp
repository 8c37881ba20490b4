// Goal: what a worker reads and pins in the pool itself gets the answers that messages would get, costs marud no message,
// and is kept as pins by message are (invariants 4 to 7). Method: clients beside clients that were told to ask, over a
// marud process; workers that are killed and stopped; marud killed under them; buckets and folders damaged by hand.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "cxl/layout.hpp"
#include "tests/support/environment_variable.hpp"
#include "tests/support/random_run.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

namespace fs = std::filesystem;
using keys = std::vector<std::string_view>;

const client_options by_message{.local_reads = false};

double number(const marud& m, const std::string& metric) {
  auto text = m.metric(metric);
  return text.empty() ? 0 : std::stod(text);
}

// Requests of these kinds that marud has answered so far.
double requests(const marud& m, const std::vector<std::string>& ops) {
  double sum = 0;
  for (const auto& op : ops)
    for (auto* result : {"ok", "partial", "busy", "no_room", "refused", "failed"})
      sum += number(m, "maru_request_total{op=\"" + op + "\",result=\"" + result + "\"}");
  return sum;
}
const std::vector<std::string> reads = {"lookup", "exists", "pin", "unpin"};

std::string shown(const view& v, const std::string& key) {
  auto wanted = content_of(key, v.bytes().size());
  return v.bytes().size() > 0 && std::memcmp(v.bytes().data(), wanted.data(), wanted.size()) == 0 ? "ok" : "wrong";
}

void evict_everything(marud& m) { m.ask("evict", {{"bytes", std::uint64_t{1} << 40}}); }

// -- no message

TEST(LocalReads, SendNoMessage) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c && c->info().local_reads) << c->info().why_not_local;
  EXPECT_EQ(c->info().why_not_local, "");
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(put(*c, "k" + std::to_string(i)));
  ASSERT_EQ(read_back(*c, "k0"), "ok") << "the region is mapped now";
  auto before = requests(m, reads);
  keys some = {"k1", "k2", "none", "k3"};
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(read_back(*c, "k" + std::to_string(i % 20)), "ok");
    EXPECT_EQ(read_back(*c, "none" + std::to_string(i)), "missing");
    EXPECT_EQ(*c->exists(some), (std::vector<bool>{true, true, false, true}));
    EXPECT_EQ(*c->pin(some), (std::vector<bool>{true, true, false, true}));
    auto found = c->lookup(some, {.pin = true, .prefix_stop = true});
    EXPECT_TRUE(found && (*found)[1] && !(*found)[2] && !(*found)[3]);
    EXPECT_EQ(*c->unpin(some), (std::vector<bool>{true, true, false, true}));
    EXPECT_EQ(*c->unpin(some), (std::vector<bool>{true, true, false, false}));
    auto views = c->retrieve_batch(some, true);
    EXPECT_TRUE(views && (*views)[1] && !(*views)[2] && !(*views)[3]);
  }
  EXPECT_EQ(requests(m, reads), before);
}

TEST(LocalReads, AreCountedAsLookups) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a"));
  ASSERT_EQ(read_back(*c, "a"), "ok");
  auto hits = [&] { return number(m, "maru_lookup_total{result=\"hit\"}"); };
  auto misses = [&] { return number(m, "maru_lookup_total{result=\"miss\"}"); };
  ASSERT_TRUE(eventually([&] { return hits() == 1; }, 5s)) << "what was before is counted";
  auto hits_before = hits(), misses_before = misses();
  keys two = {"a", "none"};
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(read_back(*c, "a"), "ok");
    ASSERT_TRUE(c->lookup(two));
    ASSERT_TRUE(c->exists(two));  // is not a lookup
  }
  EXPECT_TRUE(eventually([&] { return hits() == hits_before + 100 && misses() == misses_before + 50; }, 5s))
    << hits() - hits_before << " hits, " << misses() - misses_before << " misses";
}

TEST(LocalReads, AreTurnedOffByTheOptionAndByTheEnvironment) {
  marud m;
  auto c = m.open(by_message);
  ASSERT_TRUE(c && put(*c, "a"));
  auto other = [&m] {
    environment_variable off{"MARU_LOCAL_READS", "0"};
    return m.open();
  }();
  ASSERT_TRUE(other);
  for (auto& one : {c, other}) {
    EXPECT_FALSE(one->info().local_reads);
    EXPECT_NE(one->info().why_not_local, "");
    EXPECT_EQ(m.ask("status")["sessions_local"], 0);
    auto before = requests(m, reads);
    EXPECT_EQ(read_back(*one, "a"), "ok");
    EXPECT_GE(requests(m, reads), before + 1);
  }
}

TEST(LocalReads, AreNotDoneWhereThePoolIsSeenWithoutItsMetadata) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a"));
  temp_folder without, with_a_copy;
  fs::create_hard_link(m.pool(), without / "pool");
  fs::create_hard_link(m.pool(), with_a_copy / "pool");
  m.stop();
  fs::copy_file(m.pool() + ".meta", with_a_copy / "pool.meta");
  m.start();
  for (const auto& path : {without / "pool", with_a_copy / "pool"}) {
    auto blind = m.open({.pool_path = path});
    ASSERT_TRUE(blind) << path;
    EXPECT_FALSE(blind->info().local_reads) << path;
    EXPECT_NE(blind->info().why_not_local.find(path + ".meta"), std::string::npos) << blind->info().why_not_local;
    EXPECT_EQ(read_back(*blind, "a"), "ok");
  }
}

TEST(LocalReads, AreDoneByAUserWhoMayNotWriteTheMetadata) {
  if (::getuid() != 0)
    GTEST_SKIP() << "only root can become another user";
  marud m{{"--pool-mode=0666"}};
  fs::permissions(fs::path{m.pool()}.parent_path(), fs::perms{0711});
  auto mode = fs::status(m.pool() + ".meta").permissions();
  ASSERT_EQ(mode & fs::perms::others_all, fs::perms::others_read);
  process w{{"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", WORKER_PATH, m.address(), "4096"}};
  auto ask = [&w](const std::string& line) {
    w.say(line);
    return w.hear();
  };
  ASSERT_EQ(w.hear(), "ready");
  EXPECT_EQ(ask("put a"), "ok");
  EXPECT_EQ(ask("way"), "pool");
  EXPECT_EQ(ask("get a"), "ok");
  EXPECT_EQ(ask("pin a"), "1");
  w.say("quit");
}

TEST(LocalReads, APoolOfAnotherMarudIsNotMapped) {
  marud m, another;
  // Of the data, and of what tells whose data it is.
  temp_folder mixed;
  fs::create_hard_link(m.pool(), mixed / "pool");
  fs::copy_file(another.pool() + ".meta", mixed / "pool.meta");
  EXPECT_EQ(client::open({.server = m.address(), .pool_path = mixed / "pool", .timeout = 2s}).code(),
            ec::unknown_contents);
  auto refused = client::open({.server = m.address(), .pool_path = another.pool(), .timeout = 2s});
  EXPECT_EQ(refused.code(), ec::unknown_contents) << "its bytes are other requests'";
  EXPECT_NE(refused.error().message.find("MARU_POOL_PATH"), std::string::npos) << refused.error().message;
}

// -- the same answers

// One history of puts, removals, pins and views, done by a client that reads by itself and told by one that asks.
class both_ways {
public:
  both_ways() : local_(m_.open()), asks_(m_.open(by_message)), random_(test_seed()) {}

  void run() {
    ASSERT_TRUE(local_ && asks_ && local_->info().local_reads && !asks_->info().local_reads);
    for (int step = 0; step < 4000; ++step) {
      auto names = some_keys();
      keys asked{names.begin(), names.end()};
      switch (random_() % 8) {
        case 0: put_one(names[0]); break;
        case 1: remove(asked); break;
        case 2: pin_both(asked); break;
        case 3: unpin_both(asked); break;
        case 4: turn_a_view(names[0]); break;
        default: compare(asked); break;
      }
      if (::testing::Test::HasFailure())
        return;
    }
    local_->close();
    asks_->close();
    EXPECT_EQ(m_.audit(), "");
  }

private:
  std::vector<std::string> some_keys() {
    std::vector<std::string> out;
    for (auto n = 1 + random_() % 12; n > 0; --n)
      out.push_back("k" + std::to_string(random_() % 60));
    return out;
  }
  client& any() { return random_() % 2 ? *local_ : *asks_; }

  void put_one(const std::string& key) {
    auto stored = put(any(), key);
    EXPECT_TRUE(stored || stored.code() == ec::exists) << to_string(stored.code());
  }
  void remove(const keys& asked) { EXPECT_TRUE(any().remove(asked)); }

  void pin_both(const keys& asked) {
    bool stop = random_() % 2;
    EXPECT_EQ(*local_->pin(asked, stop), *asks_->pin(asked, stop));
  }
  void unpin_both(const keys& asked) { EXPECT_EQ(*local_->unpin(asked), *asks_->unpin(asked)); }

  void turn_a_view(const std::string& key) {
    if (views_.size() >= 20) {
      auto& [name, v] = views_[random_() % views_.size()];
      EXPECT_EQ(shown(v, name), "ok") << name;
      std::swap(views_.back().first, name);
      std::swap(views_.back().second, v);
      views_.pop_back();
    }
    if (auto v = any().retrieve(key))
      views_.emplace_back(key, std::move(*v));
  }

  void compare(const keys& asked) {
    bool stop = random_() % 2;
    EXPECT_EQ(*local_->exists(asked), *asks_->exists(asked));
    auto mine = local_->lookup(asked, {.prefix_stop = stop}), theirs = asks_->lookup(asked, {.prefix_stop = stop});
    ASSERT_TRUE(mine && theirs);
    EXPECT_TRUE(*mine == *theirs);
    auto my_views = local_->retrieve_batch(asked, stop), their_views = asks_->retrieve_batch(asked, stop);
    ASSERT_TRUE(my_views && their_views);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      ASSERT_EQ(bool{(*my_views)[i]}, bool{(*their_views)[i]}) << asked[i];
      if ((*my_views)[i]) {
        EXPECT_EQ((*my_views)[i].where(), (*their_views)[i].where());
        EXPECT_EQ(shown((*my_views)[i], std::string{asked[i]}), "ok");
      }
    }
  }

  marud m_{{"--shards=2"}};
  std::shared_ptr<client> local_, asks_;
  std::mt19937_64 random_;
  std::vector<std::pair<std::string, view>> views_;
};

TEST(LocalReads, GiveTheAnswersThatMessagesGive) { both_ways{}.run(); }

// -- what is held stays

TEST(LocalReads, Invariant4_APinnedKeyIsNeitherRemovedNorEvicted) {
  marud m;
  auto c = m.open(), other = m.open(by_message);
  ASSERT_TRUE(c && other && put(*c, "pinned") && put(*c, "free"));
  keys pinned = {"pinned"};
  ASSERT_TRUE((*c->pin(pinned))[0]);
  for (auto& one : {c, other})
    EXPECT_EQ((*one->remove(pinned))[0], ec::pinned);
  evict_everything(m);
  EXPECT_EQ(read_back(*other, "free"), "missing");
  EXPECT_EQ(read_back(*other, "pinned"), "ok");
  EXPECT_TRUE((*c->unpin(pinned))[0]);
  EXPECT_EQ((*other->remove(pinned))[0], ec::ok);
  EXPECT_EQ(m.audit(), "");
}

TEST(LocalReads, Invariant4_APinnedKeyIsThereForEverybodyWhileEvictionsTryIt) {
  marud m;
  auto c = m.open(), other = m.open(by_message);
  ASSERT_TRUE(c && other && put(*c, "pinned"));
  keys pinned = {"pinned"};
  ASSERT_TRUE((*c->pin(pinned))[0]);
  std::jthread evicts{[&](const std::stop_token& stop) {
    while (!stop.stop_requested())
      evict_everything(m);
  }};
  for (auto end = std::chrono::steady_clock::now() + 2s; std::chrono::steady_clock::now() < end;) {
    ASSERT_EQ((*other->remove(pinned))[0], ec::pinned);
    ASSERT_TRUE((*other->exists(pinned))[0] && (*other->lookup(pinned))[0]);
    ASSERT_EQ(read_back(*c, "pinned"), "ok");
  }
}

TEST(LocalReads, AViewKeepsItsPageAndNotItsKey) {
  marud m{{"--pool-size=4MiB"}};
  auto c = m.open(), other = m.open(by_message);
  ASSERT_TRUE(c && other && put(*c, "a"));
  auto v = c->retrieve("a");
  ASSERT_TRUE(v);
  evict_everything(m);
  EXPECT_EQ(read_back(*other, "a"), "ok") << "it is not evicted while it is viewed";
  keys a = {"a"};
  EXPECT_EQ((*other->remove(a))[0], ec::ok);
  EXPECT_EQ(read_back(*c, "a"), "missing");
  EXPECT_EQ(pages(m, "evicting"), 1u);
  EXPECT_TRUE(put(*other, "a"));
  auto again = other->retrieve("a");
  ASSERT_TRUE(again);
  EXPECT_NE(again->where().page, v->where().page);
  again = error{};
  ASSERT_TRUE(evict_all(m));
  EXPECT_EQ(shown(*v, "a"), "ok");
  EXPECT_EQ(pages(m, "evicting"), 1u);
  EXPECT_EQ(m.audit(), "");
  v = error{};
  EXPECT_TRUE(eventually([&] { return pages(m, "evicting") == 0; }, 3s)) << m.ask("status").dump();
  EXPECT_EQ(m.audit(), "");
}

TEST(LocalReads, Invariant5_WhatAKilledWorkerPinnedEndsWithinOneSecond) {
  marud m;
  worker w{m.address()};
  ASSERT_EQ(w.ask("put a b c"), "ok");
  auto before = requests(m, reads);
  ASSERT_EQ(w.ask("pin a b"), "2");
  ASSERT_EQ(w.ask("view c"), "ok");
  ASSERT_EQ(requests(m, reads), before) << "they are local";
  auto c = m.open();
  ASSERT_TRUE(c);
  keys all = {"a", "b", "c"};
  EXPECT_EQ((*c->remove(keys{"a"}))[0], ec::pinned);
  EXPECT_TRUE(eventually([&] { return m.ask("status")["pins"] == 3; })) << m.ask("status").dump();
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually(
    [&] {
      auto codes = c->remove(all);
      return codes && std::none_of(codes->begin(), codes->end(), [](ec code) { return code == ec::pinned; });
    },
    1s));
  EXPECT_TRUE(eventually([&] { return pages(m, "evicting") == 0 && m.ask("status")["pins"] == 0; }, 2s));
  EXPECT_EQ(m.audit(), "");
}

TEST(LocalReads, Invariant6_AStoppedWorkersHoldsStayAcrossARestartUntilItIsDead) {
  marud m{{"--lease-ms=1000", "--resume-grace-ms=500", "--pool-size=4MiB"}};
  worker w{m.address()};
  ASSERT_EQ(w.ask("put pinned viewed"), "ok");
  auto before = requests(m, reads);
  ASSERT_EQ(w.ask("pin pinned"), "1");
  ASSERT_EQ(w.ask("view viewed"), "ok");
  ASSERT_EQ(requests(m, reads), before) << "they are local";
  w.body().signal(SIGSTOP);
  m.kill_hard();
  ASSERT_TRUE(m.start());
  ASSERT_TRUE(eventually([&] { return m.ask("sessions")["sessions"][0]["state"] == "lapsed"; }, 15s))
    << m.ask("sessions").dump();
  ASSERT_TRUE(evict_all(m));
  auto c = m.open();
  ASSERT_TRUE(c);
  EXPECT_EQ(read_back(*c, "pinned"), "ok");
  EXPECT_EQ((*c->remove(keys{"pinned"}))[0], ec::pinned);
  w.body().signal(SIGCONT);
  EXPECT_EQ(w.ask("look"), "ok");
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return (*c->remove(keys{"pinned"}))[0] == ec::ok; }, 2s));
  EXPECT_TRUE(eventually([&] { return m.ask("status")["pins"] == 0 && pages(m, "quarantined") == 0; }, 2s));
  EXPECT_EQ(m.audit(), "");
}

// -- without marud

TEST(LocalReads, GoOnWhileMarudIsDownAndAfterItIsBack) {
  marud m{{"--resume-grace-ms=10000"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a") && put(*c, "b"));
  ASSERT_EQ(read_back(*c, "a"), "ok");
  keys a = {"a"};
  m.kill_hard();
  EXPECT_EQ(read_back(*c, "a"), "ok");
  EXPECT_TRUE((*c->exists(a))[0]);
  ASSERT_TRUE((*c->pin(a))[0]) << "with nobody who could evict it";
  auto v = c->retrieve("b");
  ASSERT_TRUE(v);
  ASSERT_TRUE(m.start());
  auto other = m.open(by_message);
  ASSERT_TRUE(other);
  ASSERT_TRUE(eventually([&] { return c->connected() && c->info().epoch == 2; })) << m.ask("sessions").dump();
  EXPECT_TRUE(c->info().local_reads) << c->info().why_not_local;
  EXPECT_TRUE(eventually([&] { return (*other->remove(a))[0] == ec::pinned; })) << "held by the pin of meanwhile";
  evict_everything(m);
  EXPECT_EQ(shown(*v, "b"), "ok");
  auto before = requests(m, reads);
  EXPECT_EQ(read_back(*c, "a"), "ok");
  EXPECT_TRUE((*c->unpin(a))[0]);
  EXPECT_EQ(requests(m, reads), before);
  EXPECT_EQ((*other->remove(a))[0], ec::ok);
  EXPECT_EQ(m.audit(), "");
}

// -- damage

TEST(LocalReads, ADamagedBucketIsAnsweredByMessageAndCounted) {
  marud m{{"--pool-size=16MiB"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(put(*c, "k" + std::to_string(i)));
  ASSERT_EQ(read_back(*c, "k0"), "ok");
  {  // every entry's tag
    int fd = ::open((m.pool() + ".meta").c_str(), O_RDWR | O_CLOEXEC);
    auto at = cxl::index_offset(16 << 20, 4096) + 4096;
    for (std::uint64_t bucket = 0; bucket < 2048; ++bucket)
      for (std::uint64_t word = 1; word < 8; ++word) {
        std::uint64_t entry = 0;
        auto offset = static_cast<off_t>(at + bucket * 64 + word * 8);
        ASSERT_EQ(::pread(fd, &entry, 8, offset), 8);
        entry ^= entry == 0 ? 0 : 1ull << 40;
        ASSERT_EQ(::pwrite(fd, &entry, 8, offset), 8);
      }
    ::close(fd);
  }
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(read_back(*c, "k" + std::to_string(i)), "ok") << i;
  EXPECT_TRUE(eventually([&] { return number(m, "maru_corruption_total{kind=\"bucket\"}") >= 200; }, 5s))
    << m.metric("maru_corruption_total{kind=\"bucket\"}");
  keys removed = {"k7"};
  EXPECT_EQ((*c->remove(removed))[0], ec::ok);
  EXPECT_EQ(read_back(*c, "k7"), "missing");
  m.kill_hard();
  ASSERT_TRUE(m.start());
  auto fresh = m.open();
  ASSERT_TRUE(fresh);
  ASSERT_EQ(read_back(*fresh, "k0"), "ok");
  auto before = requests(m, reads);
  for (int i = 0; i < 200; ++i)
    EXPECT_EQ(read_back(*fresh, "k" + std::to_string(i)), i == 7 ? "missing" : "ok") << i;
  EXPECT_EQ(requests(m, reads), before) << "a start makes the index anew";
}

// -- age

TEST(LocalReads, PinsByKeyThatAreTooOldEndAndViewsDoNot) {
  marud m{{"--pin-age-max-ms=3000"}};
  auto local = m.open(), asks = m.open(by_message), other = m.open(by_message);
  ASSERT_TRUE(local && asks && other && put(*other, "mine") && put(*other, "theirs") && put(*other, "viewed"));
  keys mine = {"mine"}, theirs = {"theirs"};
  ASSERT_TRUE((*local->pin(mine))[0] && (*asks->pin(theirs))[0]);
  auto v = local->retrieve("viewed"), w = asks->retrieve("viewed");
  ASSERT_TRUE(v && w);
  EXPECT_EQ((*other->remove(mine))[0], ec::pinned);
  EXPECT_EQ((*other->remove(theirs))[0], ec::pinned);
  EXPECT_TRUE(eventually([&] { return (*other->remove(mine))[0] == ec::ok; }));
  EXPECT_TRUE(eventually([&] { return (*other->remove(theirs))[0] == ec::ok; }));
  EXPECT_FALSE((*local->unpin(mine))[0]);
  evict_everything(m);
  EXPECT_EQ(read_back(*other, "viewed"), "ok");
  EXPECT_EQ(shown(*v, "viewed"), "ok");
  EXPECT_EQ(shown(*w, "viewed"), "ok");
}

TEST(LocalReads, APinThatIsTakenAgainIsNotTooOld) {
  marud m{{"--pin-age-max-ms=2000"}};
  auto c = m.open(), other = m.open(by_message);
  ASSERT_TRUE(c && other && put(*c, "a"));
  keys a = {"a"};
  auto end = std::chrono::steady_clock::now() + 5s;
  ASSERT_TRUE((*c->pin(a))[0]);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_TRUE((*c->pin(a))[0] && (*c->unpin(a))[0]);
    ASSERT_EQ((*other->remove(a))[0], ec::pinned);
  }
}

TEST(LocalReads, TheLongestHoldGrowsAndEnds) {
  marud m;
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "a"));
  keys a = {"a"};
  ASSERT_TRUE((*c->pin(a))[0]);
  EXPECT_TRUE(eventually([&] { return number(m, "maru_longest_hold_seconds") >= 2; })) << "grows";
  ASSERT_TRUE((*c->unpin(a))[0]);
  EXPECT_TRUE(eventually([&] { return number(m, "maru_longest_hold_seconds") == 0; })) << "ends";
}

// -- recency

TEST(LocalReads, WhatWasReadAMomentAgoIsNotEvicted) {
  marud m{{"--pool-size=4MiB"}};
  auto c = m.open();
  ASSERT_TRUE(c && put(*c, "cold") && put(*c, "hot") && put(*c, "looked_up") && put(*c, "pinned_now_and_then"));
  ASSERT_EQ(read_back(*c, "cold"), "ok");
  auto before = requests(m, reads);
  keys looked_up = {"looked_up"}, pinned = {"pinned_now_and_then"};
  for (int i = 0; i < 4000; ++i) {  // four times the pool
    ASSERT_TRUE(put(*c, "filler" + std::to_string(i))) << i;
    if (i % 50 == 0) {
      ASSERT_EQ(read_back(*c, "hot"), "ok") << i;
      ASSERT_TRUE((*c->lookup(looked_up))[0]) << i;
      ASSERT_TRUE((*c->pin(pinned))[0] && (*c->unpin(pinned))[0]) << i;
    }
  }
  // A bucket that is being written just then is asked for.
  EXPECT_LE(requests(m, reads), before + 10) << "nearly all of it was local";
  EXPECT_EQ(read_back(*c, "cold"), "missing");
}

}  // namespace
}  // namespace maru::test
