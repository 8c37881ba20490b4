// What payload checksums cost: one pass over a chunk, beside copying it and beside only reading it, for chunks in the
// processor's caches and for chunks that are not. The counter `us/MiB` is the time of one MiB.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "cxl/checksum.hpp"

namespace {

using bytes = std::span<const std::byte>;
constexpr std::size_t cold_bytes = 512u << 20;  // more than any cache: chunks are taken from it in turn

std::uint64_t checksum(bytes chunk) { return maru::cxl::payload_checksum(chunk); }

std::uint64_t copy(bytes chunk) {
  static std::vector<std::byte> to(16u << 20);
  std::memcpy(to.data(), chunk.data(), chunk.size());
  benchmark::ClobberMemory();
  return static_cast<std::uint64_t>(to[0]);
}

std::uint64_t read(bytes chunk) {
  auto* words = reinterpret_cast<const std::uint64_t*>(chunk.data());
  return std::accumulate(words, words + chunk.size() / sizeof *words, std::uint64_t{0});
}

void run(benchmark::State& state, std::uint64_t (*pass)(bytes)) {
  auto size = static_cast<std::size_t>(state.range(0)) << 10;
  bool cold = state.range(1) != 0;
  std::vector<std::byte> memory(cold ? cold_bytes : size, std::byte{0x5a});
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(pass(bytes{memory}.subspan(at, size)));
    at = at + 2 * size <= memory.size() ? at + size : 0;
  }
  state.counters["us/MiB"] =
    benchmark::Counter(static_cast<double>(size) / (1u << 20) / 1e6,
                       benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void arguments(benchmark::internal::Benchmark* b) { b->ArgNames({"KiB", "cold"})->ArgsProduct({{64, 1024}, {0, 1}}); }
BENCHMARK_CAPTURE(run, checksum, checksum)->Apply(arguments);
BENCHMARK_CAPTURE(run, copy, copy)->Apply(arguments);
BENCHMARK_CAPTURE(run, read, read)->Apply(arguments);

}  // namespace
