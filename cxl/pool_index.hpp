// The indexes of all devices of a pool, by slots that name their device (slot_number): marud's side, and a reader's. A key is
// in the index of the device that has its page, so each device brings the room for its own keys, and takes no other's with it.
#pragma once

#include <atomic>
#include <vector>

#include "cxl/by_device.hpp"
#include "cxl/descriptor_table.hpp"
#include "cxl/shared_index.hpp"

namespace maru::cxl {

// Concurrency: as index_writer, and as by_device.
class pool_index {
public:
  void set(std::uint32_t device, const shared_index& index) { indexes_.set(device, index); }

  // The index of so many shards that has this slot's keys. REQUIRES: its device was set.
  index_writer of(std::uint64_t slot, std::uint64_t shards) const {
    return {*indexes_.find(device_of_slot(slot)), shards};
  }

private:
  by_device<shared_index> indexes_;
};

// Concurrency: const members from any thread.
class pool_reader {
public:
  void add(std::uint32_t device, const index_reader& index, const descriptor_table& descriptors) {
    parts_.push_back({device, index, descriptors});
  }

  // True while all of them are open under this word.
  bool is_open(std::uint64_t word) const {
    for (const auto& one : parts_)
      if (one.index.open_word() != word)
        return false;
    return !parts_.empty();
  }

  void prefetch(const key_hash& hash) const {
    for (const auto& one : parts_)
      one.index.prefetch(hash);
  }

  // As index_reader::find, over all of them. A miss is one as of some moment of the call: a key is put on one device only
  // after it went from the other.
  sight find(const key_hash& hash, descriptor& out, std::uint64_t& slot) const {
    auto all = sight::miss;
    for (const auto& one : parts_) {
      auto seen = one.index.find(hash, one.descriptors, out, slot);
      if (seen == sight::hit) {
        slot = slot_number(one.device, slot);
        return seen;
      }
      if (seen != sight::miss)
        all = seen;
    }
    return all;
  }

  // REQUIRES: find() gave the slot.
  std::atomic_ref<std::uint64_t> state_word(std::uint64_t slot) const {
    auto at = parts_.begin();
    while (at->device != device_of_slot(slot))
      ++at;
    return at->descriptors.state_word(slot_on_device(slot));
  }

private:
  struct part {
    std::uint32_t device;
    index_reader index;
    descriptor_table descriptors;
  };
  std::vector<part> parts_;
};

}  // namespace maru::cxl
