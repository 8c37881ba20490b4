// Whether bytes that were touched in place were the pool's.
#pragma once

#include <cstddef>
#include <span>

namespace maru {

// False where memory of any of these bytes failed under this process: what it read before the call is not the chunk, what it
// wrote is lost. For memory of views and pages; true for any other. Any thread.
bool intact(std::span<const std::byte> bytes);

}  // namespace maru
