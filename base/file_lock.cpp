#include "base/file_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace maru {

file_lock::file_lock(file_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

file_lock& file_lock::operator=(file_lock&& other) noexcept {
  if (this != &other) {
    release();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

file_lock::~file_lock() { release(); }

void file_lock::release() {
  if (fd_ >= 0)
    ::close(std::exchange(fd_, -1));
}

result<file_lock> file_lock::acquire(const std::string& path, unsigned mode, std::optional<gid_t> group) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0 && errno == EEXIST)
    return acquire_existing(path);
  if (fd >= 0 && group && ::fchown(fd, static_cast<uid_t>(-1), *group) != 0) {
    int cause = errno;
    ::close(fd);
    ::unlink(path.c_str());
    return errno_error("give " + path + " to group " + std::to_string(*group), cause);
  }
  if (fd >= 0)
    ::fchmod(fd, mode);
  return lock(fd, path);
}

result<file_lock> file_lock::acquire_existing(const std::string& path) {
  return lock(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW), path);
}

result<bool> file_lock::is_held(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT)
    return false;
  if (fd < 0)
    return errno_error("open lock file " + path, errno);
  struct flock region = {};
  region.l_type = F_WRLCK;
  region.l_whence = SEEK_SET;
  int cause = ::fcntl(fd, F_OFD_GETLK, &region) == 0 ? 0 : errno;
  ::close(fd);
  if (cause != 0)
    return errno_error("look for a lock on " + path, cause);
  return region.l_type != F_UNLCK;
}

result<file_lock> file_lock::lock(int fd, const std::string& path) {
  if (fd < 0)
    return errno_error("open lock file " + path, errno);
  struct flock region = {};
  region.l_type = F_WRLCK;
  region.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &region) == 0)
    return file_lock{fd};
  int cause = errno;
  ::close(fd);
  if (cause == EAGAIN || cause == EACCES)
    return {ec::in_use, "failed to lock " + path + ": another process holds it"};
  return errno_error("lock " + path, cause);
}

}  // namespace maru
