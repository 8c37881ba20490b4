#include "cxl/inspection.hpp"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/file_lock.hpp"
#include "base/size.hpp"
#include "cxl/descriptor_table.hpp"
#include "cxl/device.hpp"

namespace maru::cxl {

namespace {

constexpr std::string_view dax_node_prefix = "/dev/dax";

bool is_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

error memory_failed_of(const std::string& path) {
  return {ec::memory_failed, "failed to read " + path + ": its memory failed"};
}

// Bytes of a file without mapping it (reading a hole through a mapping would allocate it). Zeros past its end, and of one
// that cannot be opened.
result<std::vector<std::byte>> peek(const std::string& path, std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> out(size);
  std::ifstream in{path, std::ios::binary};
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(size));
  if (in.bad())
    return memory_failed_of(path);
  return out;
}

// The same of a device, which can only be mapped.
result<std::vector<std::byte>> peek(const device& from, std::uint64_t offset, std::size_t size) {
  auto begin = align_down(offset, from.align());
  auto map = from.map(begin, align_up(offset + size, from.align()) - begin, access::read);
  if (!map)
    return map.error();
  map->guard(from.align());
  auto bytes = map->bytes().subspan(offset - begin, size);
  std::vector<std::byte> out{bytes.begin(), bytes.end()};
  if (faulted(bytes))
    return memory_failed_of(from.path());
  return out;
}

// Both superblocks and the region table, each by its start.
template <class Source>
status read_heads(const Source& source, head& top) {
  std::vector<std::byte> parts[3];
  for (std::size_t i = 0; i < 3; ++i) {
    auto part = peek(source, i * bounds::layout_align, head_bytes);
    if (!part)
      return part.error();
    parts[i] = *std::move(part);
  }
  top = read_head(parts[0], parts[1], parts[2]);
  return {};
}
static_assert(superblock_a_offset == 0 && superblock_b_offset == bounds::layout_align
              && region_table_offset == 2 * bounds::layout_align);

// What cannot be read may hold something.
template <class Source>
bool blank_at_both_ends(const Source& source, std::uint64_t bytes) {
  auto size = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, data_probe_bytes));
  auto is_blank = [&](std::uint64_t at) {
    auto part = peek(source, at, size);
    return part && is_zero(*part);
  };
  return is_blank(0) && is_blank(bytes - size);
}

// Metadata in front of the data: what is behind the heads is data.
void measure_inside(inspection& f) {
  f.has_metadata = f.exists && f.top.kind != head_kind::blank;
  f.metadata_bytes = f.bytes;
  auto offset = f.top.kind == head_kind::valid ? f.top.super.data_offset : 0;
  f.data_bytes = offset < f.bytes ? f.bytes - offset : 0;
}

status inspect_device(inspection& f) {
  auto opened = open_device({f.path, 0, false, access::read});
  if (!opened)
    return opened.error();
  const auto& dev = **opened;
  f.is_inside = true;
  f.bytes = dev.size();
  if (f.bytes < descriptors_offset)
    return {ec::no_space, "failed to look at " + f.path + ": a device of " + format_size(f.bytes) + " holds no pool"};
  if (auto ok = read_heads(dev, f.top); !ok)
    return ok;
  f.data_blank = blank_at_both_ends(dev, f.bytes);
  measure_inside(f);
  return {};
}

// The file system that a file is or would be made on has huge pages.
bool on_hugetlbfs(const std::string& path) {
  struct statfs fs = {};
  auto parent = std::filesystem::path{path}.parent_path();
  return (::statfs(path.c_str(), &fs) == 0 || ::statfs(parent.c_str(), &fs) == 0) && fs.f_type == HUGETLBFS_MAGIC;
}

status inspect_file(inspection& f, const struct stat& now) {
  f.is_inside = on_hugetlbfs(f.path);
  f.bytes = f.data_bytes = f.exists ? static_cast<std::uint64_t>(now.st_size) : 0;
  f.data_blank = blank_at_both_ends(f.path, f.bytes);
  auto meta = f.is_inside ? f.path : metadata_path(f.path);
  if (auto ok = read_heads(meta, f.top); !ok)
    return ok;
  if (f.is_inside) {
    measure_inside(f);
    return {};
  }
  struct stat of_meta = {};
  f.has_metadata = ::stat(meta.c_str(), &of_meta) == 0;
  f.metadata_bytes = f.has_metadata ? static_cast<std::uint64_t>(of_meta.st_size) : 0;
  return {};
}

