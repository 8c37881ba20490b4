// A pool opened by the one marud that serves it: the identity of its devices, and what they have in common.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/device_spec.hpp"
#include "cxl/inspection.hpp"
#include "cxl/layout.hpp"
#include "cxl/member.hpp"
#include "cxl/pool_descriptors.hpp"
#include "cxl/pool_index.hpp"

namespace maru::cxl {

class pool;

struct pool_options {
  std::string path;            // of the first device
  std::uint64_t size = 0;      // bytes of its data; 0: as the existing pool, or its file or device, has it
  std::uint64_t page_min = 0;  // slot size; 0: as the existing pool has it, 64 KiB for a new one. A mismatch is refused
  std::uint64_t extent_bytes = 0;        // 0: default_extent_bytes()
  coherence mode = coherence::hardware;  // of payloads; a mismatch is refused
  unsigned file_mode = 0600;
  std::optional<gid_t> file_group;        // of the data; empty: the process's own
  bool contents_survive_reboot = false;   // durability=host on devices that keep their contents
  bool format_foreign = false;            // --format: overwrite unknown contents or another pool
  std::optional<hash_secret> secret;      // of a new pool; empty: random. Tests fix with it which shard a key has
  std::optional<int> node = {};           // NUMA node of the first device's file
  std::vector<device_spec> more = {};     // further devices; one that is not in the pool yet is added
  std::vector<std::string> without = {};  // paths of known devices that are left out: what they hold is given up
  bool all_devices = false;               // of a pool that is not known: it is opened with all of them or not at all
  // Asked of a pool that was found with its contents, before its epoch and heads are written: a refusal leaves them as they were.
  std::function<status(const pool&)> approve = {};
};

// A further device of a pool, as RocksDB remembers it.
struct known_device {
  std::uint32_t index = 0;
  uuid device;
  uuid incarnation;
  device_spec spec;
  bool draining = false;
  friend bool operator==(const known_device&, const known_device&) = default;
};

// A further device that the pool was opened without: what was on it is lost, or as good as that.
struct left_out_device {
  std::string path;
  status why;
  std::optional<known_device> known;  // empty: it was not the pool's before
};

// What RocksDB remembers of the pool it belongs to.
struct known_pool {
  uuid pool;
  uuid incarnation;  // of the first device
  std::vector<known_device> more = {};
};

enum class opened_as : std::uint8_t {
  formatted,      // empty device and no state of ours: a new pool
  opened,         // the pool that RocksDB knows, or a pool without RocksDB state (entries unknown)
  contents_lost,  // the pool RocksDB knows, but its bytes are gone: all entries are to be dropped
};

// Owns the devices' mappings and the locks that keep a second marud away. Each device is whole in itself (see member), so
// that one that fails takes only its own entries with it; ids of regions, the epoch and the generations are the pool's.
// Concurrency: `descriptors`, `slot_of`, `find_member` and what it gives from any thread under the one-writer rule of
// descriptor_table; `note_generation` from any thread; changes of regions and devices from one thread (the pool_manager's).
class pool {
public:
  // Opens or formats; takes the locks and writes the next server epoch.
  //   in_use: another process serves a device. unknown_contents: not a pool, another pool than `known`, or a pool
  //   with another slot size; the message names the option that formats. no_space: the file system is too small, both
  //   numbers named. corrupt: both superblocks are damaged. missing: a known device is not there. memory_failed: the
  //   metadata of the first device cannot be read; a further one is left out.
  static result<std::unique_ptr<pool>> open(const pool_options& options, const std::optional<known_pool>& known);
  ~pool();

  opened_as how() const { return how_; }
  // Of the first device.
  const superblock& super() const { return members_.front()->super(); }
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t slot_bytes() const { return super().slot_bytes; }

  // -- devices, by index
  const std::vector<std::unique_ptr<member>>& members() const { return members_; }
  // Null where there is none.
  member* find_member(std::uint32_t index) const { return index < here_.size() ? here_[index].load() : nullptr; }
  const device& data_device(std::uint32_t index = 0) const { return find_member(index)->data(); }
  device& data_device(std::uint32_t index = 0) { return find_member(index)->data(); }
  std::uint64_t data_bytes() const;
  // Pages that hold something, or that somebody may write, by what the descriptors say. Reads them all.
  std::uint64_t used_pages() const;
  // What RocksDB is to remember of the further devices.
  std::vector<known_device> known_devices() const;
  // Makes a device one of the pool's, with its table of no regions; blocks while it formats. Any thread, one at a time;
  // the pool does not have it before adopt(). Errors as open().
  result<std::unique_ptr<member>> prepare_device(const device_spec& spec) const;
  // Takes it in.
  status adopt(std::unique_ptr<member> prepared);
  // Tells marud of other hosts that the devices are served; every serving_beat_interval. False once one of them serves a
  // device: it took this marud for dead, which stood still for serving_beat_patience. Then nothing may be written any more.
  bool beat();
  // It is nobody's from here on. REQUIRES: it has no region, and is not the first.
  status remove_device(std::uint32_t index);

