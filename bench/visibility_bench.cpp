// What publishing and acquiring costs, beside the copy or the reading that it goes with: memcpy alone, with each
// instruction that writes lines back, copies past the caches, and reads with each instruction that drops lines.
//
// Method: chunks one after the other in shared memory that is larger than the caches, so that each call meets lines as a
// new page of a pool does; the copied bytes are in the caches as far as they fit. In each round all ways take their turn
// on the next chunks, in an order that is shuffled, so that what else the machine does falls on all alike. A fence before
// each keeps what the one before left under way out of its time.
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "app/bench/cycle_clock.hpp"
#include "app/bench/machine.hpp"
#include "base/bounds.hpp"
#include "base/size.hpp"
#include "cxl/visibility.hpp"

namespace {

using namespace maru;
using cxl::cache_instructions;

struct parameters {
  std::vector<std::string> sizes = {"64KiB", "1MiB", "16MiB"};
  std::string memory = "512MiB";  // that the chunks lie in
  std::string each = "1GiB";      // what each way goes through with each size
  std::uint64_t seed = 1;
};

// One row of the table.
struct way {
  std::string name;
  bool reads = false;  // else it copies
  std::function<void(std::span<std::byte> chunk)> run;
  std::vector<double> us_a_mib = {};
};

std::uint64_t sum(std::span<const std::byte> bytes) {
  std::uint64_t out = 0;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof out) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    out += word;
  }
  return out;
}

// The same instructions with another one for one task.
template <class T>
std::shared_ptr<const cxl::visibility> with(std::vector<T> cache_instructions::*task, const T& instruction) {
  auto have = *cache_instructions::of_this_processor();
  have.*task = {instruction};
  return std::make_shared<cxl::software_visibility>(have);
}

std::vector<way> all_ways(const std::vector<std::byte>& source) {
  auto copy = [&source](std::span<std::byte> to) {
    std::memcpy(to.data(), source.data(), to.size());
    asm volatile("" : : "r"(to.data()) : "memory");
  };
  auto read = [](std::span<const std::byte> from) {
    auto out = sum(from);
    asm volatile("" : : "r"(out));
  };
  std::vector<way> out = {{"memcpy", false, copy}};
  auto& have = cache_instructions::of_this_processor();
  if (have) {
    for (auto& one : have->write_back)
      out.push_back({"memcpy, " + std::string{one.instruction}, false,
                     [copy, v = with(&cache_instructions::write_back, one)](std::span<std::byte> to) {
                       copy(to);
                       v->publish(to);
                     }});
    for (auto& one : have->copy)
      out.push_back({std::string{one.instruction}, false,
                     [&source, v = with(&cache_instructions::copy, one)](std::span<std::byte> to) {
                       v->copy(to, std::span{source}.first(to.size()));
                     }});
  }
  out.push_back({"read", true, read});
  if (have)
    for (auto& one : have->drop)
      out.push_back({std::string{one.instruction} + ", read", true,
                     [read, v = with(&cache_instructions::drop, one)](std::span<std::byte> from) {
                       v->acquire(from);
                       read(from);
                     }});
  return out;
}

