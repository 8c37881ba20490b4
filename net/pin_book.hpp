// The pins that a client's session holds, by key and by view. Plain bookkeeping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/types.hpp"
#include "cxl/pin_record.hpp"

namespace maru::net {

// marud counts the two kinds apart as well, so that an `unpin` by key can never end the pin that keeps a view's bytes in
// place. Each pin of the book is kept in the session's file too, once however often it was taken: see cxl/pin_record.hpp.
// Concurrency: none of its own; the client guards it.
class pin_book {
public:
  pin_book() = default;
  // `record` may be null: then nothing is kept in a file.
  explicit pin_book(std::unique_ptr<cxl::pin_record> record) : record_(std::move(record)) {}

  void add(const pin_id& pin);
  // False where there was no such pin.
  bool drop(const pin_id& pin);

  // All pins, one entry each: what a resumed session declares.
  std::vector<pin_id> all() const;
  // Drops the pins by key and tells them, one entry each.
  std::vector<pin_id> drop_keys();
  std::size_t size() const { return size_; }
  // True where there are pins by key.
  bool has_keys() const { return keys_ > 0; }

private:
  struct entry {
    std::uint32_t count = 0;
    std::uint32_t slot = cxl::pin_record::none;
  };
  using entries = std::unordered_map<pin_id, entry>;
  entries::iterator take(entries::iterator at, std::uint32_t n);

  std::unique_ptr<cxl::pin_record> record_;
  entries entries_;
  std::size_t size_ = 0, keys_ = 0;
};

}  // namespace maru::net
