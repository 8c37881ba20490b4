#include "cxl/wipe.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bounds.hpp"
#include "base/file_lock.hpp"
#include "base/size.hpp"
#include "base/unique_fd.hpp"
#include "cxl/device.hpp"
#include "cxl/visibility.hpp"

namespace maru::cxl {

namespace {

// The lock belongs to whoever owns the data: it stays behind, and marud opens it, too.
result<file_lock> lock(const inspection& found) {
  auto path = serving_lock_path(found.path);
  struct stat owner = {};
  bool is_new = ::access(path.c_str(), F_OK) != 0;
  auto held = file_lock::acquire(path);
  if (!held && held.code() == ec::in_use)
    return {ec::in_use, "failed to wipe " + found.path + ": a marud serves it"};
  if (held && is_new && ::stat(found.path.c_str(), &owner) == 0) [[maybe_unused]]
    auto given = ::chown(path.c_str(), owner.st_uid, owner.st_gid);
  return held;
}

// All of a file becomes a hole, of the same size. Workers of an old pool may still have it mapped: it is cut to nothing,
// which would kill them, only where its file system makes no holes.
status wipe_file(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)};
  struct stat now = {};
  if (!fd || ::fstat(fd.get(), &now) != 0)
    return errno_error("open " + path, errno);
  if (now.st_size == 0)
    return {};
  if (::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, now.st_size) != 0
      && (::ftruncate(fd.get(), 0) != 0 || ::ftruncate(fd.get(), now.st_size) != 0))
    return errno_error("wipe " + path, errno);
  return ::fsync(fd.get()) == 0 || errno == EINVAL ? status{} : errno_error("sync " + path, errno);
}

// The heads, and what is looked at to tell a blank device: all of the first blocks, and the last one.
status wipe_device(const std::string& path) {
  auto opened = open_device({path});
  if (!opened)
    return opened.error();
  auto& dev = **opened;
  auto unit = std::max<std::uint64_t>(dev.align(), bounds::layout_align);
  auto heads = std::min(align_up(descriptors_offset, unit), align_down(dev.size(), dev.align()));
  auto tail = std::min<std::uint64_t>(dev.align(), dev.size());
  for (auto [offset, size] : {std::pair{std::uint64_t{0}, heads}, std::pair{dev.size() - tail, tail}}) {
    if (auto done = blank(dev, offset, size); !done)
      return done;
  }
  return {};
}

}  // namespace

status blank(device& dev, std::uint64_t offset, std::uint64_t size) {
  auto map = dev.map(offset, size, access::read_write);
  if (!map)
    return map.error();
  map->guard(dev.align());
  std::memset(map->data(), 0, map->size());
  between_hosts().publish(map->bytes());
  if (faulted(map->bytes()))
    return {ec::memory_failed, "failed to blank " + dev.path() + ": its memory failed"};
  return {};
}

status wipe(const inspection& found) {
  if (!found.exists && !found.has_metadata)
    return {ec::missing, "failed to wipe " + found.path + ": nothing is there"};
  auto held = lock(found);
  if (!held)
    return held.error();
  auto elsewhere = is_served_elsewhere(found);
  if (!elsewhere || *elsewhere)
    return elsewhere ? error{ec::in_use, "failed to wipe " + found.path + ": a marud of another host serves it"}
                     : elsewhere.error();
  struct stat now = {};
  if (::stat(found.path.c_str(), &now) == 0 && S_ISCHR(now.st_mode))
    return wipe_device(found.path);
  // Metadata last: without it what is left of the data would be nobody's.
  if (found.exists)
    if (auto done = wipe_file(found.path); !done)
      return done;
  return found.has_metadata && !found.is_inside ? wipe_file(metadata_path(found.path)) : status{};
}

}  // namespace maru::cxl
