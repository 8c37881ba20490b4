// Goal: who stands still for a while is not taken for dead, and who comes back too late harms nobody (invariants 6 and
// 7). Method: SIGSTOP and SIGCONT of marud and of workers that hold half-written pages and views, while others fill the
// pool, evict, and compare every byte they read.
//
// MARU_SECONDS=600 for a long run of the random test, MARU_STOP_MS_MAX=15000 for longer stops in it. MARU_SEED repeats
// who is stopped when, for how long, and what the workers do; not how the host schedules them.
#include <gtest/gtest.h>
#include <signal.h>

#include <iostream>
#include <thread>

#include "tests/crash/loads.hpp"
#include "tests/support/environment_variable.hpp"

namespace maru::test {
namespace {

using steady = std::chrono::steady_clock;

std::uint64_t pages(const nlohmann::json& status, const char* state) {
  return status["pages"][state].get<std::uint64_t>();
}

// Nothing that workers say of themselves tells of wrong bytes.
void expect_right_bytes(const load_worker& w) { EXPECT_EQ(w.report().wrong, std::vector<std::string>{}) << w.name(); }

// A worker whose session never ended: it has the one it began with.
void expect_one_session(const load_worker& w) {
  auto report = w.report();
  EXPECT_EQ(report.sessions.size(), 1u) << w.name() << " lost its session";
  EXPECT_FALSE(report.failed.contains("commit session_over") || report.failed.contains("alloc session_over"));
}

void stop_for(const process& p, std::chrono::milliseconds time) {
  p.signal(SIGSTOP);
  std::this_thread::sleep_for(time);
  p.signal(SIGCONT);
}

// -- marud stands still

// Stops marud `rounds` times while one worker is idle and another one busy: both keep their sessions, their pages and
// pins, and their calls wait for marud and go on.
void marud_stands_still(marud& m, const std::vector<std::chrono::milliseconds>& stops) {
  temp_folder folder;
  observer watch{m};
  auto idle = m.open({.instance = "idle", .timeout = 40s});
  ASSERT_TRUE(idle && put(*idle, "a"));
  auto kept = idle->retrieve("a");
  auto page = idle->alloc(4096);
  ASSERT_TRUE(kept && page);
  environment_variable reads{"MARU_LOCAL_READS", "0"};
  load_worker busy{m, "busy", 1, folder.path().string()};
  ASSERT_TRUE(eventually([&] { return busy.report().armed; }));
  auto idle_session = watch.session_of("idle"), busy_session = watch.session_of("busy");
  ASSERT_TRUE(idle_session && busy_session);
  for (auto stop : stops) {
    stop_for(m.body(), stop);
    auto done = busy.report().kept;
    EXPECT_TRUE(eventually([&] { return busy.report().kept != done; }, 15s)) << "the busy worker goes on";
    auto s = watch.ask("status");
    EXPECT_EQ(pages(s, "quarantined"), 0u) << "after " << stop.count() << " ms";
    EXPECT_EQ(s["pins_held_dead"], 0);
    EXPECT_TRUE(watch.session_of("idle") == idle_session && watch.session_of("busy") == busy_session)
      << "after " << stop.count() << " ms: " << watch.ask("sessions").dump();
  }
  EXPECT_TRUE(eventually([&] {
    auto answer = watch.ask("sessions");
    return answer["sessions"][0]["state"] == "active" && answer["sessions"][1]["state"] == "active";
  }))
    << watch.ask("sessions").dump();
  auto late = content_of("late", 4096);
  std::memcpy(page->bytes().data(), late.data(), late.size());
  EXPECT_TRUE(idle->commit("late", *page)) << "a page of before is still granted";
  EXPECT_EQ(read_back(*idle, "late"), "ok");
  EXPECT_EQ(idle->info().session, *idle_session);
  expect_one_session(busy);
  expect_right_bytes(busy);
  for (const auto& [what, n] : busy.report().failed)
    ADD_FAILURE() << "the busy worker failed: " << what << ", " << n << " times";
  busy.body().signal(SIGKILL);
  EXPECT_EQ(m.audit(), "");
}

TEST(Pauses, AMarudThatStoodStillForLongerThanTheLeaseEndsNoSession) {
  marud m{{"--pool-size=64MiB"}};  // the usual lease: 10 s
  marud_stands_still(m, {15s});
}

TEST(Pauses, AMarudThatStandsStillAgainAndAgainEndsNoSession) {
  random_source random{0};
  marud m{{"--pool-size=64MiB", "--lease-ms=1000"}};
  std::vector<std::chrono::milliseconds> stops = {950ms, 1050ms};
  for (int i = 0; i < 4; ++i)
    stops.emplace_back(300 + random.below(1700));
  marud_stands_still(m, stops);
}

// -- a worker stands still

class late_writer : public ::testing::Test {
protected:
  static constexpr std::size_t held = 20;

