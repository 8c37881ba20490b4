// The page descriptors of all devices of a pool, by slots that name their device (slot_number).
#pragma once

#include <span>

#include "cxl/by_device.hpp"
#include "cxl/descriptor_table.hpp"

namespace maru::cxl {

// Does what descriptor_table does, for each device's own.
// Concurrency: as descriptor_table, and as by_device.
class pool_descriptors {
public:
  void set(std::uint32_t device, const descriptor_table& table) { tables_.set(device, table); }

  bool contains(std::uint64_t slot) const {
    auto* found = tables_.find(device_of_slot(slot));
    return found != nullptr && slot_on_device(slot) < found->slots();
  }

  // REQUIRES of all: contains(slot).
  std::optional<descriptor> read(std::uint64_t slot) const { return of(slot).read(slot_on_device(slot)); }
  void prefetch(std::uint64_t slot) const { of(slot).prefetch(slot_on_device(slot)); }
  page_state raw_state(std::uint64_t slot) const { return of(slot).raw_state(slot_on_device(slot)); }
  generation raw_generation(std::uint64_t slot) const { return of(slot).raw_generation(slot_on_device(slot)); }
  void write(std::uint64_t slot, const descriptor& d) const { table(slot).write(slot_on_device(slot), d); }
  void set_state(std::uint64_t slot, page_state state) const { table(slot).set_state(slot_on_device(slot), state); }
  void announce_eviction(std::span<const std::uint64_t> slots) const {
    for (auto slot : slots) {
      auto on_device = slot_on_device(slot);
      table(slot).announce_eviction(std::span{&on_device, 1});
    }
  }
  // For tests that damage a line.
  std::byte* line(std::uint64_t slot) const { return of(slot).line(slot_on_device(slot)); }

private:
  const descriptor_table& of(std::uint64_t slot) const { return *tables_.find(device_of_slot(slot)); }
  // A view of memory: a copy writes to the same lines.
  descriptor_table table(std::uint64_t slot) const { return of(slot); }

  by_device<descriptor_table> tables_;
};

}  // namespace maru::cxl
