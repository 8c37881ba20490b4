// The regions of a pool as this process has them mapped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"
#include "cxl/device.hpp"
#include "net/client.hpp"
#include "net/pool_devices.hpp"
#include "net/protocol.hpp"

namespace maru::net {

// Maps each region when its row is added, in a mapping of its own, and keeps it as long as the map lives: region ids
// are never used twice, so a row never changes. Readers take no lock: regions are found in a hash table that only grows,
// and tables that were outgrown stay.
// Concurrency: all members from any thread.
// Memory that fails under a look (`survives`: under any touch) does not end the process: cxl/fault_guard.hpp.
// Limits: mappings of regions that the pool took back stay until the map goes; they cost address space only.
class region_map {
public:
  explicit region_map(std::shared_ptr<pool_devices> devices, cxl::survives what = cxl::survives::every_touch);
  // Of a pool with one device; for tests with memory of their own.
  explicit region_map(std::shared_ptr<const cxl::device> device, cxl::survives what = cxl::survives::every_touch)
      : region_map(std::make_shared<pool_devices>(std::move(device)), what) {}

  bool knows(region_id id) const;
  // The regions of these pages that have no row yet, each once.
  std::vector<std::uint32_t> unknown(std::span<const page_ref> pages) const;
  // Maps the region of a row. `corrupt`: the row makes no sense on its device, or that is not known. `io`: it cannot be mapped.
  status add(const region_row& row);
  // Adds all up to the first error; the devices of the rows first.
  status add(std::span<const region_row> rows, std::span<const device_row> devices);
  // Its shape; empty where it has no row yet.
  std::optional<region_info> find(region_id id) const;
  // A run of whole pages. `missing`: no such region, or it has fewer pages.
  result<std::span<std::byte>> range(region_id id, std::uint64_t first, std::uint64_t pages) const;
  // `length` bytes of a page. `missing`: no such region or page. `too_large`: more than the page holds.
  result<std::span<std::byte>> bytes(page_ref page, std::uint64_t length) const;
  // Pages of which this process lost some memory, whatever became of it elsewhere.
  std::vector<page_ref> failed_pages() const;

private:
  struct region {
    region_id id = region_id::none;
    cxl::mapping memory;
    std::span<std::byte> pages;  // in `memory`, whose offset is aligned down
    std::uint64_t page_bytes = 0;
  };
  // Open addressing; a slot is empty or has its region for good.
  struct table {
    explicit table(std::size_t size) : slots(size) {}
    std::atomic<const region*>& slot_of(region_id id);
    std::vector<std::atomic<const region*>> slots;  // a power of two of them, half of them empty
  };

  const region* lookup(region_id id) const;
  void insert(const region& made);

  std::shared_ptr<pool_devices> devices_;
  const cxl::survives survives_;
  mutable std::mutex adding_;
  std::deque<region> regions_;
  std::vector<std::unique_ptr<table>> tables_;  // the last one is in use
  std::atomic<table*> table_;
};

}  // namespace maru::net
