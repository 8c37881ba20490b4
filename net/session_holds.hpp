// What a session's worker holds by its own word: its table in the pool's folder, and which of the holds are pins by key.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/types.hpp"
#include "cxl/held_pages.hpp"

namespace maru::net {

// Goes on with a session that is resumed; ends with the last page or view of the session.
// Concurrency: all members from any thread.
class session_holds {
public:
  explicit session_holds(std::unique_ptr<cxl::held_pages> table) : table_(std::move(table)) {}

  // Shared with the book of pins that were taken by message.
  const std::shared_ptr<cxl::held_pages>& table() const { return table_; }

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
  };
  static constexpr std::size_t parts = 16;  // threads meet in one of them seldom
  part& part_of(const key_hash& hash) { return parts_[hash.high % parts]; }

  std::shared_ptr<cxl::held_pages> table_;
  std::array<part, parts> parts_;
};

}  // namespace maru::net
