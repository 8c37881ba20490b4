#include "cxl/pool.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <system_error>
#include <utility>

#include "base/kill_point.hpp"
#include "base/size.hpp"
#include "cxl/superblock_pair.hpp"
#include "cxl/visibility.hpp"

namespace maru::cxl {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t data_probe_bytes = 64 * bounds::KiB;  // looked at, at both ends of a data file nobody knows

std::string meta_path(const pool_options& o) { return o.path + ".meta"; }
std::string lock_path(const pool_options& o) { return o.path + ".lock"; }
constexpr unsigned owner_only(unsigned mode) { return mode & 0600u; }
constexpr unsigned for_readers(unsigned mode) { return mode & 0644u; }  // of the metadata: only marud writes it

error refuse(const pool_options& o, ec code, const std::string& cause) {
  return {code, "failed to open pool " + o.path + ": " + cause};
}

error unknown(const pool_options& o, const std::string& cause) {
  return refuse(o, ec::unknown_contents, cause + "; --format overwrites it");
}

// Bytes of a file without mapping it (reading a hole through a mapping would allocate it). Zeros past its end.
std::vector<std::byte> peek(const std::string& path, std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> out(size);
  std::ifstream in{path, std::ios::binary};
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(size));
  return out;
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat now = {};
  return ::stat(path.c_str(), &now) == 0 ? static_cast<std::uint64_t>(now.st_blocks) * 512 : 0;
}

