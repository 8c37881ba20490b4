// The pins that a client's session holds, by key and by view. Plain bookkeeping.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/types.hpp"
#include "cxl/held_pages.hpp"

namespace maru::net {

// marud counts the two kinds apart as well, so that an `unpin` by key can never end the pin that keeps a view's bytes in
// place. Each pin of the book is in the session's table too, once however often it was taken, so that a marud that starts
// again knows of it: see cxl/held_pages.hpp.
// Concurrency: none of its own; the client guards it.
class pin_book {
public:
  pin_book() = default;
  // `table` may be null: then nothing is kept there.
  explicit pin_book(std::shared_ptr<cxl::held_pages> table) : table_(std::move(table)) {}

  // `page`: where the entry is.
  void add(const pin_id& pin, page_ref page);
  // False where there was no such pin.
  bool drop(const pin_id& pin);

  // All pins, one entry each: what a resumed session declares.
  std::vector<pin_id> all() const;
  // Drops the pins by key and tells them, one entry each.
  std::vector<pin_id> drop_keys();
  // The same for those that were not taken (again) since `before`.
  std::vector<pin_id> drop_keys_of(std::chrono::steady_clock::time_point before);
  std::size_t size() const { return size_; }
  // True where there are pins by key.
  bool has_keys() const { return keys_ > 0; }

private:
  struct entry {
    std::uint32_t count = 0;
    cxl::held_pages::position held = cxl::held_pages::none;
    std::chrono::steady_clock::time_point taken;
  };
  using entries = std::unordered_map<pin_id, entry>;
  entries::iterator take(entries::iterator at, std::uint32_t n);

  std::shared_ptr<cxl::held_pages> table_;
  entries entries_;
  std::size_t size_ = 0, keys_ = 0;
};

}  // namespace maru::net
