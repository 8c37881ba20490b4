#include "cxl/member.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <unordered_set>

#include "base/kill_point.hpp"
#include "base/size.hpp"
#include "cxl/device_slice.hpp"
#include "cxl/inspection.hpp"
#include "cxl/superblock_pair.hpp"
#include "cxl/visibility.hpp"
#include "cxl/wipe.hpp"

namespace maru::cxl {

namespace {

constexpr unsigned owner_only(unsigned mode) { return mode & 0600u; }
constexpr unsigned for_readers(unsigned mode) { return mode & 0644u; }  // of the metadata: only marud writes it

error refuse(const member_options& o, ec code, const std::string& cause) {
  return {code, "failed to open pool " + o.spec.path + ": " + cause};
}

std::uint64_t file_bytes(const std::string& path) {
  struct stat now = {};
  return ::stat(path.c_str(), &now) == 0 ? static_cast<std::uint64_t>(now.st_size) : 0;
}

// Where the data begins behind metadata on the same device.
std::uint64_t offset_behind_metadata(std::uint64_t data_bytes, std::uint64_t slot_bytes, std::uint64_t align) {
  return align_up(metadata_bytes(data_bytes, slot_bytes), std::max<std::uint64_t>(align, bounds::layout_align));
}

// A format that failed leaves no file behind that was not there before.
class new_files {
public:
  void watch(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0)
      paths_.push_back(path);
  }
  void keep() { paths_.clear(); }
  ~new_files() {
    for (const auto& path : paths_)
      ::unlink(path.c_str());
  }

private:
  std::vector<std::string> paths_;
};

bool fits(const superblock& sb, const region_row& row) {
  return row.device == sb.device_index && value_of(row.id) < sb.next_region && objection_to(row, sb).empty();
}

// The extents that rows have claimed: tells overlaps while a table of any size is read.
class extent_map {
public:
  explicit extent_map(const superblock& sb) : extent_(sb.extent_bytes), claimed_(sb.data_bytes / extent_ + 1) {}

  bool claim(const region_row& row) {
    auto first = row.offset / extent_;
    auto end = (row.offset + row.length - 1) / extent_ + 1;
    for (auto i = first; i < end; ++i)
      if (claimed_[i])
        return false;
    for (auto i = first; i < end; ++i)
      claimed_[i] = true;
    return true;
  }

private:
  std::uint64_t extent_;
  std::vector<bool> claimed_;
};

}  // namespace

result<file_lock> member::lock(const member_options& o) {
  auto path = serving_lock_path(o.spec.path);
  auto lock =
    path == o.spec.path ? file_lock::acquire_existing(path) : file_lock::acquire(path, owner_only(o.file_mode));
  if (!lock && lock.code() == ec::in_use)
    return refuse(o, ec::in_use, "another marud serves it (it holds " + path + ")");
  return lock;
}

result<std::unique_ptr<member>> member::format(const member_options& o, file_lock lock, superblock fresh) {
  std::unique_ptr<member> m{new member{o, std::move(lock)}};
  m->super_ = fresh;
  m->contents_lost_ = true;
  new_files made;
  made.watch(cxl::metadata_path(o.spec.path));
  made.watch(o.spec.path);
  if (auto ok = m->make_room(fresh.slot_bytes); !ok)
    return ok.error();
  auto& sb = m->super_;
  sb.extent_bytes = o.extent_bytes != 0 ? o.extent_bytes : default_extent_bytes(sb.data_bytes, m->data_->align());
  if (auto ok = m->map_metadata(); !ok)
    return ok.error();
  superblock_pair{m->metadata_.bytes()}.mark_formatting();
  made.keep();  // from here on a crash, too, leaves what the next start finishes
  if (auto ok = m->wipe_metadata(); !ok)
    return ok.error();
  m->forget_data();
  return m;
}

// Opens the data of a new device, makes its file where that is needed, and settles all sizes. With room for the metadata: a
// size that cannot be is refused before anything is taken.
status member::make_room(std::uint64_t slot_bytes) {
  const auto& o = options_;
  bool is_file = serving_lock_path(o.spec.path) != o.spec.path;
  auto size = o.spec.size != 0 || !is_file ? o.spec.size : file_bytes(o.spec.path);
  if (size == 0 && is_file)
    return refuse(o, ec::bad_option, "a new pool needs a size");
  if (size != 0 && size < slot_bytes)
    return refuse(o, ec::bad_option,
                  "its size, " + format_size(size) + ", is less than one page of " + format_size(slot_bytes));
  size = align_down(size, slot_bytes);
  auto beside = metadata_bytes(size, slot_bytes);
  beside -= std::min(beside, allocated_bytes(cxl::metadata_path(o.spec.path)));
  auto opened =
    open_device({o.spec.path, size, true, access::read_write, o.file_mode, beside, o.file_group, o.spec.node});
  if (!opened)
    return opened.error();
  if ((*opened)->holds_metadata())
    return fit_inside(*std::move(opened), slot_bytes);
  super_.data_bytes = size;
  super_.data_offset = 0;
  data_ = *std::move(opened);
  return {};
}

