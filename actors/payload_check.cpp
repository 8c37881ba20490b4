#include "actors/payload_check.hpp"

#include "base/size.hpp"
#include "cxl/checksum.hpp"
#include "cxl/visibility.hpp"

namespace maru::actors {

namespace {

bool holds(const std::optional<cxl::descriptor>& d, const victim& entry) {
  return d && d->state == cxl::page_state::committed && d->hash == entry.hash && d->gen == entry.where.gen;
}

}  // namespace

ec find_damage(const environment& env, const victim& entry) {
  auto row = env.regions->find(entry.where.page.region);
  auto slot = env.slot_of(entry.where.page);
  if (!row || !slot)
    return ec::missing;
  auto before = env.pool->descriptors().read(*slot);
  if (!holds(before, entry))
    return ec::missing;
  if (before->checksum == 0)
    return ec::exists;
  auto& device = env.pool->data_device(row->device);
  auto at = row->offset + value_of(entry.where.page.page) * row->page_bytes;
  auto begin = align_down(at, device.align());
  auto memory =
    device.map(begin, align_up(at + std::max(before->length, 1u), device.align()) - begin, cxl::access::read);
  if (!memory)
    return ec::io;
  std::span<const std::byte> bytes = memory->bytes().subspan(at - begin, before->length);
  auto visible = cxl::make_visibility(env.pool->super().mode);
  if (!visible)
    return ec::io;
  (*visible)->acquire(bytes);
  bool fits = cxl::payload_checksum(bytes) == before->checksum;
  // Evicted and granted again meanwhile, the page is somebody's to write.
  if (!holds(env.pool->descriptors().read(*slot), entry))
    return ec::missing;
  return fits ? ec::exists : ec::ok;
}

}  // namespace maru::actors
