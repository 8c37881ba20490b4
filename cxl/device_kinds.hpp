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

}  // namespace maru::cxl
