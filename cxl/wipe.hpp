// Makes a device blank, so that the next marud formats it.
#pragma once

#include "base/error.hpp"
#include "cxl/inspection.hpp"

namespace maru::cxl {

// Zeros what lies at its heads and at both ends of its data, and gives the storage of a file back; the size stays. Holds the
// serving lock meanwhile.
// `in_use`: a process serves it. `missing`: there is nothing. `io`: it cannot be opened or written.
status wipe(const inspection& found);

}  // namespace maru::cxl
