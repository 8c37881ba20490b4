// Makes a device blank, so that the next marud formats it.
#pragma once

#include <cstdint>

#include "base/error.hpp"
#include "cxl/device.hpp"
#include "cxl/inspection.hpp"

namespace maru::cxl {

// Zeros what lies at its heads and at both ends of its data, and gives the storage of a file back; the size stays. Holds the
// serving lock meanwhile.
// `in_use`: a process serves it. `missing`: there is nothing. `io`: it cannot be opened or written.
status wipe(const inspection& found);

// Zeros these bytes of a device, for other hosts, too. REQUIRES: both are multiples of its align; they have storage.
// `memory_failed`: not all of them are zeros. What map() gives.
status blank(device& dev, std::uint64_t offset, std::uint64_t size);

}  // namespace maru::cxl
