// What a pool has once for each of its devices, found by a device's number.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bounds.hpp"

namespace maru::cxl {

// A device that goes leaves what it had: whoever still has a slot of it reads what was.
// Concurrency: `find` from any thread; `set` from one at a time, whatever the others do.
template <class T>
class by_device {
public:
  void set(std::uint32_t device, const T& what) {
    kept_.push_back(std::make_unique<const T>(what));
    now_[device].store(kept_.back().get(), std::memory_order_release);
  }
  // Null where there is none.
  const T* find(std::uint32_t device) const {
    return device < now_.size() ? now_[device].load(std::memory_order_acquire) : nullptr;
  }

private:
  std::array<std::atomic<const T*>, bounds::devices_max> now_{};
  std::vector<std::unique_ptr<const T>> kept_;
};

}  // namespace maru::cxl
