// One device, cut into extents of equal size (the last may be short): which of them regions take.
//
// Concurrency: none; part of the page_table.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cxl/layout.hpp"

namespace maru::actors {

class extent_space {
public:
  extent_space(std::uint64_t device_bytes, std::uint64_t extent_bytes)
      : device_bytes_(device_bytes),
        extent_bytes_(extent_bytes),
        used_((device_bytes + extent_bytes - 1) / extent_bytes, false) {}

  std::uint64_t device_bytes() const { return device_bytes_; }
  std::uint64_t extent_bytes() const { return extent_bytes_; }
  std::size_t extents() const { return used_.size(); }
  std::size_t extents_for(std::uint64_t bytes) const { return (bytes + extent_bytes_ - 1) / extent_bytes_; }
  std::uint64_t length_of(std::size_t i) const { return std::min(extent_bytes_, device_bytes_ - i * extent_bytes_); }
  // Bytes of n extents from the first one on.
  std::uint64_t length_of(std::size_t first, std::size_t n) const {
    return (n - 1) * extent_bytes_ + length_of(first + n - 1);
  }
  std::size_t first_of(const cxl::region_row& row) const { return row.offset / extent_bytes_; }

  // A run of free extents of at least so many bytes: where it begins and how long it is.
  struct run {
    std::uint64_t offset, length;
  };
  std::optional<run> find_run(std::uint64_t bytes) const {
    auto wanted = extents_for(bytes);
    std::size_t n = 0;
    for (std::size_t i = 0; i < used_.size(); ++i) {
      n = used_[i] ? 0 : n + 1;
      auto first = i + 1 - wanted;
      if (n >= wanted && length_of(first, wanted) >= bytes)  // the device's last extent may be too short
        return run{first * extent_bytes_, length_of(first, wanted)};
    }
    return std::nullopt;
  }

  // Takes the region's extents; false where they are taken or not there.
  bool take(const cxl::region_row& row) {
    if (row.offset % extent_bytes_ != 0 || row.length > device_bytes_ || row.offset > device_bytes_ - row.length)
      return false;
    auto begin = used_.begin() + static_cast<std::ptrdiff_t>(first_of(row));
    auto end = begin + static_cast<std::ptrdiff_t>(extents_for(row.length));
    if (std::find(begin, end, true) != end)
      return false;
    std::fill(begin, end, true);
    return true;
  }
  void give_back(const cxl::region_row& row) {
    std::fill_n(used_.begin() + static_cast<std::ptrdiff_t>(first_of(row)), extents_for(row.length), false);
  }

  std::uint64_t free_bytes() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < used_.size(); ++i)
      sum += used_[i] ? 0 : length_of(i);
    return sum;
  }
  std::uint64_t longest_run() const {
    std::uint64_t best = 0, n = 0;
    for (std::size_t i = 0; i < used_.size(); ++i) {
      n = used_[i] ? 0 : n + length_of(i);
      best = std::max(best, n);
    }
    return best;
  }
  // Pages of this size that regions on free extents would have.
  std::uint64_t room_for(std::uint64_t page_bytes) const {
    auto per_region = std::max<std::uint64_t>(1, extents_for(page_bytes));
    std::uint64_t pages = 0, n = 0, bytes = 0;
    for (std::size_t i = 0; i < used_.size(); ++i) {
      if (used_[i]) {
        n = bytes = 0;
        continue;
      }
      bytes += length_of(i);
      if (++n == per_region) {
        pages += bytes / page_bytes;
        n = bytes = 0;
      }
    }
    return pages;
  }

private:
  std::uint64_t device_bytes_, extent_bytes_;
  std::vector<bool> used_;
};

}  // namespace maru::actors
