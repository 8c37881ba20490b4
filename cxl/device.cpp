#include "cxl/device.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "base/size.hpp"
#include "cxl/device_kinds.hpp"

namespace maru::cxl {

result<std::unique_ptr<device>> open_device(const device_options& options) {
  // Looked at before it is opened: opening a pipe or a device of another kind can block or have effects.
  struct stat now = {};
  bool is_device = ::stat(options.path.c_str(), &now) == 0 && S_ISCHR(now.st_mode);
  return is_device ? open_dax_device(options, now) : open_file_device(options);
}

result<mapping> map_shared(const device& from, int fd, std::uint64_t offset, std::uint64_t size, access mode,
                           access opened, int flags) {
  auto what = "map " + format_size(size) + " of " + from.path();
  if (size == 0 || offset % from.align() != 0 || size % from.align() != 0 || offset > from.size()
      || size > from.size() - offset)
    return {ec::invalid,
            "failed to " + what + ": the range is not inside it, or not in units of " + format_size(from.align())};
  if (mode == access::read_write && opened == access::read)
    return {ec::invalid, "failed to " + what + ": it was opened for reading only"};
  int protection = mode == access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  void* at = ::mmap(nullptr, size, protection, flags, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED)
    return errno_error(what, errno);
  mapping out{static_cast<std::byte*>(at), size, mode};
  if (::madvise(at, size, MADV_DONTFORK) != 0)
    return errno_error(what, errno);
  return out;
}

}  // namespace maru::cxl
