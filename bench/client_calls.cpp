// What calls of the C++ client cost: bench/python_bench.py holds the binding against it. Reads lines "WHAT BATCH CALLS"
// from stdin and answers each with two numbers, in nanoseconds a call: the median time, and the mean CPU time of the
// calling thread, less what asking for both costs. Ends with its input.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/client.hpp"

namespace {

double now_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

struct calls {
  std::shared_ptr<maru::client> pool;
  std::vector<std::string_view> keys;
  std::vector<maru::page_buffer> pages = {};

  // What the next call needs and is not measured.
  bool prepare(std::string_view what) {
    if (what != "store")
      return true;
    auto made = pool->alloc_batch(keys.size(), 1);
    if (made)
      pages = *std::move(made);
    return static_cast<bool>(made);
  }
  // One call of what is measured; false: it failed.
  bool run(std::string_view what) {
    if (what == "nothing")
      return true;
    if (what == "exists")
      return static_cast<bool>(pool->exists(keys));
    if (what == "retrieve")
      return static_cast<bool>(pool->retrieve_batch(keys));
    if (what == "pin+unpin")
      return pool->lookup(keys, {.pin = true, .prefix_stop = true}) && pool->unpin(keys);
    if (what == "alloc+free")
      return static_cast<bool>(pool->alloc(1));
    if (what == "store") {  // under keys that are there: the pages come back
      auto stored = static_cast<bool>(pool->commit_batch(keys, pages));
      pages.clear();
      return stored;
    }
    return false;
  }
};

struct cost {
  double median_ns = 0, cpu_ns = 0;
};

std::optional<cost> measure(calls& one, std::string_view what, std::size_t count) {
  std::vector<double> took;
  double cpu = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!one.prepare(what))
      return std::nullopt;
    auto since = now_ns(CLOCK_MONOTONIC), cpu_since = now_ns(CLOCK_THREAD_CPUTIME_ID);
    if (!one.run(what))
      return std::nullopt;
    cpu += now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_since;
    took.push_back(now_ns(CLOCK_MONOTONIC) - since);
  }
  std::sort(took.begin(), took.end());
  return cost{took[took.size() / 2], cpu / static_cast<double>(count)};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: client_calls SERVER CHUNK_BYTES\n");
    return 2;
  }
  auto opened = maru::client::open({.server = argv[1], .chunk_bytes = std::stoull(argv[2]), .grant_batch = 512});
  if (!opened) {
    std::fprintf(stderr, "%s\n", to_string(opened.error()).c_str());
    return 1;
  }
  std::string what;
  std::size_t batch = 0, count = 0;
  while (std::cin >> what >> batch >> count) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < batch; ++i)
      names.push_back("bench/" + std::string(48, 'k') + std::to_string(1000 + i));
    calls one{*opened, {names.begin(), names.end()}};
    auto clocks = measure(one, "nothing", count), calls_of_it = measure(one, what, count);
    if (!clocks || !calls_of_it)
      return 1;
    std::printf("%.0f %.0f\n", calls_of_it->median_ns - clocks->median_ns, calls_of_it->cpu_ns - clocks->cpu_ns);
    std::fflush(stdout);
  }
  return 0;
}
