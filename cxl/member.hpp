// One device of a pool, opened by the marud that serves it: its memory, superblocks, region table, descriptors and index.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/device_spec.hpp"
#include "base/file_lock.hpp"
#include "cxl/descriptor_table.hpp"
#include "cxl/device.hpp"
#include "cxl/inspection.hpp"
#include "cxl/layout.hpp"
#include "cxl/serving_beat.hpp"
#include "cxl/shared_index.hpp"

namespace maru::cxl {

struct member_options {
  device_spec spec;                // with the real path
  std::uint64_t extent_bytes = 0;  // of a new one; 0: default_extent_bytes()
  unsigned file_mode = 0600;
  std::optional<gid_t> file_group;
  bool flush = false;  // superblocks and region rows go to stable storage at once
};

// Concurrency: const members from any thread; the others from one thread, or under the pool's mutex of superblocks.
class member {
public:
  // Locks the device for the one that serves it. `in_use`: another process does.
  static result<file_lock> lock(const member_options& options);

  // Lays an empty device out: as large as options.spec says, or as it is. `fresh`: what its superblock says, but for sizes.
  // `bad_option`, `no_space`: the size; the message names both numbers.
  static result<std::unique_ptr<member>> format(const member_options& options, file_lock lock, superblock fresh);
  // Opens one that has this superblock. `in_use`: a marud of another host serves it. `contents_lost`: it is emptied, under another incarnation.
  static result<std::unique_ptr<member>> adopt(const member_options& options, file_lock lock, const superblock& found,
                                               bool contents_lost);

  std::uint32_t index() const { return super_.device_index; }
  // The pool changes what its devices have in common, and writes then.
  superblock& super() { return super_; }
  const superblock& super() const { return super_; }
  // It is being emptied, to be removed: RocksDB remembers that; and it is about to be, so RocksDB forgets it.
  bool draining = false, leaving = false;

  // Its chunks were found to be those of another time: it was emptied.
  bool contents_lost() const { return contents_lost_; }
  const device_spec& spec() const { return options_.spec; }
  const device& data() const { return *data_; }
  device& data() { return *data_; }
  // Where the data begins on the device that data().path() names.
  std::uint64_t data_offset() const { return super_.data_offset; }
  // The file or device that the metadata is at the beginning of.
  const std::string& metadata_path() const { return meta_->path(); }
  std::span<const std::byte> metadata() const { return metadata_.bytes(); }

  const descriptor_table& descriptors() const { return descriptors_; }
  // The index that workers read. Closed when the device is opened: who opens it has made it anew.
  const shared_index& index_for_readers() const { return index_; }
  // As a worker reads it; empty while it is closed.
  std::optional<index_reader> attach_reader(const uuid& nonce) const;

  // Both superblocks, the older first, so that one is whole at every instant and both say the same afterwards.
  status write_superblock();
  // Rows of its region table that fit it, and where in the table they lie. Others are dropped and counted.
  std::vector<std::pair<region_row, std::size_t>> load_rows(std::size_t& damaged);
  // Writes a row; all zeros: there is none. REQUIRES: slot < region_rows_max.
  status store_row(std::size_t slot, const std::array<std::byte, region_row_bytes>& bytes);

  // False once another marud has taken the device over: its superblock is not as this one wrote it. True before it wrote any.
  bool is_ours() const;
  // Tells other hosts that it is served, from here on and every serving_beat_interval; and that it is no more.
  void beat() { serving_beat{metadata_.bytes()}.beat(lock_identity_of(options_.spec.path)); }
  void end_beat() { serving_beat{metadata_.bytes()}.end(); }

  // Brings payloads and metadata, whoever wrote them, to stable storage; blocks. Any thread.
  status sync();
  // Nobody's from here on: its heads are blank, and it can be formatted for any pool.
  status erase();

private:
  member(const member_options& options, file_lock lock) : options_(options), lock_(std::move(lock)) {}
  status make_room(std::uint64_t slot_bytes);
  status fit_inside(std::unique_ptr<device> opened, std::uint64_t slot_bytes);
  status open_adopted(bool contents_lost);
  status map_metadata();
  std::span<std::byte> index_section() const;
  bool holds_chunks() const;
  status wipe_metadata();
  status blank_data_ends();
  void forget_data();

  member_options options_;
  file_lock lock_;
  superblock super_;
  bool contents_lost_ = false;
  bool written_ = false;  // a superblock of this marud's
  std::unique_ptr<device> data_;
  std::unique_ptr<device> meta_;
  mapping metadata_;
  descriptor_table descriptors_;
  shared_index index_;
};

}  // namespace maru::cxl
