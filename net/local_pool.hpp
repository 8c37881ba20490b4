// A pool's metadata as this process maps it, for reading only: keys are looked up here without a message.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"
#include "base/uuid.hpp"
#include "cxl/device.hpp"
#include "cxl/held_pages.hpp"
#include "cxl/pool_index.hpp"
#include "net/pool_devices.hpp"

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
  // `rows`: all devices of the pool. `io`: its metadata cannot be mapped. `invalid`: what is there is not the memory of the
  // marud that gave the nonce, or not open with this word.
  static result<std::shared_ptr<const local_pool>> open(const pool_devices& devices, std::span<const device_row> rows,
                                                        std::uint64_t slot_bytes, const uuid& nonce,
                                                        std::uint64_t word);

  // False once another marud, or none, has the indexes open, the pool's devices changed, or some of this memory failed under
  // this process: then marud is asked.
  bool is_open() const { return reader_.is_open(word_) && !has_failed(); }
  void prefetch(const key_hash& hash) const { reader_.prefetch(hash); }
  // Where the key is, as of some moment of the call. `slot`: of its descriptor.
  cxl::sight look(const key_hash& hash, location& where, std::uint64_t& slot) const;
  // The same, and holds the page in `table`: as long as that is not dropped its entry stays (by key), or its bytes do (by
  // view). `unclear` also where the table has no room.
  cxl::sight pin(const key_hash& hash, bool by_view, cxl::held_pages& table, location& where, local_pin& pinned) const;

private:
  explicit local_pool(std::uint64_t word) : word_(word) {}
  bool has_failed() const;
  cxl::sight find(const key_hash& hash, cxl::descriptor& d, std::uint64_t& slot) const;

  std::vector<cxl::mapping> memory_;
  cxl::pool_reader reader_;
  std::uint64_t word_;
};

}  // namespace maru::net