// The path, or another Device-DAX node, whose head is one that `is_it` takes.
template <class IsIt>
std::string find_node(const std::string& path, IsIt is_it) {
  auto fits = [&](const std::string& there) {
    auto found = inspect(there);
    return found && found->top.kind == head_kind::valid && is_it(found->top.super);
  };
  if (fits(path))
    return path;
  struct stat now = {};
  bool is_file = ::stat(path.c_str(), &now) == 0 ? !S_ISCHR(now.st_mode) : !path.starts_with(dax_node_prefix);
  if (is_file)
    return {};
  std::error_code failed;
  for (const auto& node : std::filesystem::directory_iterator{"/dev", failed})
    if (auto there = node.path().string(); there.starts_with(dax_node_prefix) && there != path && fits(there))
      return there;
  return {};
}

}  // namespace

std::string metadata_path(const std::string& path) { return path + ".meta"; }

std::string serving_lock_path(const std::string& path) {
  struct stat now = {};
  bool is_device = ::stat(path.c_str(), &now) == 0 && S_ISCHR(now.st_mode);
  return is_device ? path : path + ".lock";
}

result<inspection> inspect(const std::string& path) {
  inspection f;
  f.path = path;
  struct stat now = {};
  f.exists = ::stat(path.c_str(), &now) == 0;
  if (f.exists && S_ISCHR(now.st_mode)) {
    if (auto ok = inspect_device(f); !ok)
      return ok.error();
  } else {
    struct stat meta = {};
    for (const auto& [file, known, what] :
         {std::tuple{path, f.exists, now},
          std::tuple{metadata_path(path), ::stat(metadata_path(path).c_str(), &meta) == 0, meta}})
      if (known && !S_ISREG(what.st_mode))
        return {ec::invalid, "failed to look at " + file + ": it is not a regular file"};
    if (auto ok = inspect_file(f, now); !ok)
      return ok.error();
  }
  return f;
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat now = {};
  return ::stat(path.c_str(), &now) == 0 ? static_cast<std::uint64_t>(now.st_blocks) * 512 : 0;
}

lock_identity lock_identity_of(const std::string& path) {
  struct stat now = {};
  if (::stat(serving_lock_path(path).c_str(), &now) != 0)
    return {};
  return {now.st_dev, now.st_ino};
}

std::string find_device(const uuid& device, const std::string& path) {
  return find_node(path, [&](const superblock& sb) { return sb.device == device; });
}

std::string find_first_device(const uuid& pool, const std::string& path) {
  return find_node(path, [&](const superblock& sb) { return sb.pool == pool && sb.device_index == 0; });
}

result<bool> is_served_elsewhere(const inspection& found) {
  // Only what has no file beside it can be the memory of another host, too.
  if (!found.is_inside || found.top.kind != head_kind::valid)
    return false;
  auto opened = open_device({found.path, 0, false, access::read});
  if (!opened)
    return opened.error();
  auto map = (*opened)->map(0, align_up(superblock_b_offset, (*opened)->align()), access::read);
  if (!map)
    return map.error();
  map->guard((*opened)->align());
  serving_beat last{map->bytes()};
  bool same_lock = found.top.super.boot_id == host_boot_id() && last.lock() == lock_identity_of(found.path);
  bool goes_on = !same_lock && last.goes_on();
  if (faulted(map->bytes()))
    return memory_failed_of(found.path);
  return goes_on;
}

result<bool> is_served(const std::string& path) { return file_lock::is_held(serving_lock_path(path)); }

result<std::uint64_t> committed_chunks(const inspection& found) {
  const auto& sb = found.top.super;
  auto opened = open_device({found.is_inside ? found.path : metadata_path(found.path), 0, false, access::read});
  if (!opened)
    return opened.error();
  auto bytes = align_up(index_offset(sb.data_bytes, sb.slot_bytes), (*opened)->align());
  auto map = (*opened)->map(0, bytes, access::read);
  if (!map)
    return map.error();
  if (auto ok = map->probe((*opened)->align()); !ok)
    return ok.error();
  descriptor_table all{map->data() + descriptors_offset, sb.data_bytes / sb.slot_bytes};
  std::uint64_t n = 0;
  for (std::uint64_t slot = 0; slot < all.slots(); ++slot)
    n += all.raw_state(slot) == page_state::committed ? 1 : 0;
  return n;
}

}  // namespace maru::cxl
