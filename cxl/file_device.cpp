#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/bounds.hpp"
#include "base/size.hpp"
#include "base/unique_fd.hpp"
#include "cxl/device_kinds.hpp"
#include "cxl/huge_pages.hpp"
#include "cxl/numa_nodes.hpp"

namespace maru::cxl {

namespace {

// `io`, or `no_space` where the file system has no more to give.
error storage_error(const std::string& what, int errnum) {
  auto e = errno_error(what, errnum);
  if (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)
    e.code = ec::no_space;
  return e;
}

// What the file system of a file is, as far as it matters here.
enum class storage_kind : std::uint8_t {
  tmpfs,      // its contents go with the host
  hugetlbfs,  // so do they here, and everything is in units of a huge page
  fsdax,      // mapped as it lies on persistent memory: MAP_SYNC keeps what a crash needs to find it there
  other,
};

const char* name_of(storage_kind kind) {
  switch (kind) {
    case storage_kind::tmpfs: return "tmpfs";
    case storage_kind::hugetlbfs: return "hugetlbfs";
    case storage_kind::fsdax: return "fsdax";
    case storage_kind::other: break;
  }
  return "file";
}

bool in_memory(storage_kind kind) { return kind == storage_kind::tmpfs || kind == storage_kind::hugetlbfs; }

// How its mappings are made. Everything but FS-DAX answers MAP_SYNC with EOPNOTSUPP.
int map_flags(storage_kind kind) { return kind == storage_kind::fsdax ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED; }

// A file of any file system.
class file_device final : public device {
public:
  file_device(unique_fd fd, std::string path, std::uint64_t size, std::uint64_t align, storage_kind kind, access mode)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size), align_(align), kind_(kind), mode_(mode) {}

  std::string kind() const override { return name_of(kind_); }
  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return size_; }
  std::uint64_t align() const override { return align_; }
  bool survives_reboot() const override { return !in_memory(kind_); }
  bool holds_metadata() const override { return kind_ == storage_kind::hugetlbfs; }

  status reserve(std::uint64_t offset, std::uint64_t size) override {
    return allocate(FALLOC_FL_KEEP_SIZE, "reserve", offset, size);
  }

  status release(std::uint64_t offset, std::uint64_t size) override {
    return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "release", offset, size);
  }

  status sync() override { return ::fdatasync(fd_.get()) == 0 ? status{} : errno_error("sync " + path_, errno); }

  result<mapping> map(std::uint64_t offset, std::uint64_t size, access mode) const override {
    auto out = map_shared(*this, fd_.get(), offset, size, mode, mode_, map_flags(kind_));
    if (!out)
      return out;
    // What lies past the end of the file is mapped, too, and kills whoever touches it with SIGBUS.
    auto what = "map " + format_size(size) + " of " + path_;
    struct stat now = {};
    if (::fstat(fd_.get(), &now) != 0)
      return errno_error(what, errno);
    if (static_cast<std::uint64_t>(now.st_size) < offset + size)
      return {ec::corrupt, "failed to " + what + ": the file was truncated to " + format_size(now.st_size)};
    if (size >= bounds::layout_align)
      ::madvise(out->data(), size, MADV_HUGEPAGE);  // a wish: kernels and file systems without huge pages refuse it
    return out;
  }

private:
  status allocate(int flags, const char* verb, std::uint64_t offset, std::uint64_t size) {
    auto what = verb + (" " + format_size(size)) + " of " + path_;
    if (offset > size_ || size > size_ - offset)
      return {ec::invalid, "failed to " + what + ": the range ends past it"};
    if (size == 0)
      return {};
    while (::fallocate(fd_.get(), flags, static_cast<off_t>(offset), static_cast<off_t>(size)) != 0)
      if (errno != EINTR)
        return storage_error(what, errno);
    return {};
  }

  unique_fd fd_;
  std::string path_;
  std::uint64_t size_;
  std::uint64_t align_;
  storage_kind kind_;
  access mode_;
};

