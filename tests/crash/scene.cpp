#include "tests/crash/scene.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "actors/recovery.hpp"
#include "base/key_hash.hpp"

namespace maru::test {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t page_bytes = 4096;

std::uint64_t sum_of(const std::string& metrics, const std::string& name) {
  std::uint64_t sum = 0;
  std::istringstream in{metrics};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + "{"))
      sum += static_cast<std::uint64_t>(std::stod(line.substr(line.rfind(' '))));
  return sum;
}

// The pool and the store as marud opens them: service.cpp without the actors.
result<actors::recovered_state> recover_here(const marud& m, const std::string& db, actors::environment& env) {
  auto store = storage::open_rocksdb({.path = db, .write_buffer_bytes = 1 << 20, .block_cache_bytes = 1 << 20});
  if (!store)
    return store.error();
  env.store = std::move(*store);
  auto record = env.store->pool();
  if (!record)
    return record.error();
  std::optional<cxl::known_pool> known;
  if (*record)
    known = {(*record)->pool, (*record)->incarnation};
  auto pool = cxl::pool::open({.path = m.pool()}, known);
  if (!pool)
    return pool.error();
  env.pool = std::move(*pool);
  env.options.pool = m.pool();
  env.options.state_dir = m.state();
  env.regions = std::make_shared<actors::region_directory>();
  env.metrics = std::make_shared<metrics::registry>("test", "test");
  return actors::recover(env, known.has_value());
}

}  // namespace

scene::scene(left_by how, std::size_t keys) : keys_(keys), marud_({"--pool-size=4MiB"}) {
  {
    auto c = marud_.open();
    for (std::size_t n = 0; n < keys_; ++n)
      if (!c || !put(*c, key(n)))
        throw std::runtime_error{"failed to put " + key(n)};
    if (how == left_by::kill)
      marud_.kill_hard();
  }
  if (how == left_by::stop)
    marud_.stop();
  fs::copy(fs::path{marud_.pool()}.parent_path(), copy_.path(), fs::copy_options::recursive);
}

void scene::restore() {
  auto folder = fs::path{marud_.pool()}.parent_path();
  for (const auto& entry : fs::directory_iterator{folder})
    fs::remove_all(entry.path());
  fs::copy(copy_.path(), folder, fs::copy_options::recursive);
}

std::vector<std::string> scene::db_files(const std::string& part) const {
  std::vector<std::string> out;
  for (const auto& file : fs::directory_iterator{db()}) {
    auto name = file.path().filename().string();
    if (name.starts_with(part) || name.ends_with(part))
      out.push_back(file.path());
  }
  std::sort(out.begin(), out.end());  // RocksDB numbers them with leading zeros
  return out;
}

scene::outcome scene::start_here() const {
  spdlog::set_level(spdlog::level::off);  // hundreds of starts
  outcome out;
  actors::environment env;
  auto state = recover_here(marud_, db(), env);
  if (env.metrics) {
    auto text = env.metrics->text();
    out.dropped = sum_of(text, "maru_recovery_dropped_total");
    out.corrupted = sum_of(text, "maru_corruption_total");
  }
  if (!state) {
    out.code = state.code();
    out.message = state.error().message;
    return out;
  }
  auto data = read_file(marud_.pool());
  for (std::size_t n = 0; n < keys_; ++n) {
    auto hash = hash_key(env.pool->super().secret, key(n));
    auto entry = state->shards[0]->find(hash);
    if (!entry)
      continue;
    out.found.insert(n);
    auto at = env.regions->find(entry->where.page.region)->offset + value_of(entry->where.page.page) * page_bytes;
    out.wrong += entry->where.length != page_bytes || data.substr(at, page_bytes) != content_of(key(n), page_bytes);
  }
  return out;
}

bool is_prefix(const std::set<std::size_t>& found) { return found.empty() || *found.rbegin() + 1 == found.size(); }

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream{path, std::ios::binary | std::ios::trunc} << bytes;
}

void flip_bit(const std::string& path, std::uint64_t bit) {
  std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
  file.seekg(static_cast<std::streamoff>(bit / 8));
  auto byte = static_cast<char>(file.get() ^ (1 << bit % 8));
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(byte);
}

}  // namespace maru::test
