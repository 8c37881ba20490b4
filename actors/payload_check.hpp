// Are the bytes of a page those that its writer committed? Off the request path: maps and reads the whole chunk.
#pragma once

#include "actors/environment.hpp"
#include "actors/index.hpp"

namespace maru::actors {

// ok: the bytes at this place do not fit the checksum that the descriptor has of them. memory_failed: their memory is bad.
// exists: they fit, or there is no checksum. missing: the page does not hold this entry (any more). io: they cannot be read.
// Any thread.
ec find_damage(const environment& env, const victim& entry);

}  // namespace maru::actors
