// The rules of identity: what a device that was found may be to the pool that is opened. Nothing here changes a device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cxl/inspection.hpp"
#include "cxl/pool.hpp"

namespace maru::cxl {

// "failed to open pool PATH: cause".
error refusal(const pool_options& o, ec code, const std::string& cause);
// The same for contents that --format overwrites.
error unknown_contents(const pool_options& o, const std::string& cause);

// Why what lies at the path of the pool's first device is not the pool that was asked for, and may not become it. Empty: it is,
// or it is nobody's. REQUIRES: o.page_min and o.mode are what the pool is to have.
std::optional<error> objection(const pool_options& o, const inspection& found, const std::optional<known_pool>& known);

// What a further device is that the pool had when it was served last.
enum class standing : std::uint8_t {
  kept,        // itself, with what it held
  lost,        // itself; what it held is not what the pool knows
  to_be_made,  // its memory went with the host, or its pool is another one by now
};
// `missing`: it is not there, or not whole. `gone`: it was left out before, and is not taken back with what it held.
// `unknown_contents`: it is somebody's by now.
// `first` and `how`: of the pool's first device, which was opened before.
result<standing> standing_of(const pool_options& o, opened_as how, const superblock& first, const known_device& known,
                             const inspection& found);

// `in_use`: a marud serves the device that the lock here does not keep out. Blocks, see is_served_elsewhere.
// REQUIRES: the lock is held.
status nobody_serves(const inspection& found);

}  // namespace maru::cxl
