// The regions of a pool as this process has them mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"
#include "cxl/device.hpp"
#include "net/client.hpp"
#include "net/protocol.hpp"

namespace maru::net {

// Maps each region when its row is added, in a mapping of its own, and keeps it as long as the map lives: region ids
// are never used twice, so a row never changes.
// Concurrency: all members from any thread.
// Limits: mappings of regions that the pool took back stay until the map goes; they cost address space only.
class region_map {
public:
  explicit region_map(std::shared_ptr<const cxl::device> device) : device_(std::move(device)) {}

  bool knows(region_id id) const;
  // The regions of these pages that have no row yet, each once.
  std::vector<std::uint32_t> unknown(std::span<const page_ref> pages) const;
  // Maps the region of a row. `corrupt`: the row makes no sense on this device. `io`: it cannot be mapped.
  status add(const region_row& row);
  // Adds all up to the first error.
  status add(std::span<const region_row> rows);
  // Its shape; empty where it has no row yet.
  std::optional<region_info> find(region_id id) const;
  // A run of whole pages. `missing`: no such region, or it has fewer pages.
  result<std::span<std::byte>> range(region_id id, std::uint64_t first, std::uint64_t pages) const;
  // `length` bytes of a page. `missing`: no such region or page. `too_large`: more than the page holds.
  result<std::span<std::byte>> bytes(page_ref page, std::uint64_t length) const;

private:
  struct region {
    cxl::mapping memory;
    std::span<std::byte> pages;  // in `memory`, whose offset is aligned down
    std::uint64_t page_bytes = 0;
  };

  std::shared_ptr<const cxl::device> device_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<region_id, region> regions_;
};

}  // namespace maru::net
