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

// Bytes of a file without mapping it (reading a hole through a mapping would allocate it). Zeros past its end.
std::vector<std::byte> peek(const std::string& path, std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> out(size);
  std::ifstream in{path, std::ios::binary};
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(size));
  return out;
}

// The same of a device, which can only be mapped.
result<std::vector<std::byte>> peek(const device& from, std::uint64_t offset, std::size_t size) {
  auto begin = align_down(offset, from.align());
  auto map = from.map(begin, align_up(offset + size, from.align()) - begin, access::read);
  if (!map)
    return map.error();
  auto bytes = map->bytes().subspan(offset - begin, size);
  return std::vector<std::byte>{bytes.begin(), bytes.end()};
}

template <class Source>
bool blank_at_both_ends(const Source& source, std::uint64_t begin, std::uint64_t end, auto&& read) {
  auto tail = end - std::min<std::uint64_t>(end - begin, data_probe_bytes);
  auto size = static_cast<std::size_t>(std::min<std::uint64_t>(end - begin, data_probe_bytes));
  return is_zero(read(source, begin, size)) && is_zero(read(source, tail, size));
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
  f.bytes = f.allocated_bytes = dev.size();
  if (f.bytes < descriptors_offset)
    return {ec::no_space, "failed to look at " + f.path + ": a device of " + format_size(f.bytes) + " holds no pool"};
  std::vector<std::byte> parts[3];
  for (std::size_t i = 0; i < 3; ++i) {
    auto part = peek(dev, i * bounds::layout_align, head_bytes);
    if (!part)
      return part.error();
    parts[i] = *std::move(part);
  }
  f.top = read_head(parts[0], parts[1], parts[2]);
  f.data_blank = blank_at_both_ends(dev, 0, f.bytes, [](const device& from, std::uint64_t at, std::size_t n) {
    auto bytes = peek(from, at, n);
    return bytes ? *std::move(bytes) : std::vector<std::byte>(1, std::byte{1});
  });
  measure_inside(f);
  return {};
}

// The file system that a file is or would be made on has huge pages.
bool on_hugetlbfs(const std::string& path) {
  struct statfs fs = {};
  auto parent = std::filesystem::path{path}.parent_path();
  return (::statfs(path.c_str(), &fs) == 0 || ::statfs(parent.c_str(), &fs) == 0) && fs.f_type == HUGETLBFS_MAGIC;
}

void inspect_file(inspection& f, const struct stat& now) {
  f.is_inside = on_hugetlbfs(f.path);
  f.bytes = f.data_bytes = f.exists ? static_cast<std::uint64_t>(now.st_size) : 0;
  f.allocated_bytes = f.exists ? static_cast<std::uint64_t>(now.st_blocks) * 512 : 0;
  auto read = [](const std::string& path, std::uint64_t at, std::size_t n) { return peek(path, at, n); };
  f.data_blank = blank_at_both_ends(f.path, 0, f.bytes, read);
  auto meta = f.is_inside ? f.path : metadata_path(f.path);
  f.top = read_head(peek(meta, superblock_a_offset, head_bytes), peek(meta, superblock_b_offset, head_bytes),
                    peek(meta, region_table_offset, head_bytes));
  if (f.is_inside)
    return measure_inside(f);
  struct stat of_meta = {};
  f.has_metadata = ::stat(meta.c_str(), &of_meta) == 0;
  f.metadata_bytes = f.has_metadata ? static_cast<std::uint64_t>(of_meta.st_size) : 0;
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
    inspect_file(f, now);
  }
  return f;
}

std::string find_device(const uuid& device, const std::string& path) {
  auto is_it = [&](const std::string& there) {
    auto found = inspect(there);
    return found && found->top.kind == head_kind::valid && found->top.super.device == device;
  };
  if (is_it(path))
    return path;
  if (!path.starts_with(dax_node_prefix))
    return {};
  std::error_code failed;
  for (const auto& node : std::filesystem::directory_iterator{"/dev", failed})
    if (auto there = node.path().string(); there.starts_with(dax_node_prefix) && there != path && is_it(there))
      return there;
  return {};
}

result<bool> is_served(const std::string& path) {
  auto lock_path = serving_lock_path(path);
  if (!std::filesystem::exists(lock_path))
    return false;
  auto lock = file_lock::acquire_existing(lock_path);
  if (!lock && lock.code() != ec::in_use)
    return lock.error();
  return !lock;
}

result<std::uint64_t> committed_chunks(const inspection& found) {
  const auto& sb = found.top.super;
  auto opened = open_device({found.is_inside ? found.path : metadata_path(found.path), 0, false, access::read});
  if (!opened)
    return opened.error();
  auto bytes = align_up(index_offset(sb.data_bytes, sb.slot_bytes), (*opened)->align());
  auto map = (*opened)->map(0, bytes, access::read);
  if (!map)
    return map.error();
  descriptor_table all{map->data() + descriptors_offset, sb.data_bytes / sb.slot_bytes};
  std::uint64_t n = 0;
  for (std::uint64_t slot = 0; slot < all.slots(); ++slot)
    n += all.raw_state(slot) == page_state::committed ? 1 : 0;
  return n;
}

}  // namespace maru::cxl
