// What commits of many threads of one client cost: commit_threads SERVER THREADS... For each number of threads, which each
// commit one new key at a time into a page that they have already, it prints the number, the commits per second of all
// together, and the median and the 99th percentile of one, in microseconds.
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "net/client.hpp"

namespace {

using steady = std::chrono::steady_clock;

constexpr std::size_t pages_a_round = 2048;  // a session may have twice as many
constexpr auto measured = std::chrono::seconds{1};

struct totals {
  std::chrono::duration<double> time{};
  std::vector<double> took_us;  // one a commit
};

// Threads commit `pages_a_round` keys; alloc before and remove after are not measured. False: a call failed.
bool run_round(maru::client& pool, std::size_t threads, totals& sum) {
  auto pages = pool.alloc_batch(pages_a_round, 1);
  if (!pages)
    return false;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < pages_a_round; ++i)
    names.push_back("bench/" + std::string(48, 'k') + std::to_string(1000 + i));
  std::vector<double> took(pages_a_round);
  std::atomic<bool> good{true};
  std::barrier begin{static_cast<std::ptrdiff_t>(threads + 1)};
  std::vector<std::thread> workers;
  for (std::size_t t = 0; t < threads; ++t)
    workers.emplace_back([&, t] {
      begin.arrive_and_wait();
      for (auto i = t; i < pages_a_round; i += threads) {
        auto since = steady::now();
        if (!pool.commit(names[i], (*pages)[i]))
          good = false;
        took[i] = std::chrono::duration<double, std::micro>(steady::now() - since).count();
      }
    });
  begin.arrive_and_wait();
  auto since = steady::now();
  for (auto& w : workers)
    w.join();
  sum.time += steady::now() - since;
  sum.took_us.insert(sum.took_us.end(), took.begin(), took.end());
  std::vector<std::string_view> keys{names.begin(), names.end()};
  return pool.remove(keys) && good;
}

bool measure(maru::client& pool, std::size_t threads) {
  totals sum;
  while (sum.time < measured)
    if (!run_round(pool, threads, sum))
      return false;
  std::sort(sum.took_us.begin(), sum.took_us.end());
  auto n = sum.took_us.size();
  std::printf("%zu threads: %.0f commits/s, p50 %.0f us, p99 %.0f us\n", threads,
              static_cast<double>(n) / sum.time.count(), sum.took_us[n / 2], sum.took_us[n * 99 / 100]);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: commit_threads SERVER THREADS...\n");
    return 2;
  }
  auto opened = maru::client::open({.server = argv[1], .chunk_bytes = 4096, .grant_batch = pages_a_round});
  if (!opened) {
    std::fprintf(stderr, "%s\n", to_string(opened.error()).c_str());
    return 1;
  }
  for (int i = 2; i < argc; ++i)
    if (!measure(**opened, std::strtoul(argv[i], nullptr, 10))) {
      std::fprintf(stderr, "a call failed\n");
      return 1;
    }
  return 0;
}