bool is_zero(const std::vector<std::byte>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// What lies at the paths before anything is touched.
struct findings {
  bool has_meta = false;
  bool has_data = false;
  std::uint64_t meta_bytes = 0;
  std::uint64_t data_bytes = 0;
  bool data_blank = true;
  head top;
};

findings look_at(const pool_options& o) {
  findings f;
  struct stat now = {};
  if (::stat(meta_path(o).c_str(), &now) == 0) {
    f.has_meta = true;
    f.meta_bytes = static_cast<std::uint64_t>(now.st_size);
  }
  if (::stat(o.path.c_str(), &now) == 0) {
    f.has_data = true;
    f.data_bytes = static_cast<std::uint64_t>(now.st_size);
    auto tail = f.data_bytes - std::min<std::uint64_t>(f.data_bytes, data_probe_bytes);
    f.data_blank = is_zero(peek(o.path, 0, data_probe_bytes)) && is_zero(peek(o.path, tail, data_probe_bytes));
  }
  f.top =
    read_head(peek(meta_path(o), superblock_a_offset, head_bytes), peek(meta_path(o), superblock_b_offset, head_bytes),
              peek(meta_path(o), region_table_offset, head_bytes));
  return f;
}

// Why the found pool is not the one that was asked for; empty where it is.
std::optional<error> mismatch(const pool_options& o, const findings& f, const std::optional<known_pool>& known) {
  const auto& sb = f.top.super;
  if (known && known->pool != sb.pool)
    return unknown(
      o, "it is pool " + to_string(sb.pool) + ", and the state directory belongs to pool " + to_string(known->pool));
  if (o.page_min != sb.slot_bytes)
    return refuse(o, ec::bad_option,
                  "it was formatted for pages of at least " + format_size(sb.slot_bytes) + ", and "
                    + format_size(o.page_min) + " was asked for; leave the page size out, or --format it anew");
  if (o.size != 0 && align_down(o.size, sb.slot_bytes) != sb.data_bytes)
    return refuse(o, ec::bad_option,
                  "it has " + format_size(sb.data_bytes) + ", and " + format_size(o.size)
                    + " was asked for; a pool cannot change its size yet: leave the size out, or --format it anew");
  if (o.extent_bytes != 0 && o.extent_bytes != sb.extent_bytes)
    return refuse(o, ec::bad_option,
                  "it has regions of " + format_size(sb.extent_bytes) + ", and " + format_size(o.extent_bytes)
                    + " was asked for; leave the region size out, or --format it anew");
  // Bytes that were published for one mode are not where readers of the other one look.
  if (o.mode != sb.mode)
    return refuse(o, ec::bad_option,
                  "it was formatted for " + std::string{to_string(sb.mode)} + " visibility, and "
                    + std::string{to_string(o.mode)} + " was asked for; give --visibility "
                    + std::string{to_string(sb.mode)} + ", or --format it anew");
  auto meta = index_offset(sb.data_bytes, sb.slot_bytes);  // what is behind is made anew by each start
  if (f.meta_bytes < meta)
    return refuse(o, ec::corrupt,
                  "its metadata was truncated to " + format_size(f.meta_bytes) + " of " + format_size(meta)
                    + "; --format starts it empty");
  if (f.data_bytes > 0 && f.data_bytes < sb.data_bytes)
    return refuse(o, ec::corrupt,
                  "its data was truncated to " + format_size(f.data_bytes) + " of " + format_size(sb.data_bytes)
                    + "; --format starts it empty");
  return std::nullopt;
}

// The rules of identity for a head that holds no valid superblock: empty where the pool may be formatted.
std::optional<error> objection(const pool_options& o, const findings& f, const std::optional<known_pool>& known) {
  switch (f.top.kind) {
    case head_kind::valid: return mismatch(o, f, known);
    case head_kind::blank: {
      // A pool that lost its metadata file is told from somebody's file by its exact size.
      bool ours = known && (f.has_meta || f.data_bytes == align_down(o.size, o.page_min));
      if (f.data_blank || ours)
        return std::nullopt;
      return unknown(o, "the file holds something that is not a Maru pool");
    }
    case head_kind::unfinished: return std::nullopt;
    case head_kind::damaged:
      return refuse(o, ec::corrupt, "both superblocks in " + meta_path(o) + " are damaged; --format starts it empty");
    case head_kind::other_version:
      return unknown(o, "its layout has version " + std::to_string(f.top.major) + ", this marud reads version "
                          + std::to_string(layout_major));
    case head_kind::foreign: break;
  }
  return unknown(o, meta_path(o) + " holds something that is not a Maru pool");
}

status check_options(const pool_options& o) {
  if (o.page_min != 0
      && (o.page_min < bounds::page_bytes_min || o.page_min > bounds::page_bytes_max
          || o.page_min % bounds::page_bytes_min != 0))
    return refuse(
      o, ec::bad_option,
      "the smallest page, " + std::to_string(o.page_min) + " bytes, is not a multiple of 4 KiB up to 1 GiB");
  if (o.extent_bytes % bounds::layout_align != 0)
    return refuse(o, ec::bad_option,
                  "the region size, " + std::to_string(o.extent_bytes) + " bytes, is not a multiple of 2 MiB");
  if (std::max(o.size, o.extent_bytes) > INT64_MAX)
    return refuse(o, ec::bad_option, "no pool can be that large");
  return {};
}

// One name for one pool, whatever links lead to it: lock and metadata lie beside the real file.
result<pool_options> with_real_path(pool_options o) {
  std::error_code code;
  auto real = fs::weakly_canonical(o.path, code);
  if (o.path.empty() || code)
    return refuse(o, ec::bad_option, o.path.empty() ? "the path is empty" : code.message());
  if (fs::is_symlink(real, code))
    return refuse(o, ec::invalid, "it is a link to a file that does not exist");
  for (auto path : {real.string(), real.string() + ".meta"})
    if (fs::exists(path, code) && !fs::is_regular_file(path, code))
      return refuse(o, ec::invalid, path + " is not a regular file");
  fs::create_directories(real.parent_path(), code);
  if (code)
    return refuse(o, ec::io, "failed to make folder " + real.parent_path().string() + ": " + code.message());
  o.path = real.string();
  return o;
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

std::uint64_t unix_seconds() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(duration_cast<seconds>(system_clock::now().time_since_epoch()).count());
}

}  // namespace

pool::~pool() = default;

