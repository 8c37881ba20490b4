// The pins that a client's session holds, by key hash. Plain bookkeeping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "cxl/pin_record.hpp"

namespace maru::net {

// marud only counts a session's pins; this book also knows which of them views hold, so that an `unpin` by key can
// never end the pin that keeps a view's bytes in place.
// Each key of the book is kept in the session's file too, see cxl/pin_record.hpp.
// Concurrency: none of its own; the client guards it.
class pin_book {
public:
  pin_book() = default;
  // `record` may be null: then nothing is kept in a file.
  explicit pin_book(std::unique_ptr<cxl::pin_record> record) : record_(std::move(record)) {}

  void add_pin(const key_hash& hash);  // by pin() or lookup()
  void add_view(const key_hash& hash);
  // False where there was no such pin.
  bool drop_pin(const key_hash& hash);
  bool drop_view(const key_hash& hash);

  // All pins, one entry each: what a resumed session declares.
  std::vector<key_hash> all() const;
  // Drops the pins that no view holds and tells them, one entry each.
  std::vector<key_hash> drop_all_pins();
  std::size_t size() const { return size_; }
  // True where there are pins that no view holds.
  bool has_pins() const;

private:
  struct counts {
    std::uint32_t pins = 0;
    std::uint32_t views = 0;
    std::uint32_t slot = cxl::pin_record::none;
  };
  using entries = std::unordered_map<key_hash, counts>;
  counts& entry_of(const key_hash& hash);
  entries::iterator erase(entries::iterator at);
  bool drop(const key_hash& hash, std::uint32_t counts::*which);

  std::unique_ptr<cxl::pin_record> record_;
  entries entries_;
  std::size_t size_ = 0;
};

}  // namespace maru::net
