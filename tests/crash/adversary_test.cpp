// Goal: whoever reads is right while everything goes that may (invariants 4, 5 and 7): no wrong bytes, no pinned key that
// is missing, nothing left of a worker that dies in the middle of a pin. Method: two processes of two threads read, pin and
// put again, each with and without messages; marud is asked all the time to evict as much as there is, or a part of it, and
// random keys are removed. In the second test the workers kill themselves at a step of the handshake, over and over.
//
// MARU_SECONDS for a long run. MARU_SEED repeats what is asked for; not how the host schedules it.
#include <gtest/gtest.h>
#include <signal.h>

#include <iostream>
#include <sstream>

#include "base/kill_point.hpp"
#include "tests/crash/loads.hpp"
#include "tests/crash/reading_worker.hpp"
#include "tests/support/environment_variable.hpp"

namespace maru::test {
namespace {

using steady = std::chrono::steady_clock;

class reading_worker {
public:
  reading_worker(const marud& m, std::string name, std::uint64_t seed, bool local, const std::string& kill_point = {})
      : name_(std::move(name)) {
    environment_variable reads{"MARU_LOCAL_READS", local ? "1" : "0"}, dies{"MARU_KILL_POINT", kill_point};
    process_ = process{{READING_WORKER_PATH, m.address(), name_, std::to_string(seed), "2"}};
    EXPECT_EQ(process_.hear(20s), "ready");
    EXPECT_EQ(process_.hear(20s), local ? "local" : "by message");
  }

  // What it found wrong so far, one a line.
  std::string complaints() {
    std::string out;
    for (std::string line; !(line = process_.hear(1ms)).empty();)
      out += line + "\n";
    return out;
  }
  // Ends it; its counts of looks, hits, pins and puts. What it complains of is a failure.
  std::vector<std::uint64_t> finish() {
    process_.hang_up();
    std::vector<std::uint64_t> counts;
    for (std::string line; !(line = process_.hear(20s)).empty();) {
      if (!line.starts_with("done ")) {
        ADD_FAILURE() << name_ << ": " << line;
        continue;
      }
      std::istringstream in{line.substr(5)};
      for (std::uint64_t n = 0; in >> n;)
        counts.push_back(n);
    }
    EXPECT_EQ(process_.wait(20s), 0) << name_;
    counts.resize(4);
    return counts;
  }
  process& body() { return process_; }
  const std::string& name() const { return name_; }

private:
  std::string name_;
  process process_;
};

// Asks marud for the worst, again and again.
class adversary {
public:
  explicit adversary(marud& m) : marud_(m), client_(m.open({.local_reads = false})) {}

  void step() {
    // Up to twice of what there is: everything that may goes, half of the time.
    auto bytes = (1 + random_.below(2 * shared_keys)) * shared_bytes;
    evicted_ += marud_.ask("evict", {{"bytes", bytes}}).value("evicted_pages", 0u);
    auto key = shared_key(random_.below(shared_keys));
    std::vector<std::string_view> one{key};
    auto codes = client_ ? client_->remove(one) : result<std::vector<ec>>{ec::unavailable, "no client"};
    ASSERT_TRUE(codes) << to_string(codes.error());
    ++answers_[(*codes)[0]];
  }

