// The pages that a handler's callers know by {region, index}.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/client.hpp"

namespace maru::python {

// Each page is in one of four states:
//   open       allocated, and to be written
//   storing    its commit is under way on some thread
//   doubtful   the commit got no answer: out of use until the client has settled it
//   committed  under the key it is kept with, unless others have removed that since
// What is in no state is not allocated here.
// Counting: others remove and evict without telling, so of committed pages there is a count that can be too high, and
// that `recounted` sets right; so it is for pages in doubt.
// Concurrency: all members from any thread; only `settled` waits. A commit under way during a recount may count twice
// until the next one.
// Limits: a committed page costs its key and about 100 bytes, until its page is granted to this handler again.
class page_book {
public:
  enum class state : std::uint8_t { open, storing, doubtful, committed };
  struct committed_page {
    std::string key;
    location where;
  };

  // One more page counts as allocated, if fewer than `budget` do. To be followed by add or by give_up.
  bool reserve(std::size_t budget);
  void give_up();
  // The page that was reserved for, open.
  void add(page_buffer page);

  // The open pages among these, for their commit: storing from here on. Empty for one in another state.
  std::vector<std::optional<page_buffer>> take(std::span<const page_ref> where);
  // A page that was taken is open again, without a commit. It is let go where the book was cleared meanwhile.
  void reopen(page_buffer page);
  // How the commit of a page that was taken ended; `dropped`: without effect, and the page is free. The others have the
  // key and the length that were asked for.
  enum class fate : std::uint8_t { committed, doubtful, dropped };
  struct outcome {
    page_grant grant;
    fate what = fate::dropped;
    std::string_view key;
    std::size_t length = 0;
  };
  // REQUIRES: buffers of dropped pages still live: a page is free only after the book has forgotten it.
  void settle(std::span<const outcome> outcomes);

  // The state once no commit of the page is under way, `storing` where it still is at the deadline; empty: not
  // allocated.
  std::optional<state> settled(page_ref where, std::chrono::steady_clock::time_point deadline);
  // Takes an open page out of the book; false: it is in another state.
  bool free(page_ref where);

  using counts = std::map<std::uint32_t, std::size_t>;  // by region
  // How many pages count as allocated, of all regions, and of each with any.
  std::size_t allocated() const;
  counts allocated_by_region() const;
  // So many pages are committed now, as marud counts. `all_settled`: no page is in doubt any more; then those that were
  // count as committed, if at all.
  void recounted(const counts& committed, bool all_settled);
  std::optional<committed_page> committed_at(page_ref where) const;
  // This page no longer holds what was committed there.
  void forget(const location& where);
  // Lets go of every page.
  void clear();

private:
  struct entry {
    state is = state::open;
    page_buffer page;  // open
    std::string key;   // committed, doubtful
    location where;    // committed, doubtful
    generation gen = 0;
  };
  using pages = std::unordered_map<page_ref, entry>;
  pages::iterator find(const page_grant& grant);
  void erase(pages::iterator it);
  void uncount(page_ref where);
  void settle_one(const outcome& o);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  pages pages_;
  std::vector<page_grant> doubtful_;
  std::size_t reserved_ = 0;
  counts uncommitted_, committed_;  // no entry is 0
  std::size_t uncommitted_in_all_ = 0, committed_in_all_ = 0;
};

}  // namespace maru::python
