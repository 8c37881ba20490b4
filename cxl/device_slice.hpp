// A part of a device, as a device: metadata and data where both lie on one.
#pragma once

#include <memory>

#include "cxl/device.hpp"

namespace maru::cxl {

// [offset, offset + size) of `whole`. REQUIRES: it is inside, and both are in units of whole->align().
std::unique_ptr<device> slice(std::shared_ptr<device> whole, std::uint64_t offset, std::uint64_t size);

}  // namespace maru::cxl
