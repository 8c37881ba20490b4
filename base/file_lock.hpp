// An exclusive open-file-description lock (F_OFD_SETLK) on a file of its own. The kernel drops it when the last
// process that has the description is gone, across containers: this is what "proof of death" rests on.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/error.hpp"

namespace maru {

// Owns a locked file; the destructor unlocks and closes, and leaves the file. Movable, not copyable.
class file_lock {
public:
  file_lock() = default;
  file_lock(file_lock&& other) noexcept;
  file_lock& operator=(file_lock&& other) noexcept;
  ~file_lock();

  // Creates the file where it is missing (with exactly `mode`, whatever the umask, and `group`, empty: the process's own)
  // and locks it without waiting.
  // `in_use`: another description holds the lock. `io`: the file cannot be opened.
  static result<file_lock> acquire(const std::string& path, unsigned mode = 0600, std::optional<gid_t> group = {});
  // The same for a file that must be there: `io` where it is not.
  static result<file_lock> acquire_existing(const std::string& path);

  // Whether some process holds the lock of a file, without taking it for an instant. False where there is no file. `io`: nobody
  // can tell.
  static result<bool> is_held(const std::string& path);

  bool held() const { return fd_ >= 0; }
  void release();

private:
  explicit file_lock(int fd) : fd_(fd) {}
  static result<file_lock> lock(int fd, const std::string& path);
  int fd_ = -1;
};

}  // namespace maru
