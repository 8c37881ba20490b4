#include "actors/payload_check.hpp"

#include <algorithm>

#include "actors/page_memory.hpp"
#include "cxl/checksum.hpp"
#include "cxl/visibility.hpp"

namespace maru::actors {

namespace {

bool holds(const std::optional<cxl::descriptor>& d, const victim& entry) {
  return d && d->state == cxl::page_state::committed && d->hash == entry.hash && d->gen == entry.where.gen;
}

}  // namespace

ec find_damage(const environment& env, const victim& entry) {
  auto slot = env.slot_of(entry.where.page);
  if (!slot)
    return ec::missing;
  auto before = env.pool->descriptors().read(*slot);
  if (!holds(before, entry))
    return ec::missing;
  auto memory = page_memory::map(env, entry.where.page);
  if (!memory)
    return memory.code() == ec::missing || memory.code() == ec::memory_failed ? memory.code() : ec::io;
  auto bytes = memory->bytes().first(std::min<std::size_t>(before->length, memory->bytes().size()));
  auto visible = cxl::make_visibility(env.pool->super().mode);
  if (!visible)
    return ec::io;
  (*visible)->acquire(bytes);
  bool fits = before->checksum == 0 || cxl::payload_checksum(bytes) == before->checksum;
  if (!memory->is_sound())
    return ec::memory_failed;
  // Evicted and granted again meanwhile, the page is somebody's to write.
  if (!holds(env.pool->descriptors().read(*slot), entry))
    return ec::missing;
  return fits ? ec::exists : ec::ok;
}

}  // namespace maru::actors
