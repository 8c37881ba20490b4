#include "net/intact.hpp"

#include "cxl/fault_guard.hpp"

namespace maru {

bool intact(std::span<const std::byte> bytes) { return !cxl::faulted(bytes); }

}  // namespace maru