// Free memory of a NUMA node; empty where there is none of that number.
error not_a_file(const std::string& path) {
  return {ec::invalid, "failed to open device " + path + ": it is not a regular file"};
}

// Opens the file, makes it where that was asked for.
result<unique_fd> open_or_create(const device_options& o) {
  struct stat before = {};
  if (::stat(o.path.c_str(), &before) == 0 && !S_ISREG(before.st_mode))
    return not_a_file(o.path);
  int flags = (o.mode == access::read ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
  int fd = ::open(o.path.c_str(), flags);
  if (fd >= 0)
    return unique_fd{fd};
  if (errno != ENOENT)
    return errno_error("open device " + o.path, errno);
  if (!o.create)
    return {ec::missing, "failed to open device " + o.path + ": no such file"};
  if (auto parent = std::filesystem::path{o.path}.parent_path(); !parent.empty()) {
    std::error_code code;
    std::filesystem::create_directories(parent, code);
    if (code)
      return {ec::io, "failed to make folder " + parent.string() + ": " + code.message()};
  }
  unique_fd made{::open(o.path.c_str(), flags | O_CREAT | O_EXCL, o.file_mode)};
  if (made.get() < 0)
    return storage_error("make device " + o.path, errno);
  if (o.file_group && ::fchown(made.get(), static_cast<uid_t>(-1), *o.file_group) != 0) {
    auto cause = errno_error("give " + o.path + " to group " + std::to_string(*o.file_group), errno);
    ::unlink(o.path.c_str());
    return cause;
  }
  if (::fchmod(made.get(), o.file_mode) != 0)  // the umask must not narrow what the operator asked for
    return errno_error("set the mode of " + o.path, errno);
  return made;
}

// Bytes that the file system has left; a mount without a limit has no blocks to count, and huge pages are counted by size.
std::uint64_t room_of(const struct statfs& fs) {
  auto room =
    fs.f_blocks == 0 ? UINT64_MAX : static_cast<std::uint64_t>(fs.f_bavail) * static_cast<std::uint64_t>(fs.f_frsize);
  if (fs.f_type == HUGETLBFS_MAGIC)
    for (const auto& pages : huge_page_pools("/"))
      if (pages.page_bytes == static_cast<std::uint64_t>(fs.f_bsize))
        room = std::min(room, pages.available * pages.page_bytes);
  return room;
}

// Holds the bytes that are still to be taken against what the file system has.
status check_space(int fd, const device_options& o, const struct stat& now) {
  struct statfs fs = {};
  if (::fstatfs(fd, &fs) != 0)
    return errno_error("ask for the free space at " + o.path, errno);
  // Huge pages of a file that is there may be promised to those who map it.
  if (fs.f_type == HUGETLBFS_MAGIC && static_cast<std::uint64_t>(now.st_size) >= o.size)
    return {};
  auto taken = static_cast<std::uint64_t>(now.st_blocks) * 512;
  auto needed = (o.size > taken ? o.size - taken : 0) + o.headroom;
  auto room = room_of(fs);
  if (needed <= room)
    return {};
  return {ec::no_space, "failed to make device " + o.path + ": it needs " + format_size(needed)
                          + ", the file system has " + format_size(room) + " free"};
}

// Checks or grows the file; its size in bytes.
result<std::uint64_t> settle_size(int fd, const device_options& o) {
  struct stat now = {};
  if (::fstat(fd, &now) != 0)
    return errno_error("open device " + o.path, errno);
  if (!S_ISREG(now.st_mode))
    return not_a_file(o.path);
  auto found = static_cast<std::uint64_t>(now.st_size);
  if (o.size > INT64_MAX)
    return {ec::invalid, "failed to open device " + o.path + ": no file can have " + std::to_string(o.size) + " bytes"};
  if (o.create && o.mode == access::read_write) {
    if (auto space = check_space(fd, o, now); !space)
      return space.error();
    if (found < o.size && ::ftruncate(fd, static_cast<off_t>(o.size)) != 0)
      return storage_error("grow device " + o.path + " to " + format_size(o.size), errno);
    found = std::max(found, o.size);
  }
  if (found < o.size)
    return {ec::no_space, "failed to open device " + o.path + ": it has " + format_size(found) + ", "
                            + format_size(o.size) + " are wanted"};
  return found;
}

// What lies under an open file. REQUIRES: it is as large as a page of its file system.
storage_kind kind_of(int fd, const struct statfs& fs) {
  if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
    return storage_kind::tmpfs;
  if (fs.f_type == HUGETLBFS_MAGIC)
    return storage_kind::hugetlbfs;
  auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* at = ::mmap(nullptr, bytes, PROT_READ, map_flags(storage_kind::fsdax), fd, 0);
  if (at == MAP_FAILED)
    return storage_kind::other;
  ::munmap(at, bytes);
  return storage_kind::fsdax;
}

// Memory of one NUMA node for all pages of the file that are taken from here on, by whichever process: the policy of a
// mapping of tmpfs and hugetlbfs is the file's. See mbind(2), and set_mempolicy(2) for what the kernel does when the node
// is full: it ends a process. So there must be room for all of it now.
status bind_to_node(int fd, const device_options& o, storage_kind kind, std::uint64_t size) {
  auto what = "place device " + o.path + " on NUMA node " + std::to_string(*o.node);
  if (!in_memory(kind))
    return {ec::invalid, "failed to " + what + ": only files on tmpfs and hugetlbfs have a node"};
  constexpr int word_bits = 64;
  std::array<unsigned long, 16> nodes{};
  if (*o.node < 0 || *o.node >= word_bits * static_cast<int>(nodes.size()))
    return {ec::invalid, "failed to " + what + ": there is no such node"};
  struct stat now = {};
  auto all = numa_nodes("/");
  auto there = std::find_if(all.begin(), all.end(), [&](const numa_node& n) { return n.id == *o.node; });
  if (there == all.end() || ::fstat(fd, &now) != 0)
    return {ec::invalid, "failed to " + what + ": there is no such node"};
  auto taken = static_cast<std::uint64_t>(now.st_blocks) * 512;
  if (kind == storage_kind::tmpfs && size > taken && size - taken > there->free)
    return {ec::no_space, "failed to " + what + ": it needs " + format_size(size - taken) + ", the node has "
                            + format_size(there->free) + " free"};
  nodes[static_cast<std::size_t>(*o.node / word_bits)] = 1ul << (*o.node % word_bits);
  void* at = ::mmap(nullptr, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (at == MAP_FAILED)
    return errno_error(what, errno);
  auto done = ::syscall(SYS_mbind, at, size, MPOL_BIND, nodes.data(), word_bits * nodes.size() + 1, 0);
  int cause = errno;
  ::munmap(at, size);
  return done == 0 ? status{} : errno_error(what, cause);
}

}  // namespace

result<std::unique_ptr<device>> open_file_device(const device_options& options) {
  auto o = options;
  bool existed = ::access(o.path.c_str(), F_OK) == 0;
  auto fd = open_or_create(o);
  if (!fd)
    return fd.error();
  struct statfs fs = {};
  if (::fstatfs(fd->get(), &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
    o.size = align_up(o.size, static_cast<std::uint64_t>(fs.f_bsize));  // it takes no other size
  auto found = settle_size(fd->get(), o);
  auto kind = found ? kind_of(fd->get(), fs) : storage_kind::other;
  auto align = static_cast<std::uint64_t>(kind == storage_kind::hugetlbfs ? fs.f_bsize : ::sysconf(_SC_PAGESIZE));
  auto size = found ? align_down(o.size > 0 ? o.size : *found, align) : 0;
  if (found && o.node && o.mode == access::read_write)
    if (auto bound = bind_to_node(fd->get(), o, kind, size); !bound)
      found = bound.error();
  if (!found) {
    if (!existed && o.create)
      ::unlink(o.path.c_str());  // a refusal leaves nothing behind
    return found.error();
  }
  return std::unique_ptr<device>{std::make_unique<file_device>(std::move(*fd), o.path, size, align, kind, o.mode)};
}

}  // namespace maru::cxl