double quantile(std::vector<double>& values, double q) {
  auto nth = values.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

void measure(std::vector<way>& ways, std::span<std::byte> memory, std::size_t chunk, std::size_t each,
             const bench::cycle_clock& clock, std::mt19937_64& random) {
  std::size_t at = 0;
  for (std::size_t round = 0; round < each / chunk; ++round) {
    std::shuffle(ways.begin(), ways.end(), random);
    for (auto& one : ways) {
      auto bytes = memory.subspan(at, chunk);
      at = at + 2 * chunk > memory.size() ? 0 : at + chunk;
      cxl::finish_drops();
      auto begin = clock.begin();
      one.run(bytes);
      auto ns = clock.ns(begin, clock.end());
      one.us_a_mib.push_back(static_cast<double>(ns) / 1e3 * static_cast<double>(bounds::MiB)
                             / static_cast<double>(chunk));
    }
  }
}

void print(std::vector<way>& ways, const std::vector<std::string>& order, const std::string& size) {
  std::printf("\n%-10s %-24s %10s %10s %10s %10s\n", "chunk", "way", "p50 us/MiB", "p99", "p50 ratio", "p99 ratio");
  double base50 = 0, base99 = 0;
  for (auto& name : order) {
    auto& one = *std::find_if(ways.begin(), ways.end(), [&](auto& w) { return w.name == name; });
    auto p50 = quantile(one.us_a_mib, 0.5), p99 = quantile(one.us_a_mib, 0.99);
    if (one.name == "memcpy" || one.name == "read") {
      base50 = p50;
      base99 = p99;
    }
    std::printf("%-10s %-24s %10.1f %10.1f %10.2f %10.2f\n", size.c_str(), name.c_str(), p50, p99, p50 / base50,
                p99 / base99);
  }
}

template <class T>
std::string names_of(const std::vector<T>& instructions) {
  std::string out;
  for (auto& one : instructions)
    out += (out.empty() ? "" : ", ") + std::string{one.instruction};
  return out;
}

void print_machine(const bench::cycle_clock& clock, const parameters& p) {
  std::printf("%s\nclock: %s\n", to_string(bench::this_machine()).c_str(), clock.text().c_str());
  auto& have = cache_instructions::of_this_processor();
  if (!have) {
    std::printf("no instructions for software visibility on this architecture: the bare copy and read alone\n");
  } else {
    std::printf(
      "lines of %zu bytes; the processor has, what software visibility takes first: publish %s; copy %s; "
      "acquire %s\n",
      have->line_bytes, names_of(have->write_back).c_str(), names_of(have->copy).c_str(), names_of(have->drop).c_str());
  }
  std::printf("--memory %s --each %s --seed %lu; ratios are to memcpy, and to read\n", p.memory.c_str(), p.each.c_str(),
              static_cast<unsigned long>(p.seed));
}

int run(const parameters& p) {
  auto memory_bytes = *parse_size(p.memory), each = *parse_size(p.each);
  void* at = ::mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    std::fprintf(stderr, "failed to map %s of memory: %s\n", p.memory.c_str(), std::strerror(errno));
    return 1;
  }
  std::span memory{static_cast<std::byte*>(at), memory_bytes};
  std::memset(at, 1, memory_bytes);
  auto clock = bench::cycle_clock::calibrate();
  print_machine(clock, p);
  std::mt19937_64 random{p.seed};
  for (auto& size : p.sizes) {
    auto chunk = std::min(*parse_size(size), memory_bytes);
    std::vector<std::byte> source(chunk, std::byte{2});
    auto ways = all_ways(source);
    std::vector<std::string> order;
    for (auto& one : ways)
      order.push_back(one.name);
    measure(ways, memory, chunk, each, clock, random);
    print(ways, order, size);
  }
  ::munmap(at, memory_bytes);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  parameters p;
  CLI::App app{"What publishing and acquiring costs, beside the copy or the reading that it goes with"};
  auto size = [](const std::string& text) {
    auto bytes = parse_size(text);
    if (!bytes)
      return bytes.error().message;
    return std::string{*bytes >= 64 && *bytes % 64 == 0 ? "" : "a multiple of 64 bytes is needed"};
  };
  app.add_option("--sizes", p.sizes, "Sizes of chunks")->check(size)->capture_default_str();
  app.add_option("--memory", p.memory, "Memory that they lie in: more than the caches hold, and than a chunk")
    ->check(size)
    ->capture_default_str();
  app.add_option("--each", p.each, "How much each way goes through with each size")->check(size)->capture_default_str();
  app.add_option("--seed", p.seed, "Of the order in which the ways take their turns")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return run(p);
}
