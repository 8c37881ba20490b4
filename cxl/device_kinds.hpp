// How each kind of device is opened; open_device() chooses.
#pragma once

#include <sys/stat.h>

#include <memory>

#include "cxl/device.hpp"

namespace maru::cxl {

// A file on any file system. Errors: see open_device().
result<std::unique_ptr<device>> open_file_device(const device_options& options);

// A character device of the dax bus, whose state is `node`. Errors: see open_device().
result<std::unique_ptr<device>> open_dax_device(const device_options& options, const struct stat& node);

// A shared mapping of a part of an open device, which no child of fork gets. `flags`: of mmap. `invalid`: the range is empty, not
// inside, or not in units of its alignment, or the device was opened for reading only.
result<mapping> map_shared(const device& from, int fd, std::uint64_t offset, std::uint64_t size, access mode,
                           access opened, int flags);

}  // namespace maru::cxl
