// A pool opened by the one marud that serves it: identity, superblocks, region table, descriptors.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.hpp"
#include "cxl/descriptor_table.hpp"
#include "cxl/device.hpp"
#include "cxl/layout.hpp"
#include "cxl/shared_index.hpp"

namespace maru::cxl {

struct pool_options {
  std::string path;            // of the data; metadata is at path + ".meta", the serving lock at path + ".lock"
  std::uint64_t size = 0;      // bytes of data; 0: as the existing pool, or its file, has it
  std::uint64_t page_min = 0;  // slot size; 0: as the existing pool has it, 64 KiB for a new one. A mismatch is refused
  std::uint64_t extent_bytes = 0;        // 0: default_extent_bytes()
  coherence mode = coherence::hardware;  // of payloads; a mismatch is refused
  unsigned file_mode = 0600;
  std::optional<gid_t> file_group;       // of the data; empty: the process's own
  bool contents_survive_reboot = false;  // durability=host on a device that keeps its contents
  bool format_foreign = false;           // --format: overwrite unknown contents or another pool
  std::optional<hash_secret> secret;     // of a new pool; empty: random. Tests fix with it which shard a key has
};

// What RocksDB remembers of the pool it belongs to.
struct known_pool {
  uuid pool;
  uuid incarnation;
};

enum class opened_as : std::uint8_t {
  formatted,      // empty device and no state of ours: a new pool
  opened,         // the pool that RocksDB knows, or a pool without RocksDB state (entries unknown)
  contents_lost,  // the pool RocksDB knows, but its bytes are gone: all entries are to be dropped
};

// Owns the files' mappings and the lock that keeps a second marud away.
// Concurrency: `descriptors`, `slot_of`, `data` from any thread under the one-writer rule of descriptor_table;
// `note_generation` from any thread; region changes from one thread (the pool_manager's).
class pool {
public:
  // Opens or formats; takes the lock and writes the next server epoch.
  //   in_use: another process serves the pool. unknown_contents: not a pool, another pool than `known`, or a pool
  //   with another slot size; the message names the option that formats. no_space: the file system is too small, both
  //   numbers named. corrupt: both superblocks are damaged.
  static result<std::unique_ptr<pool>> open(const pool_options& options, const std::optional<known_pool>& known);
  ~pool();

  opened_as how() const { return how_; }
  const superblock& super() const { return super_; }
  std::uint64_t epoch() const { return super_.epoch; }
  const device& data_device() const { return *data_; }
  device& data_device() { return *data_; }

  // Region table, by id. Rows that were damaged on open are dropped and counted.
  const std::vector<region_row>& regions() const { return regions_; }
  std::size_t damaged_rows() const { return damaged_rows_; }
  // One of the two superblocks was damaged on open; it was written anew.
  bool damaged_superblock() const { return damaged_superblock_; }
  // The host was booted since the pool was served last.
  bool rebooted() const { return rebooted_; }
  const region_row* find_region(region_id id) const;
  // Writes a new row with the next id (persisted before use; ids are never reused). Does not reserve storage.
  // `invalid`: not on an extent's start, past the end, over another region, or a page that does not fit.
  // `no_space`: the table or the ids are used up.
  result<region_row> add_region(std::uint64_t offset, std::uint64_t length, std::uint64_t page_bytes);
  status remove_region(region_id id);

  descriptor_table& descriptors() { return descriptors_; }
  // Slot of a page's descriptor. REQUIRES: the page is in the row.
  std::uint64_t slot_of(const region_row& row, page_index page) const {
    return (row.offset + value_of(page) * row.page_bytes) / super_.slot_bytes;
  }

  // The index that workers read. Closed when the pool is opened: who opens it has made it anew.
  const shared_index& index_for_readers() const { return index_; }
  // As a worker reads it; empty while it is closed.
  std::optional<index_reader> attach_reader(const uuid& nonce) const;
  const std::string& metadata_path() const { return meta_->path(); }

  // Brings payloads and metadata, whoever wrote them, to stable storage; blocks. Any thread.
  status sync();

  // Tells that `gen` is about to be used; writes the superblock when it passes the recorded highest one, which then
  // moves ahead by a coarse step. Cheap otherwise.
  void note_generation(generation gen);
  // What the page in this slot held under `gen` is over: its descriptor gets the next generation, and this state.
  void end_generation(std::uint64_t slot, generation gen, page_state state);
  // A damaged descriptor starts again in this state, above every generation ever used.
  void start_afresh(std::uint64_t slot, page_state state);
  // First generation above all ever used. Counts as noted.
  generation above_highest();

private:
  pool() = default;
  status format(const pool_options& options, const std::optional<known_pool>& known);
  status adopt(const pool_options& options, const superblock& found, bool contents_lost);
  std::span<std::byte> index_section() const;
  status map_metadata(const pool_options& options);
  bool holds_chunks() const;
  status take_over();
  status wipe_metadata();
  void forget_data();
  status write_superblock();
  void raise_highest(generation gen);
  void load_regions();
  status store_row(std::size_t slot, const std::array<std::byte, region_row_bytes>& bytes);

  bool flush_ = false;  // superblocks go to stable storage at once
  opened_as how_ = opened_as::formatted;
  superblock super_;
  std::mutex super_mutex_;
  std::atomic<generation> highest_{0};
  std::unique_ptr<device> data_;
  std::unique_ptr<device> meta_;
  mapping metadata_;
  descriptor_table descriptors_;
  shared_index index_;
  std::vector<region_row> regions_;
  std::vector<std::size_t> row_slots_;  // where in the table each of regions_ lies
  std::size_t damaged_rows_ = 0;
  bool damaged_superblock_ = false;
  bool rebooted_ = false;
  file_lock lock_;
};

}  // namespace maru::cxl
