// Making written pages visible under their keys.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/client.hpp"
#include "python/module/page_book.hpp"

namespace maru::python {

// A page as a caller names it, and how many of its bytes are the chunk.
struct page_ask {
  page_ref where;
  std::size_t length = 0;
};

enum class stored : std::uint8_t {
  no,     // not by this call, and the page is free again
  yes,    // the key exists: by this page, or by an earlier one, and then the page is free again
  doubt,  // no answer came: the page is out of use until the client has settled it
};

struct store_answers {
  std::vector<stored> each;  // one per key
  std::string trouble;       // what went wrong first; empty where every answer is `yes`
};

// Commits each page under its key, in one message. For a page that is not open (stored before, not
// this handler's) the answer tells whether the key is there. Blocks until the client's deadline.
// REQUIRES: as many asks as keys, at most bounds::batch_items_max; lengths fit the pages.
// Errors: session_over. All else is in the answers.
result<store_answers> store_pages(client& c, page_book& book, std::span<const std::string_view> keys,
                                  std::span<const page_ask> asks, std::chrono::milliseconds timeout);

}  // namespace maru::python
