// The pins that a handler took by key, by the page they hold.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/types.hpp"

namespace maru::python {

// While a key is pinned its entry stays where it is, so a key has one page and a page one key.
// It only tells which key to unpin; whether there is a pin to end is the client's to know.
// Operation: a key whose last pin ended is kept for the next one, until such keys outnumber the others.
// Concurrency: all members from any thread.
class service_pins {
public:
  void add(std::string_view key, const location& where);
  // One pin of the key ended.
  void drop(std::string_view key);
  // Takes one pin of what lies on the page; its key, or empty where none is held there.
  std::optional<std::string> take(page_ref where);
  void clear();

private:
  struct held {
    page_grant where;
    std::size_t count = 0;
  };
  struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using by_key = std::unordered_map<std::string, held, text_hash, std::equal_to<>>;
  void drop_one(held& pin);
  void sweep();

  std::mutex mutex_;
  by_key pins_;
  std::unordered_map<page_ref, by_key::value_type*> by_page_;  // the last that was pinned there
  std::size_t live_ = 0;                                       // with a count
};

}  // namespace maru::python
