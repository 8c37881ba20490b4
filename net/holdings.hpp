// What a client holds of its session: grants, pins, commits in doubt; and what becomes of them when the connection or
// the session is lost. Plain bookkeeping, no messages.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "net/grant_reserve.hpp"
#include "net/pin_book.hpp"
#include "net/protocol.hpp"

namespace maru::net {

// A commit whose answer did not come: to be sent again until there is one.
struct doubtful_commit {
  commit_request request;
  std::vector<page_grant> grants;  // in the order of the request's items
  std::uint64_t tenure = 0;
};

// Two counters tell what still counts:
//   wire:   one number per connection. A resumed session keeps exactly what the client declared when it came back, so
//           pins and grants in an answer that came over an earlier wire, and were not in the declaration, are void.
//   tenure: one number per session. Pages and views of an earlier session are nobody's business any more.
// Concurrency: all members from any thread.
class holdings {
public:
  struct declaration {
    std::uint64_t wire = 0;
    std::vector<page_grant> grants;
    std::vector<pin_id> pins;
  };

  // -- connections
  // Before a hello: what a resumed session is to keep. Answers over earlier wires are void from here on.
  declaration declare();
  // The session goes on; `kept` has a code per declared grant: all but `ok` are no longer ours. Grants in doubt stay:
  // their commit is asked again.
  void resume(const declaration& declared, std::span<const ec> kept);
  // A new session begins with nothing; its pins are kept in `table` (may be null). What the table of the session before
  // holds stays there. True when pins by key, which no view stands for, were among what is given up.
  bool start_over(std::shared_ptr<cxl::held_pages> table = nullptr);
  std::uint64_t tenure() const { return tenure_.load(std::memory_order_acquire); }

  // -- pages
  struct taken {
    std::uint64_t tenure = 0;
    std::vector<page_grant> grants;
  };
  // False where the answer is void.
  bool add_grants(std::uint64_t wire, std::span<const page_grant> grants);
  // `n` pages from the reserve, all or none.
  std::optional<taken> take_pages(std::size_t n);
  // One of them, and how many are left.
  struct taken_page {
    std::uint64_t tenure = 0;
    page_grant grant;
    std::size_t left = 0;
  };
  std::optional<taken_page> take_page();
  void put_back(std::uint64_t tenure, const page_grant& grant);
  // This process cannot use the page any more: it is given back when pages are recalled.
  void set_aside(std::uint64_t tenure, const page_grant& grant);
  bool holds(std::uint64_t tenure, const page_grant& grant) const;
  // The answer of a commit, one code per page. ok, gone and not_granted: no longer ours. Others: the page stays as it
  // is, unless it was in doubt, then it goes back to the reserve.
  void settle(std::uint64_t tenure, std::span<const page_grant> grants, std::span<const ec> codes);
  void doubt(std::uint64_t tenure, std::span<const page_grant> grants);
  // Asks for the commit to be sent again.
  void resend(doubtful_commit commit);
  std::vector<doubtful_commit> take_resends();
  // Up to `n` idle pages to give back, for the connection `wire`.
  std::vector<page_grant> recall(std::uint64_t wire, std::size_t n);
  grant_reserve::use_by_region uses() const;
  std::size_t idle() const;
  std::size_t in_doubt() const;

  // -- pins, by key and by views
  // `pages`: where each is. False where the answer that granted the pins is void.
  bool add_pins(std::uint64_t wire, std::span<const pin_id> pins, std::span<const page_ref> pages);
  // The view is gone: its pin is queued to be ended.
  void drop_view(std::uint64_t tenure, const pin_id& pin);
  struct dropped {
    std::uint64_t wire = 0;    // the connection that knows of the pins
    std::vector<bool> known;   // per pin: it was held, and is not any more
    std::vector<pin_id> pins;  // the known ones
  };
  // Takes pins out of the book, to be ended by a message over `wire`.
  dropped drop_pins(std::span<const pin_id> pins);
  // Queues pins that are not in the book, granted over `wire`.
  void unpin_later(std::uint64_t wire, std::span<const pin_id> pins);
  // Queues all pins by key; those that were not taken since `before`.
  void unpin_keys(std::chrono::steady_clock::time_point before = std::chrono::steady_clock::time_point::max());
  // What is queued, up to `max`, for the connection `wire`.
  std::vector<pin_id> take_unpins(std::uint64_t wire, std::size_t max);
  bool unpins_waiting() const;
  std::size_t pins() const;

private:
  mutable std::mutex mutex_;
  std::uint64_t wire_ = 0;
  std::atomic<std::uint64_t> tenure_{0};  // changes under the mutex
  grant_reserve grants_;
  pin_book pins_;
  std::deque<pin_id> unpins_;
  std::vector<doubtful_commit> resends_;
};

}  // namespace maru::net
