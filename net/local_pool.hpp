// A pool's metadata as this process maps it, for reading only: keys are looked up here without a message.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "base/types.hpp"
#include "base/uuid.hpp"
#include "cxl/descriptor_table.hpp"
#include "cxl/device.hpp"
#include "cxl/held_pages.hpp"
#include "cxl/shared_index.hpp"

namespace maru::net {

// Where a local pin is kept.
struct local_pin {
  cxl::held_pages::position held = cxl::held_pages::none;
  std::uint64_t slot = 0;  // of the page's descriptor
  bool alone = false;      // a view that was asked for by itself
};

// What a session may do by itself: as long as the marud that it knows serves the pool.
// Concurrency: all members from any thread.
class local_pool {
public:
  // `path`: of the pool's data, as this process sees it. `io`: its metadata cannot be mapped. `invalid`: what is there is
  // not the memory of the marud that gave the nonce.
  static result<std::shared_ptr<const local_pool>> open(const std::string& path, std::uint64_t data_bytes,
                                                        std::uint64_t slot_bytes, const uuid& nonce,
                                                        std::uint64_t epoch, bool guarded = true);

  // False once another marud, or none, has the index open, or some of its memory failed under this process (`guarded`): then
  // marud is asked.
  bool is_open() const { return index_.open_epoch() == epoch_ && !cxl::faulted(memory_.bytes()); }
  void prefetch(const key_hash& hash) const { index_.prefetch(hash); }
  // Where the key is, as of some moment of the call. `slot`: of its descriptor.
  cxl::sight look(const key_hash& hash, location& where, std::uint64_t& slot) const;
  // The same, and holds the page in `table`: as long as that is not dropped its entry stays (by key), or its bytes do (by
  // view). `unclear` also where the table has no room.
  cxl::sight pin(const key_hash& hash, bool by_view, cxl::held_pages& table, location& where, local_pin& pinned) const;

private:
  local_pool(cxl::mapping memory, cxl::index_reader index, cxl::descriptor_table descriptors, std::uint64_t epoch)
      : memory_(std::move(memory)), index_(index), descriptors_(descriptors), epoch_(epoch) {}
  cxl::sight find(const key_hash& hash, cxl::descriptor& d, std::uint64_t& slot) const;

  cxl::mapping memory_;
  cxl::index_reader index_;
  cxl::descriptor_table descriptors_;
  std::uint64_t epoch_;
};

}  // namespace maru::net
