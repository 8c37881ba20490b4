#include "cxl/device.hpp"

#include <sys/stat.h>

#include "cxl/device_kinds.hpp"

namespace maru::cxl {

result<std::unique_ptr<device>> open_device(const device_options& options) {
  // Looked at before it is opened: opening a pipe or a device of another kind can block or have effects.
  struct stat now = {};
  bool is_device = ::stat(options.path.c_str(), &now) == 0 && S_ISCHR(now.st_mode);
  return is_device ? open_dax_device(options, now) : open_file_device(options);
}

}  // namespace maru::cxl