  void SetUp() override {
    ASSERT_TRUE(other);
    ASSERT_EQ(w.ask("put a"), "ok");
    ASSERT_EQ(w.ask("view a"), "ok");
    ASSERT_EQ(w.ask("hold " + std::to_string(held)), std::to_string(held));
    w.body().signal(SIGSTOP);
    ASSERT_TRUE(eventually([&] { return pages(watch.ask("status"), "quarantined") >= held; }, 15s));
    fill_the_pool_for(500ms);
  }

  // Puts, which evict, and reads of what was put: every byte compared.
  void fill_the_pool_for(std::chrono::milliseconds time) {
    for (auto end = steady::now() + time; steady::now() < end; ++puts) {
      ASSERT_TRUE(put(*other, "filler" + std::to_string(puts))) << puts;
      for (std::size_t back : {0u, 7u, 300u}) {
        auto key = "filler" + std::to_string(puts - std::min(puts, back));
        auto answer = read_back(*other, key);
        ASSERT_TRUE(answer == "ok" || (answer == "missing" && back > 0)) << key << ": " << answer;
      }
    }
  }

  marud server{{"--lease-ms=1000", "--pool-size=4MiB"}};
  observer watch{server};
  worker w{server.address()};
  std::shared_ptr<client> other = server.open();
  std::size_t puts = 0;
};

TEST_F(late_writer, ThatGoesOnHarmsNobodyAndIsToldThatItsSessionIsOver) {
  w.body().signal(SIGCONT);
  w.body().say("scribble 2000");
  ASSERT_NO_FATAL_FAILURE(fill_the_pool_for(2000ms));
  EXPECT_EQ(w.body().hear(), "ok");
  EXPECT_GT(watch.ask("status")["evicted"], 100) << "pages were used again meanwhile";
  EXPECT_GE(pages(watch.ask("status"), "quarantined"), held) << "while it can still write them";
  EXPECT_EQ(w.ask("look"), "ok") << "its view keeps its bytes";
  auto refused = w.ask("commit late");
  EXPECT_TRUE(refused == "gone" || refused == "session_over") << refused;
  EXPECT_EQ(read_back(*other, "late"), "missing");
  EXPECT_TRUE(eventually([&] { return w.ask("put b") == "ok"; })) << "it has a new session";
  EXPECT_EQ(read_back(*other, "b"), "ok");
  ASSERT_EQ(w.ask("drop"), "ok");
  EXPECT_TRUE(eventually([&] {
    auto s = watch.ask("status");
    return pages(s, "quarantined") == 0 && s["pins_held_dead"] == 0 && s["sessions"] == 2;
  }))
    << watch.ask("status").dump();
  ASSERT_NO_FATAL_FAILURE(fill_the_pool_for(200ms));
  EXPECT_EQ(server.audit(), "");
}

TEST_F(late_writer, ThatIsKilledInsteadFreesAllOfItWithinOneSecond) {
  auto begin = steady::now();
  w.body().signal(SIGKILL);
  EXPECT_TRUE(eventually(
    [&] {
      auto s = watch.ask("status");
      return pages(s, "quarantined") == 0 && s["pins_held_dead"] == 0 && s["sessions"] == 1;
    },
    2s))  // 1 s, and as much again where the host is busy
    << watch.ask("status").dump();
  std::cout << "free after " << std::chrono::duration<double, std::milli>(steady::now() - begin).count() << " ms\n";
  ASSERT_NO_FATAL_FAILURE(fill_the_pool_for(200ms));
  EXPECT_EQ(server.audit(), "");
}

// -- everybody stands still, at random

TEST(Pauses, RandomStopsOfWorkersAndMarudLeaveEveryByteRight) {
  random_source random{1};
  std::chrono::seconds length{number_from_environment("MARU_SECONDS", 12)};
  auto stop_ms_max = number_from_environment("MARU_STOP_MS_MAX", 3000);
  marud m{{"--lease-ms=1000", "--pool-size=6MiB"}};
  temp_folder folder;
  load_worker bystander{m, "bystander", random.engine()(), folder.path().string()};
  std::vector<std::unique_ptr<load_worker>> workers;
  for (int i = 0; i < 4; ++i) {
    environment_variable reads{"MARU_LOCAL_READS", i % 2 == 0 ? "1" : "0"};
    workers.push_back(
      std::make_unique<load_worker>(m, "w" + std::to_string(i), random.engine()(), folder.path().string()));
  }
  for (auto& w : workers)
    ASSERT_TRUE(eventually([&] { return w->report().armed; }, 20s));

  // One thread each, so that their stops overlap as they will. marud's are shorter: nothing happens while it stands.
  auto stop_at_random = [&](const process& p, std::uint64_t seed, std::uint64_t ms_max) {
    std::mt19937_64 own{seed};
    for (auto end = steady::now() + length; steady::now() < end;) {
      std::this_thread::sleep_for(std::chrono::milliseconds{100 + own() % 2000});
      stop_for(p, std::chrono::milliseconds{50 + own() % ms_max});
    }
  };
  {
    std::vector<std::jthread> hands;
    for (auto& w : workers)
      hands.emplace_back(stop_at_random, std::cref(w->body()), random.engine()(), stop_ms_max);
    hands.emplace_back(stop_at_random, std::cref(m.body()), random.engine()(), stop_ms_max / 2);
  }

  observer watch{m};
  std::size_t sessions = 0, reads = 0;
  for (auto& w : workers) {
    auto before = w->report().kept;
    EXPECT_TRUE(eventually([&] { return w->report().kept != before; }, 15s)) << w->name() << " works again";
    expect_right_bytes(*w);
    sessions += w->report().sessions.size();
  }
  expect_right_bytes(bystander);
  expect_one_session(bystander);
  EXPECT_GT(sessions, workers.size()) << "some stood still for longer than their lease";
  auto c = m.open();
  ASSERT_TRUE(c);
  for (auto& w : workers)
    w->body().signal(SIGKILL);
  bystander.body().signal(SIGKILL);
  for (auto& w : workers)
    for (const auto& key : w->report().kept) {
      auto answer = read_back(*c, key);
      EXPECT_TRUE(answer == "ok" || answer == "missing") << key << ": " << answer;
      reads += answer == "ok";
    }
  EXPECT_GT(reads, 0u);
  c->close();
  std::string wrong;
  EXPECT_TRUE(eventually([&] { return (wrong = watch.unaccounted()).empty(); }, 5s)) << wrong;
  EXPECT_EQ(m.audit(), "");
  std::cout << sessions << " sessions of " << workers.size() << " workers, " << reads << " entries read at the end, "
            << m.ask("status")["evicted"] << " evicted\n";
}

}  // namespace
}  // namespace maru::test