  std::uint64_t evicted() const { return evicted_; }
  std::uint64_t answers(ec code) { return answers_[code]; }
  std::uint64_t random() { return random_.engine()(); }

private:
  marud& marud_;
  std::shared_ptr<client> client_;
  random_source random_{test_seed()};
  std::uint64_t evicted_ = 0;
  std::map<ec, std::uint64_t> answers_;
};

std::chrono::seconds time_of_test() { return std::chrono::seconds{number_from_environment("MARU_SECONDS", 6)}; }

class against : public ::testing::TestWithParam<int> {};

TEST_P(against, EvictionAndRemovalReadersAreRight) {
  marud m{{"--pool-size=8MiB", "--shards=2"}};
  adversary evil{m};
  std::vector<reading_worker> workers;
  for (int i = 0; i < 2; ++i)
    workers.emplace_back(m, "reader" + std::to_string(i), evil.random(), i < GetParam());
  for (auto end = steady::now() + time_of_test(); steady::now() < end;) {
    ASSERT_NO_FATAL_FAILURE(evil.step());
    for (auto& w : workers)
      ASSERT_EQ(w.complaints(), "") << w.name();
  }
  std::vector<std::uint64_t> sum(4);
  for (auto& w : workers) {
    auto counts = w.finish();
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += counts[i];
  }
  std::cout << "looks " << sum[0] << ", hits " << sum[1] << ", pins " << sum[2] << ", puts " << sum[3] << "; evicted "
            << evil.evicted() << ", removed " << evil.answers(ec::ok) << ", pinned " << evil.answers(ec::pinned)
            << "\n";
  EXPECT_GT(sum[1], 20u);
  EXPECT_GT(sum[2], 20u);
  EXPECT_GT(evil.evicted(), 100u);
  observer watch{m};
  EXPECT_TRUE(eventually(
    [&] {
      auto s = m.ask("status");
      return s["pins"] == 0 && s["pages"]["evicting"] == 0 && s["pages"]["quarantined"] == 0;
    },
    3s))
    << m.ask("status").dump();
  EXPECT_EQ(m.audit(), "");
}

INSTANTIATE_TEST_SUITE_P(Adversary, against, ::testing::Values(2, 1, 0),
                         [](const auto& p) { return std::to_string(p.param) + "Of2Local"; });

class dying_at : public ::testing::TestWithParam<kill_at> {};

TEST_P(dying_at, AStepOfAPinAWorkerLeavesNothing) {
  marud m{{"--pool-size=8MiB"}};
  adversary evil{m};
  observer watch{m};
  reading_worker other{m, "other", evil.random(), true};
  auto deaths = number_from_environment("MARU_KILLS", 12);
  distribution freed;
  for (std::uint64_t death = 0; death < deaths; ++death) {
    auto name = "dies" + std::to_string(death);
    auto point = std::string{to_string(GetParam())} + ":" + std::to_string(20 + evil.random() % 500) + ":"
                 + std::to_string(evil.random());
    reading_worker w{m, name, evil.random(), true, point};
    bool died = false;
    for (auto end = steady::now() + 20s; !died && steady::now() < end;) {
      ASSERT_NO_FATAL_FAILURE(evil.step());
      ASSERT_EQ(other.complaints(), "");
      died = w.body().wait_signal(0s) == SIGKILL;
    }
    ASSERT_TRUE(died) << "never reached " << point;
    ASSERT_EQ(w.complaints(), "");
    auto begin = steady::now();
    EXPECT_TRUE(eventually([&] { return !watch.session_of(name); }, 3s)) << watch.ask("sessions").dump();
    freed.add(std::chrono::duration<double, std::milli>(steady::now() - begin).count());
  }
  std::cout << "killed " << deaths << " workers at " << to_string(GetParam()) << "; freed: " << freed.text() << "\n";
  EXPECT_LE(freed.at(0.9), 1000);
  other.finish();
  EXPECT_TRUE(eventually([&] {
    (void)m.ask("evict", {{"bytes", std::uint64_t{1} << 40}});
    auto s = m.ask("status");
    return s["pins"] == 0 && s["pages"]["committed"] == 0 && s["pages"]["evicting"] == 0;
  }))
    << "a hold that is left keeps its page: " << m.ask("status").dump();
  EXPECT_EQ(m.audit(), "");
}

INSTANTIATE_TEST_SUITE_P(Adversary, dying_at, ::testing::Values(kill_at::pin_named, kill_at::pin_checked),
                         [](const auto& p) { return std::string{to_string(p.param)}; });

}  // namespace
}  // namespace maru::test
