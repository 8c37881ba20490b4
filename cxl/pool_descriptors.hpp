// The page descriptors of all devices of a pool, by slots that name their device (slot_number).
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "base/bounds.hpp"
#include "cxl/descriptor_table.hpp"

namespace maru::cxl {

// Does what descriptor_table does, for each device's own. A device that goes leaves its table: who still has a slot of it
// reads what it was.
// Concurrency: as descriptor_table; `set` from one thread at a time, whatever the others do.
class pool_descriptors {
public:
  void set(std::uint32_t device, const descriptor_table& table) {
    kept_.push_back(std::make_unique<descriptor_table>(table));
    tables_[device].store(kept_.back().get(), std::memory_order_release);
  }

  bool contains(std::uint64_t slot) const {
    auto device = device_of_slot(slot);
    auto* found = device < tables_.size() ? tables_[device].load(std::memory_order_acquire) : nullptr;
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
  const descriptor_table& of(std::uint64_t slot) const {
    return *tables_[device_of_slot(slot)].load(std::memory_order_acquire);
  }
  // A view of memory: a copy writes to the same lines.
  descriptor_table table(std::uint64_t slot) const { return of(slot); }

  std::array<std::atomic<const descriptor_table*>, bounds::devices_max> tables_{};
  std::vector<std::unique_ptr<descriptor_table>> kept_;
};

}  // namespace maru::cxl
