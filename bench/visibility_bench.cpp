// What publishing and acquiring costs, per MiB, beside the copy that it goes with. Chunks of 1 MiB one after the other in
// memory that is larger than the caches, so that each meets lines as a new page of a pool does.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/bounds.hpp"
#include "cxl/visibility.hpp"

namespace {

using namespace maru;

constexpr std::size_t chunk_bytes = bounds::MiB, chunks = 256;

// The memory of all benchmarks, touched once.
std::span<std::byte> chunk(std::size_t n) {
  static std::vector<std::byte> memory(chunks * chunk_bytes, std::byte{1});
  return std::span{memory}.subspan(n % chunks * chunk_bytes, chunk_bytes);
}

std::shared_ptr<const cxl::visibility> visibility_or_skip(benchmark::State& state, cxl::coherence mode) {
  auto made = cxl::make_visibility(mode);
  if (!made) {
    state.SkipWithError(made.error().message.c_str());
    return nullptr;
  }
  return *made;
}

template <class Step>
void for_each_chunk(benchmark::State& state, Step step) {
  std::size_t n = 0;
  chunk(0);
  for (auto _ : state)
    step(chunk(n++));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * chunk_bytes));
}

void copy(benchmark::State& state) {
  std::vector<std::byte> from(chunk_bytes, std::byte{2});
  for_each_chunk(state, [&](std::span<std::byte> to) {
    std::memcpy(to.data(), from.data(), to.size());
    benchmark::ClobberMemory();
  });
}

void copy_and_publish(benchmark::State& state, cxl::coherence mode) {
  std::vector<std::byte> from(chunk_bytes, std::byte{2});
  if (auto visible = visibility_or_skip(state, mode))
    for_each_chunk(state, [&](std::span<std::byte> to) {
      std::memcpy(to.data(), from.data(), to.size());
      visible->publish(to);
    });
}

std::uint64_t sum(std::span<const std::byte> bytes) {
  std::uint64_t out = 0;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof out) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    out += word;
  }
  return out;
}

void read(benchmark::State& state) {
  for_each_chunk(state, [](std::span<std::byte> from) { benchmark::DoNotOptimize(sum(from)); });
}

void acquire_and_read(benchmark::State& state, cxl::coherence mode) {
  if (auto visible = visibility_or_skip(state, mode))
    for_each_chunk(state, [&](std::span<std::byte> from) {
      visible->acquire(from);
      benchmark::DoNotOptimize(sum(from));
    });
}

BENCHMARK(copy)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(copy_and_publish, hardware, cxl::coherence::hardware)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(copy_and_publish, software, cxl::coherence::software)->Unit(benchmark::kMicrosecond);
BENCHMARK(read)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(acquire_and_read, hardware, cxl::coherence::hardware)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(acquire_and_read, software, cxl::coherence::software)->Unit(benchmark::kMicrosecond);

}  // namespace