result<std::unique_ptr<pool>> pool::open(const pool_options& options, const std::optional<known_pool>& known) {
  if (auto ok = check_options(options); !ok)
    return ok.error();
  auto o = with_real_path(options);
  if (!o)
    return o.error();
  std::unique_ptr<pool> p{new pool};
  auto lock = file_lock::acquire(lock_path(*o), owner_only(o->file_mode));
  if (!lock && lock.code() == ec::in_use)
    return refuse(*o, ec::in_use, "another marud serves it (it holds " + lock_path(*o) + ")");
  if (!lock)
    return lock.error();
  p->lock_ = std::move(*lock);
  p->flush_ = o->contents_survive_reboot;

  auto found = look_at(*o);
  if (o->page_min == 0)
    o->page_min = found.top.kind == head_kind::valid ? found.top.super.slot_bytes : bounds::page_bytes_default;
  auto refusal = objection(*o, found, known);
  if (refusal && !o->format_foreign)
    return *refusal;
  status done;
  if (refusal || found.top.kind != head_kind::valid) {
    done = p->format(*o, known);
  } else {
    const auto& sb = found.top.super;
    p->rebooted_ = sb.boot_id != host_boot_id();
    bool lost = (p->rebooted_ && !o->contents_survive_reboot) || found.data_bytes == 0
                || (known && known->incarnation != sb.incarnation);
    p->damaged_superblock_ = found.top.one_damaged;
    done = p->adopt(*o, sb, lost);
  }
  if (!done)
    return done.error();
  return p;
}

status pool::format(const pool_options& o, const std::optional<known_pool>& known) {
  std::error_code none;
  auto size = o.size != 0 ? o.size : fs::exists(o.path, none) ? fs::file_size(o.path, none) : 0;
  if (size == 0 || none)
    return refuse(o, ec::bad_option, "a new pool needs a size");
  if (size < o.page_min)
    return refuse(o, ec::bad_option,
                  "its size, " + format_size(size) + ", is less than one page of " + format_size(o.page_min));
  super_.data_bytes = align_down(size, o.page_min);
  super_.slot_bytes = o.page_min;
  super_.mode = o.mode;
  super_.pool = known ? known->pool : random_uuid();
  super_.device = random_uuid();
  super_.incarnation = random_uuid();
  if (o.secret)
    super_.secret = *o.secret;
  else
    random_bytes(super_.secret.data(), super_.secret.size());
  // Workers of a pool that was lost with its superblock must not meet the epoch they knew: start above all that can
  // have been.
  super_.epoch = known ? unix_seconds() : 0;
  how_ = known ? opened_as::contents_lost : opened_as::formatted;

  new_files made;
  made.watch(meta_path(o));
  made.watch(o.path);
  auto bytes = metadata_bytes(super_.data_bytes, super_.slot_bytes);
  // The data first, and with room for the metadata: a size that cannot be is refused before anything is taken.
  auto data = open_device({o.path, super_.data_bytes, true, access::read_write, o.file_mode,
                                bytes - std::min(bytes, allocated_bytes(meta_path(o))), o.file_group});
  if (!data)
    return data.error();
  data_ = std::move(*data);
  super_.extent_bytes = o.extent_bytes != 0 ? o.extent_bytes : default_extent_bytes(super_.data_bytes, data_->align());
  if (auto ok = map_metadata(o); !ok)
    return ok;
  superblock_pair{metadata_.bytes()}.mark_formatting();
  made.keep();  // from here on a crash, too, leaves what the next start finishes
  if (auto ok = wipe_metadata(); !ok)
    return ok;
  forget_data();
  return take_over();
}

status pool::adopt(const pool_options& o, const superblock& found, bool contents_lost) {
  super_ = found;
  if (auto ok = map_metadata(o); !ok)
    return ok;
  // Regions get storage before they are used: chunks in a file without any were in another one.
  contents_lost |= allocated_bytes(o.path) == 0 && holds_chunks();
  how_ = contents_lost ? opened_as::contents_lost : opened_as::opened;
  if (contents_lost) {
    // Before a lost data file is made again, or a crash in between would leave one that looks like the old: only the
    // incarnation tells them apart. It is written once nothing of the old pool is left.
    if (auto ok = wipe_metadata(); !ok)
      return ok;
    super_.incarnation = random_uuid();
    if (auto ok = write_superblock(); !ok)
      return ok;
  }
  auto data =
    open_device({o.path, super_.data_bytes, contents_lost, access::read_write, o.file_mode, 0, o.file_group});
  if (!data)
    return data.error();
  data_ = std::move(*data);
  if (contents_lost)
    forget_data();
  return take_over();
}