// Metadata in front, data behind. A file grows to hold both; a device has the size that it has.
status member::fit_inside(std::unique_ptr<device> opened, std::uint64_t slot_bytes) {
  const auto& o = options_;
  auto align = opened->align();
  auto wanted = align_down(o.spec.size, slot_bytes);
  auto all = opened->size();
  if (wanted == 0) {
    auto offset = offset_behind_metadata(all, slot_bytes, align);
    wanted = offset < all ? align_down(all - offset, slot_bytes) : 0;
    if (wanted == 0)
      return refuse(o, ec::no_space,
                    "it has " + format_size(all) + ", and its metadata alone needs " + format_size(offset));
  }
  auto offset = offset_behind_metadata(wanted, slot_bytes, align);
  auto total = offset + align_up(wanted, align);
  auto grown = open_device({o.spec.path, total, true, access::read_write, o.file_mode, 0, o.file_group, o.spec.node});
  if (!grown)
    return grown.error();
  super_.data_bytes = wanted;
  super_.data_offset = offset;
  data_ = slice(std::shared_ptr<device>{*std::move(grown)}, offset, align_up(wanted, align));
  return {};
}

result<std::unique_ptr<member>> member::adopt(const member_options& o, file_lock lock, const superblock& found,
                                              bool contents_lost) {
  std::unique_ptr<member> m{new member{o, std::move(lock)}};
  m->super_ = found;
  if (auto ok = m->open_adopted(contents_lost); !ok)
    return ok.error();
  return m;
}

status member::open_adopted(bool contents_lost) {
  const auto& o = options_;
  auto open_data = [&](bool create) -> status {
    auto size = super_.data_offset + super_.data_bytes;
    auto opened =
      open_device({o.spec.path, size, create, access::read_write, o.file_mode, 0, o.file_group, o.spec.node});
    if (!opened)
      return opened.error();
    auto align = (*opened)->align();
    data_ = super_.data_offset == 0 ? *std::move(opened)
                                    : slice(std::shared_ptr<device>{*std::move(opened)}, super_.data_offset,
                                            align_up(super_.data_bytes, align));
    return {};
  };
  if (super_.data_offset != 0)
    if (auto ok = open_data(false); !ok)
      return ok;
  if (auto ok = map_metadata(); !ok)
    return ok;
  // Regions get storage before they are used: chunks in a file without any were in another one.
  bool has_storage = super_.data_offset != 0 || allocated_bytes(o.spec.path) != 0;
  contents_lost |= !has_storage && holds_chunks();
  contents_lost_ = contents_lost;
  if (contents_lost) {
    // Before a lost data file is made again, or a crash in between would leave one that looks like the old: only the
    // incarnation tells them apart. It is written once nothing of the old pool is left.
    if (auto ok = wipe_metadata(); !ok)
      return ok;
    super_.incarnation = random_uuid();
    if (auto ok = write_superblock(); !ok)
      return ok;
  }
  if (!data_)
    if (auto ok = open_data(contents_lost); !ok)
      return ok;
  if (contents_lost)
    forget_data();
  return {};
}

// Opens the metadata, makes or grows its file where that is needed, and closes the index to readers.
status member::map_metadata() {
  const auto& o = options_;
  auto bytes = metadata_bytes(super_.data_bytes, super_.slot_bytes);
  if (super_.data_offset != 0) {
    bytes = super_.data_offset;
    auto whole = open_device({o.spec.path, bytes, false});
    if (!whole)
      return whole.error();
    meta_ = slice(std::shared_ptr<device>{*std::move(whole)}, 0, bytes);
  } else {
    auto path = cxl::metadata_path(o.spec.path);
    auto meta =
      open_device({path, bytes, true, access::read_write, for_readers(o.file_mode), 0, o.file_group, o.spec.node});
    if (!meta)
      return meta.error();
    meta_ = std::move(*meta);
    // Older pools were made with metadata for marud alone. Where it is not marud's to change, its workers ask by message.
    if (::chmod(path.c_str(), for_readers(o.file_mode)) == 0 && o.file_group) [[maybe_unused]]
      auto given = ::chown(path.c_str(), static_cast<uid_t>(-1), *o.file_group);
  }
  if (auto ok = meta_->reserve(0, bytes); !ok)  // a copied file may have become sparse
    return ok;
  auto map = meta_->map(0, bytes, access::read_write);
  if (!map)
    return map.error();
  metadata_ = std::move(*map);
  // Once: what fails later ends marud, which cannot go on without its own facts, and the next start finds it here.
  if (auto ok = metadata_.probe(meta_->align()); !ok)
    return refuse(o, ok.code(), "the memory of its metadata failed");
  auto slots = super_.data_bytes / super_.slot_bytes;
  descriptors_ = descriptor_table{metadata_.data() + descriptors_offset, slots};
  index_ = shared_index{index_section(), slots};
  index_writer::close(index_);
  return {};
}

std::span<std::byte> member::index_section() const {
  return metadata_.bytes().subspan(index_offset(super_.data_bytes, super_.slot_bytes));
}

