// A real pool on a temporary file with a store in memory, as marud opens them at its start; and ways to put pages and
// records there that a crash or damage would have left.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "actors/environment.hpp"
#include "actors/recovery.hpp"
#include "base/key_hash.hpp"
#include "tests/actors/samples.hpp"
#include "tests/support/faulty_store.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::actors::test {

class pool_environment {
public:
  explicit pool_environment(std::uint64_t pool_bytes = 8 * bounds::MiB, std::uint64_t page_min = 64 * bounds::KiB,
                            std::optional<hash_secret> secret = {})
      : secret_(secret) {
    env->options.pool = folder / "pool";
    env->options.pool_size = pool_bytes;
    env->options.page_min = page_min;
    env->options.state_dir = folder / "state";
    env->options.prefault = "off";
    env->lock_dir = folder.path().string();
    env->store = store;
    open(std::nullopt);
    // Regions are made without storage here; a file that has none at all would be taken for a new one.
    EXPECT_TRUE(env->pool->data_device().reserve(0, 4096));
    storage::write_batch batch;
    batch.set_pool({env->pool->super().pool, env->pool->super().incarnation, env->pool->data_device().path()});
    EXPECT_TRUE(store->write(std::move(batch), true));
  }

  // marud ends and starts again: everything it had in memory is gone.
  void restart() { restart_with(env->pool->super().incarnation); }
  // The same where RocksDB knows another incarnation: the pool's contents are lost.
  void restart_with(const uuid& incarnation) {
    cxl::known_pool known{env->pool->super().pool, incarnation};
    env->pool.reset();
    open(known);
  }

  // What a kill at this moment would leave: the used beginning of each part of the metadata (the file is 8 MiB of mostly
  // nothing), and the records.
  struct image {
    std::vector<std::string> metadata;
    std::shared_ptr<storage::metadata_store> records;
  };
  image take_image() const {
    image out{{}, store->copy()};
    std::ifstream file{metadata(), std::ios::binary};
    for (auto offset : metadata_parts) {
      auto& part = out.metadata.emplace_back(part_bytes, '\0');
      file.seekg(static_cast<std::streamoff>(offset)).read(part.data(), part_bytes);
    }
    EXPECT_TRUE(file.good());
    return out;
  }
  // marud was killed at that moment and starts again.
  void restart_at(const image& at) {
    cxl::known_pool known{env->pool->super().pool, env->pool->super().incarnation};
    env->pool.reset();
    std::fstream file{metadata(), std::ios::binary | std::ios::in | std::ios::out};
    for (std::size_t i = 0; i < at.metadata.size(); ++i)
      file.seekp(static_cast<std::streamoff>(metadata_parts[i])).write(at.metadata[i].data(), part_bytes);
    file.close();
    EXPECT_TRUE(file.good());
    store->go_back_to(*at.records);
    auto sessions = at.records->sessions();
    for (const auto& session : *sessions)
      std::ofstream{session.lock_path, std::ios::app};  // there again where it was deleted after that moment
    open(known);
  }

  recovered_state must_recover() {
    auto state = recover(*env, true);
    EXPECT_TRUE(state) << state.error().message;
    return state ? std::move(*state) : recovered_state{};
  }

  // A new region of the pool's table, at the n-th extent.
  region_id add_region(std::uint64_t n = 0, std::uint64_t page_bytes = 64 * bounds::KiB) {
    auto extent = env->pool->super().extent_bytes;
    auto row = env->pool->add_region(n * extent, extent, page_bytes);
    EXPECT_TRUE(row) << row.error().message;
    env->regions->add(*row);
    return row->id;
  }

  key_hash hash(std::string_view key) const { return hash_key(env->pool->super().secret, key); }
  std::uint64_t slot(page_ref page) const {
    return env->pool->slot_of(*env->pool->find_region(page.region), page.page);
  }
  std::optional<cxl::descriptor> descriptor(page_ref page) const { return env->pool->descriptors().read(slot(page)); }
  void write(page_ref page, const cxl::descriptor& d) {
    env->pool->note_generation(d.gen);
    env->pool->descriptors().write(slot(page), d);
  }
  void write(page_ref page, cxl::page_state state, generation gen, session_id session = session_id::none) {
    cxl::descriptor d;
    d.state = state;
    d.gen = gen;
    d.session = session;
    write(page, d);
  }

  storage::entry_record record_of(std::string_view key, page_ref page, generation gen = 5) const {
    return {std::string{key}, {page, 1000, gen, 77}, 1, "worker"};
  }
  cxl::descriptor committed(const storage::entry_record& record, session_id session = session_id{1}) const {
    cxl::descriptor d;
    d.state = cxl::page_state::committed;
    d.gen = record.where.gen;
    d.hash = hash(record.key);
    d.length = record.where.length;
    d.checksum = record.where.checksum;
    d.session = session;
    return d;
  }
  void put_record(const storage::entry_record& record) { put_record(hash(record.key), record); }
  void put_record(const key_hash& h, const storage::entry_record& record) {
    storage::write_batch batch;
    batch.put_entry(h, record);
    EXPECT_TRUE(store->write(std::move(batch), false));
  }
  // What an acknowledged commit leaves.
  storage::entry_record commit(std::string_view key, page_ref page, std::uint64_t committed_ms = 1) {
    auto record = record_of(key, page);
    record.committed_ms = committed_ms;
    write(page, committed(record));
    put_record(record);
    return record;
  }
  void put_session(session_id id, const std::string& lock_path = "") {
    storage::session_record record;
    record.id = id;
    record.lock_path = lock_path;
    record.page_bytes = env->options.page_min;
    record.instance = "worker-" + std::to_string(value_of(id));
    storage::write_batch batch;
    batch.put_session(record);
    EXPECT_TRUE(store->write(std::move(batch), false));
  }
  bool has_record(std::string_view key) const { return store->entry(hash(key))->has_value(); }

  maru::test::temp_folder folder;
  std::shared_ptr<maru::test::faulty_store> store = std::make_shared<maru::test::faulty_store>();
  std::shared_ptr<environment> env = std::make_shared<environment>();

private:
  static constexpr std::uint64_t metadata_parts[] = {cxl::superblock_a_offset, cxl::superblock_b_offset,
                                                     cxl::region_table_offset, cxl::descriptors_offset};
  static constexpr std::streamsize part_bytes = 16 * bounds::KiB;  // 256 regions, 256 pages

  std::string metadata() const { return env->options.pool + ".meta"; }
  void open(const std::optional<cxl::known_pool>& known) {
    cxl::pool_options options;
    options.path = env->options.pool;
    options.size = env->options.pool_size;
    options.page_min = env->options.page_min;
    options.secret = secret_;
    auto pool = cxl::pool::open(options, known);
    ASSERT_TRUE(pool) << pool.error().message;
    env->pool = std::move(*pool);
    env->regions = std::make_shared<region_directory>();
    env->tables = std::make_shared<session_tables>();
    env->metrics = std::make_shared<metrics::registry>("test", "test");
  }

  const std::optional<hash_secret> secret_;
};

}  // namespace maru::actors::test
