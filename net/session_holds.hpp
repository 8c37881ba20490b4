// What a session's worker holds by its own word: its table in the pool's folder, and which of the holds are pins by key.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bounds.hpp"
#include "base/types.hpp"
#include "cxl/held_pages.hpp"

namespace maru::net {

// Goes on with a session that is resumed; ends with the last page or view of the session.
// Concurrency: all members from any thread.
class session_holds {
public:
  // `pins_max`: of this session without a message, nested ones too; the table's own bound where that is no less.
  session_holds(std::unique_ptr<cxl::held_pages> table, std::size_t pins_max)
      : table_(std::move(table)), pins_max_(pins_max < bounds::pins_max ? pins_max : 0) {}

  // Shared with the book of pins that were taken by message.
  const std::shared_ptr<cxl::held_pages>& table() const { return table_; }

  // Makes room for so many more pins; false where they are too many. Each that is not taken, or ends, is released.
  bool reserve(std::size_t n) {
    if (pins_max_ == 0 || pins_.fetch_add(n, std::memory_order_relaxed) + n <= pins_max_)
      return true;
    release(n);
    return false;
  }
  void release(std::size_t n) {
    if (pins_max_ != 0)
      pins_.fetch_sub(n, std::memory_order_relaxed);
  }
  // A view's hold ends; `slot`: of the page's descriptor. One that was asked for `alone` is used as it is dropped; of those of
  // one request the first counts as used last.
  void drop_view(cxl::held_pages::position held, std::uint64_t slot, bool alone) {
    table_->drop(held);
    if (alone)
      table_->log_use(std::span{&slot, 1});
    else
      table_->log_drop(slot);
    release(1);
  }

  // A pin by key that the table holds at `held`; `slot`: of the page's descriptor.
  void add_key(const key_hash& hash, cxl::held_pages::position held, std::uint64_t slot);
  // Ends one; the descriptor's slot. Empty where there is none.
  std::optional<std::uint64_t> drop_key(const key_hash& hash);
  // Ends all that were not taken (again) since `before`; how many.
  std::size_t drop_keys_of(std::chrono::steady_clock::time_point before = std::chrono::steady_clock::time_point::max());
  bool has_keys() const;

private:
  struct pin {
    cxl::held_pages::position held = cxl::held_pages::none;
    std::uint32_t count = 0;
    std::uint64_t slot = 0;
    std::chrono::steady_clock::time_point taken;
  };
  struct alignas(64) part {
    mutable std::mutex mutex;
    std::unordered_map<key_hash, pin> pins;
    // Of keys that are pinned elsewhere by now: marud lost the entry in a restart, and the key was committed anew.
    std::vector<std::pair<key_hash, pin>> elsewhere;
  };
  static constexpr std::size_t parts = 16;  // threads meet in one of them seldom
  void end(const pin& one);
  part& part_of(const key_hash& hash) { return parts_[hash.high % parts]; }

  std::shared_ptr<cxl::held_pages> table_;
  const std::size_t pins_max_;  // 0: as many as the table has room for
  std::atomic<std::size_t> pins_{0};
  std::array<part, parts> parts_;
};

}  // namespace maru::net