// Opens the metadata, makes or grows its file where that is needed, and closes the index to readers.
status pool::map_metadata(const pool_options& o) {
  auto bytes = metadata_bytes(super_.data_bytes, super_.slot_bytes);
  auto meta =
    open_device({meta_path(o), bytes, true, access::read_write, for_readers(o.file_mode), 0, o.file_group});
  if (!meta)
    return meta.error();
  meta_ = std::move(*meta);
  // Older pools were made with metadata for marud alone. Where it is not marud's to change, its workers ask by message.
  if (::chmod(meta_path(o).c_str(), for_readers(o.file_mode)) == 0 && o.file_group) [[maybe_unused]]
    auto given = ::chown(meta_path(o).c_str(), static_cast<uid_t>(-1), *o.file_group);
  if (auto ok = meta_->reserve(0, bytes); !ok)  // a copied file may have become sparse
    return ok;
  auto map = meta_->map(0, bytes, access::read_write);
  if (!map)
    return map.error();
  metadata_ = std::move(*map);
  index_ = shared_index{index_section(), super_.data_bytes / super_.slot_bytes};
  index_writer::close(index_);
  return {};
}

std::span<std::byte> pool::index_section() const {
  return metadata_.bytes().subspan(index_offset(super_.data_bytes, super_.slot_bytes));
}

std::optional<index_reader> pool::attach_reader(const uuid& nonce) const {
  return index_reader::attach(index_section(), super_.data_bytes / super_.slot_bytes, nonce);
}

// Does any descriptor say that its page holds a chunk?
bool pool::holds_chunks() const {
  auto slots = super_.data_bytes / super_.slot_bytes;
  descriptor_table all{metadata_.data() + descriptors_offset, slots};
  for (std::uint64_t slot = 0; slot < slots; ++slot)
    if (all.raw_state(slot) == page_state::committed)
      return true;
  return false;
}

status pool::sync() {
  // At the same time: either may be the slower one, and one commit of the file system's journal can serve both.
  auto meta = std::async(std::launch::async, [this] {
    // Not the index behind: a start makes it anew.
    return metadata_.flush(0, index_offset(super_.data_bytes, super_.slot_bytes));
  });
  auto data = data_->sync();
  auto rest = meta.get();
  return data ? rest : data;
}

// Empties region table and descriptors.
status pool::wipe_metadata() {
  auto bytes = metadata_.size() - region_table_offset;
  if (meta_->release(region_table_offset, bytes)) {
    if (auto ok = meta_->reserve(region_table_offset, bytes); !ok)
      return ok;
  } else {
    std::memset(metadata_.data() + region_table_offset, 0, bytes);
  }
  return flush_ ? metadata_.flush(region_table_offset, bytes) : status{};
}

// Gives the storage of the old bytes back. Where the device cannot do that they stay, and no descriptor leads there.
void pool::forget_data() { [[maybe_unused]] auto done = data_->release(0, data_->size()); }

// The last step of every open: the next epoch, on the device before anybody is served.
status pool::take_over() {
  super_.boot_id = host_boot_id();
  ++super_.epoch;
  highest_.store(super_.highest, std::memory_order_relaxed);
  if (auto ok = write_superblock(); !ok)
    return ok;
  auto slots = super_.data_bytes / super_.slot_bytes;
  descriptors_ = descriptor_table{metadata_.data() + descriptors_offset, slots};
  load_regions();
  return {};
}

// Both copies, the older first, so that one is whole at every instant and both say the same afterwards.
// REQUIRES: super_mutex_ is held, or the pool is being opened.
status pool::write_superblock() {
  ++super_.sequence;
  superblock_pair heads{metadata_.bytes()};
  auto order = heads.write_order();
  for (auto offset : order) {
    if (offset == order.back())
      kill_point(kill_at::between_superblocks);
    heads.write(offset, super_);
    if (flush_)
      if (auto ok = metadata_.flush(offset, superblock_bytes); !ok)
        return ok;
  }
  return {};
}

}  // namespace maru::cxl