std::optional<index_reader> member::attach_reader(const uuid& nonce) const {
  return index_reader::attach(index_section(), descriptors_.slots(), nonce);
}

// Does any descriptor say that its page holds a chunk?
bool member::holds_chunks() const {
  for (std::uint64_t slot = 0; slot < descriptors_.slots(); ++slot)
    if (descriptors_.raw_state(slot) == page_state::committed)
      return true;
  return false;
}

status member::sync() {
  // At the same time: either may be the slower one, and one commit of the file system's journal can serve both.
  auto meta = std::async(std::launch::async, [this] {
    // Not the index behind: a start makes it anew.
    return metadata_.flush(0, index_offset(super_.data_bytes, super_.slot_bytes));
  });
  auto data = data_->sync();
  auto rest = meta.get();
  return data ? rest : data;
}

status member::erase() {
  forget_data();
  auto blank = blank_data_ends();  // memory that fails keeps nobody from letting go of the rest
  auto heads = metadata_.bytes().first(descriptors_offset);
  for (auto offset : {superblock_a_offset, superblock_b_offset, region_table_offset})
    std::memset(heads.data() + offset, 0, head_bytes);
  between_hosts().publish(heads);
  end_beat();
  lock_.release();
  auto flushed = options_.flush ? metadata_.flush(0, heads.size()) : status{};
  return blank ? flushed : blank;
}

// What is looked at before a device is taken for one that nobody uses.
status member::blank_data_ends() {
  auto unit = align_up(data_probe_bytes, data_->align());
  auto size = align_down(data_->size(), data_->align());
  for (auto offset : {std::uint64_t{0}, size - std::min(size, unit)}) {
    auto bytes = std::min(unit, size - offset);
    if (auto taken = data_->reserve(offset, bytes); !taken)
      return taken;
    if (auto done = blank(*data_, offset, bytes); !done)
      return done;
  }
  return {};
}

// Empties region table and descriptors.
status member::wipe_metadata() {
  auto bytes = metadata_.size() - region_table_offset;
  // Of a device that holds the metadata it may take no part of a page back, and leave its bytes as they are.
  if (super_.data_offset == 0 && meta_->release(region_table_offset, bytes)) {
    if (auto ok = meta_->reserve(region_table_offset, bytes); !ok)
      return ok;
  } else {
    std::memset(metadata_.data() + region_table_offset, 0, bytes);
  }
  return options_.flush ? metadata_.flush(region_table_offset, bytes) : status{};
}

// Gives the storage of the old bytes back. Where the device cannot do that they stay, and no descriptor leads there.
void member::forget_data() { [[maybe_unused]] auto done = data_->release(0, data_->size()); }

bool member::is_ours() const {
  if (!written_)
    return true;
  auto copy = [this](std::uint64_t offset) {
    std::span<const std::byte> bytes = metadata_.bytes().subspan(offset, head_bytes);
    between_hosts().acquire(bytes);
    return bytes;
  };
  auto now = read_head(copy(superblock_a_offset), copy(superblock_b_offset), copy(region_table_offset));
  if (now.kind != head_kind::valid)
    return now.kind != head_kind::unfinished;  // damage is nobody's doing
  return now.super.device == super_.device && now.super.epoch == super_.epoch && now.super.boot_id == super_.boot_id;
}

status member::write_superblock() {
  ++super_.sequence;
  superblock_pair heads{metadata_.bytes()};
  auto order = heads.write_order();
  for (auto offset : order) {
    if (offset == order.back())
      kill_point(kill_at::between_superblocks);
    heads.write(offset, super_);
    written_ = true;
    if (options_.flush)
      if (auto ok = metadata_.flush(offset, superblock_bytes); !ok)
        return ok;
  }
  return {};
}

std::vector<std::pair<region_row, std::size_t>> member::load_rows(std::size_t& damaged) {
  std::vector<std::pair<region_row, std::size_t>> rows;
  extent_map extents{super_};
  std::unordered_set<std::uint32_t> ids;
  for (std::size_t i = 0; i < region_rows_max; ++i) {
    auto bytes = metadata_.bytes().subspan(region_table_offset + i * region_row_bytes, region_row_bytes);
    bool torn = false;
    auto row = decode_region_row(bytes, &torn);
    if (!row && !torn)
      continue;
    // A whole row that does not fit this pool is as bad as a torn one.
    if (row && fits(super_, *row) && extents.claim(*row) && ids.insert(value_of(row->id)).second) {
      rows.emplace_back(*row, i);
    } else {
      ++damaged;
      std::memset(bytes.data(), 0, region_row_bytes);
    }
  }
  return rows;
}

status member::store_row(std::size_t slot, const std::array<std::byte, region_row_bytes>& bytes) {
  auto offset = region_table_offset + slot * region_row_bytes;
  std::copy(bytes.begin(), bytes.end(), metadata_.data() + offset);
  return options_.flush ? metadata_.flush(offset, region_row_bytes) : status{};
}

}  // namespace maru::cxl