  // -- region table, by id. Rows that were damaged on open are dropped and counted.
  const std::vector<region_row>& regions() const { return regions_; }
  std::size_t damaged_rows() const { return damaged_rows_; }
  // Further devices that are not there, or whose memory fails: the pool goes on without them. They stay known, and are looked
  // for at each start, until somebody forgets them.
  const std::vector<left_out_device>& left_out() const { return left_out_; }
  // It is looked for no more. False where there is none of this path.
  bool forget_left_out(const std::string& path);
  // One of the two superblocks of a device was damaged on open; it was written anew.
  bool damaged_superblock() const { return damaged_superblock_; }
  // The host was booted since the pool was served last.
  bool rebooted() const { return rebooted_; }
  const region_row* find_region(region_id id) const;
  // Writes a new row with the next id (persisted before use; ids are never reused). Does not reserve storage.
  // `invalid`: not on an extent's start, past the end, over another region, or a page that does not fit.
  // `no_space`: the table or the ids are used up.
  result<region_row> add_region(std::uint64_t offset, std::uint64_t length, std::uint64_t page_bytes,
                                std::uint32_t device = 0);
  status remove_region(region_id id);

  pool_descriptors& descriptors() { return descriptors_; }
  const pool_descriptors& descriptors() const { return descriptors_; }
  // Slot of a page's descriptor. REQUIRES: the page is in the row.
  std::uint64_t slot_of(const region_row& row, page_index page) const { return cxl::slot_of(row, page, slot_bytes()); }

  // -- the indexes that workers read, one a device
  const pool_index& indexes() const { return indexes_; }
  // As a worker reads them; of those that are closed nothing is found.
  pool_reader attach_reader(const uuid& nonce) const;
  void clear_indexes(std::uint64_t shards);
  // Opens them to workers that know this word.
  void open_indexes(std::uint64_t word, const uuid& nonce);

  // Brings payloads and metadata, whoever wrote them, to stable storage; blocks. Any thread.
  status sync();

  // Tells that `gen` is about to be used; writes the superblocks when it passes the recorded highest one, which then
  // moves ahead by a coarse step. Cheap otherwise.
  void note_generation(generation gen);
  // What the page in this slot held under `gen` is over: its descriptor gets the next generation, and this state.
  void end_generation(std::uint64_t slot, generation gen, page_state state);
  // A damaged descriptor starts again in this state, above every generation ever used.
  void start_afresh(std::uint64_t slot, page_state state);
  // First generation above all ever used. Counts as noted.
  generation above_highest();

private:
  explicit pool(const pool_options& options) : options_(options) {}
  status open_first(const std::optional<known_pool>& known);
  status open_more(const std::optional<known_pool>& known);
  status open_known(const known_device& known);
  bool leave_out(const std::string& path, const status& cause, const std::optional<known_device>& known);
  bool is_taken(std::uint32_t index) const;
  bool is_ours() const;
  result<std::unique_ptr<member>> join(const device_spec& spec, bool keep) const;
  member_options options_of(const device_spec& spec) const;
  superblock superblock_for(std::uint32_t index, const uuid& device) const;
  void take_in(std::unique_ptr<member> m);
  status take_over();
  status write_superblocks();
  void raise_highest(generation gen);
  void load_regions(member& m);

  const pool_options options_;
  opened_as how_ = opened_as::formatted;
  mutable std::mutex super_mutex_;
  std::uint64_t epoch_ = 0;
  std::uint32_t next_region_ = 1;
  generation recorded_highest_ = 0;  // in the superblocks
  std::atomic<generation> highest_{0};
  std::vector<std::unique_ptr<member>> members_;
  std::vector<std::unique_ptr<member>> gone_;  // whose memory somebody may still look at
  std::array<std::atomic<member*>, bounds::devices_max> here_{};
  pool_descriptors descriptors_;
  pool_index indexes_;
  std::vector<region_row> regions_;
  std::vector<std::size_t> row_slots_;  // where in its device's table each of regions_ lies
  std::size_t damaged_rows_ = 0;
  std::vector<left_out_device> left_out_;
  bool damaged_superblock_ = false;
  bool serving_ = false;  // its superblocks say so
  bool rebooted_ = false;
};

}  // namespace maru::cxl
