// What the metadata store costs under marud's load: one thread writes batches of 128 commits, with or without as many
// deletes between them, as an index at its capacity does. `CPU` counts RocksDB's background threads too; the counters
// give it per committed key. MARU_BENCH_DIR names the folder to work in (default: the temporary one).
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "storage/metadata_store.hpp"

namespace {

using namespace maru;
using namespace maru::storage;
namespace fs = std::filesystem;
using timer = std::chrono::steady_clock;

constexpr std::size_t batch_keys = 128;
constexpr std::size_t live_keys = 1000000;

class work_folder {
public:
  work_folder() {
    const char* given = std::getenv("MARU_BENCH_DIR");
    path_ = ((given ? fs::path{given} : fs::temp_directory_path()) / "maru-bench-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr)
      throw std::runtime_error{"failed to make folder " + path_};
  }
  work_folder(const work_folder&) = delete;
  ~work_folder() { fs::remove_all(path_); }
  std::string db() const { return path_ + "/db"; }

private:
  std::string path_;
};

std::unique_ptr<metadata_store> open(const work_folder& folder) {
  auto store = open_rocksdb({.path = folder.db()});
  if (!store)
    throw std::runtime_error{store.error().message};
  return *std::move(store);
}

// Makes batches of new keys; once `live` of them exist, every new one deletes the oldest.
class load {
public:
  explicit load(std::size_t live) : live_(live) {}

  write_batch next() {
    write_batch batch;
    batch.entries.reserve(2 * batch_keys);
    for (std::size_t i = 0; i < batch_keys; ++i) {
      key_hash hash{random_(), random_()};
      entry_record record;
      record.key.assign(60, static_cast<char>('a' + i % 26));
      record.where = {{region_id{7}, page_index{static_cast<std::uint32_t>(i)}}, 65536, 1, 0};
      record.committed_ms = 1700000000000;
      record.owner = "worker-0";
      batch.put_entry(hash, std::move(record));
      keys_.push_back(hash);
      if (keys_.size() > live_) {
        batch.delete_entry(keys_.front());
        keys_.pop_front();
      }
    }
    return batch;
  }

  const key_hash& newest() const { return keys_.back(); }
  const key_hash& oldest() const { return keys_.front(); }

private:
  std::mt19937_64 random_{1};
  std::size_t live_;
  std::deque<key_hash> keys_;
};

void must(const status& s) {
  if (!s)
    throw std::runtime_error{s.error().message};
}

void fill(metadata_store& store, load& from, std::size_t keys) {
  for (std::size_t n = 0; n < keys; n += batch_keys)
    must(store.write(from.next(), false));
}

void write_batches(benchmark::State& state) {
  bool with_deletes = state.range(0) != 0;
  bool sync = state.range(1) != 0;
  work_folder folder;
  auto store = open(folder);
  load keys{with_deletes ? live_keys : ~std::size_t{0}};
  if (with_deletes)
    fill(*store, keys, live_keys);
  std::vector<double> took;
  for (auto _ : state) {
    auto batch = keys.next();
    auto start = timer::now();
    must(store->write(std::move(batch), sync));
    took.push_back(std::chrono::duration<double, std::micro>(timer::now() - start).count());
  }
  std::sort(took.begin(), took.end());
  auto count = static_cast<double>(state.iterations() * batch_keys);
  state.counters["keys/s"] = benchmark::Counter(count, benchmark::Counter::kIsRate);
  state.counters["p50_us"] = took[took.size() / 2];
  state.counters["p99_us"] = took[took.size() * 99 / 100];
  state.counters["max_us"] = took.back();
  state.counters["live_MiB"] = static_cast<double>(store->stats().live_bytes >> 20);
}
// Enough batches for many flushes and compactions: 2.5 million keys.
BENCHMARK(write_batches)
  ->ArgNames({"deletes", "sync"})
  ->Args({0, 0})
  ->Args({1, 0})
  ->Iterations(20000)
  ->MeasureProcessCPUTime()
  ->UseRealTime()
  ->Unit(benchmark::kMicrosecond);
BENCHMARK(write_batches)
  ->Name("write_batches_synced")
  ->ArgNames({"deletes", "sync"})
  ->Args({0, 1})
  ->Iterations(500)
  ->MeasureProcessCPUTime()
  ->UseRealTime()
  ->Unit(benchmark::kMicrosecond);

void open_and_scan(benchmark::State& state) {
  work_folder folder;
  {
    auto store = open(folder);
    load keys{live_keys};
    fill(*store, keys, 2 * live_keys);
    if (state.range(0) != 0)
      must(store->flush());
  }
  for (auto _ : state) {
    auto store = open(folder);
    std::size_t seen = 0;
    must(store->scan_entries({}, [&](const key_hash&, const entry_record&) { return ++seen > 0; }));
    if (seen != live_keys)
      throw std::runtime_error{"entries are missing"};
  }
}
BENCHMARK(open_and_scan)
  ->ArgName("flushed")
  ->Arg(0)
  ->Arg(1)
  ->Iterations(1)
  ->MeasureProcessCPUTime()
  ->UseRealTime()
  ->Unit(benchmark::kMillisecond);

void open_empty(benchmark::State& state) {
  for (auto _ : state) {
    work_folder folder;
    open(folder);
  }
}
BENCHMARK(open_empty)->Unit(benchmark::kMillisecond)->UseRealTime();

// The price of the vector memtable: a key that was just written, against one that is in a table.
void read_entry(benchmark::State& state) {
  work_folder folder;
  auto store = open(folder);
  load keys{~std::size_t{0}};
  fill(*store, keys, 300000);
  auto hash = state.range(0) != 0 ? keys.newest() : keys.oldest();
  for (auto _ : state)
    if (auto found = store->entry(hash); !found || !*found)
      throw std::runtime_error{"the entry is missing"};
}
BENCHMARK(read_entry)->ArgName("fresh")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
