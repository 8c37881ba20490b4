// The memory of a page as marud looks at it: also where it has failed.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "actors/environment.hpp"
#include "base/error.hpp"
#include "cxl/device.hpp"

namespace maru::actors {

// Maps a page for as long as it is looked at. The look may meet memory that failed and goes on; `failed` tells.
// Concurrency: one thread.
class page_memory {
public:
  // `missing`: no such page. `memory_failed`: the device ends before it, it was cut short. Others: it cannot be mapped.
  static result<page_memory> map(const environment& env, page_ref page);

  std::span<const std::byte> bytes() const { return bytes_; }
  // Whether all of it can be read. Blocks as long as that takes.
  bool is_sound() const { return cxl::read_through(bytes_) && !cxl::faulted(bytes_); }

private:
  cxl::mapping memory_;
  std::span<const std::byte> bytes_;
};

// Reads all of a page. ok: its memory is sound. memory_failed. missing: no such page. Others: it cannot be mapped. Blocks;
// any thread.
ec check_memory(const environment& env, page_ref page);

// Has the memory of a part of a device present, for writing; what failed of it, as pieces of the device. `offset` is aligned
// as the device wants it. Errors: of anything but failed memory; then pages come as they are touched. Blocks; any thread.
result<std::vector<cxl::failed_piece>> make_present(const cxl::device& device, std::uint64_t offset,
                                                    std::uint64_t length);

}  // namespace maru::actors
