// Workers that act at random, as marud sees them, each with what it knows to hold; and the wires between them and marud:
// a message on its way may be late, and everything on a wire may be lost with it, but nothing overtakes on one wire.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cxl/held_pages.hpp"
#include "tests/actors/house.hpp"
#include "tests/crash/truth.hpp"

namespace maru::actors::test {

// One connection. Requests leave in order, whenever the schedule lets them; answers wait in the end's mailbox.
struct wire {
  explicit wire(house& in) : end(in.new_end()) {}

  template <class Reply, class Handle, class Request>
  void send(const std::shared_ptr<wire>& self, Handle to, Request request, std::function<void(const Reply&)> then) {
    on_its_way.push_back([self, to, request, then] {
      auto heard = [weak = std::weak_ptr{self}, then](const Reply& r) {
        if (auto w = weak.lock(); w && !w->cut)
          then(r);
      };
      request_as<Reply>(self->end, to, request, heard);
    });
  }
  // No answer arrives any more; nor does what is on its way to marud, unless that is `late`. marud learns of it some time.
  void lose(const std::shared_ptr<wire>& self, bool late) {
    cut = true;
    if (!late)
      on_its_way.clear();
    on_its_way.push_back([self] { caf::anon_send_exit(self->end, caf::exit_reason::kill); });
  }

  caf::actor end;
  std::deque<std::function<void()>> on_its_way;
  bool cut = false;
};

// A worker process and what it knows.
struct player {
  using items = std::vector<commit_id>;
  struct pin {
    std::size_t key = 0;
    location where;
    bool view = false;
    cxl::held_pages::position held = cxl::held_pages::none;
  };

  std::uint64_t page_bytes = 0;
  std::shared_ptr<wire> line;  // null: no connection
  bool settled = false;        // hello was answered over this line
  std::uint64_t session = 0;   // 0: none yet
  std::string secret;
  session_actor handle;
  file_lock lock;
  std::unique_ptr<cxl::held_pages> table;
  std::uint64_t hellos = 0;
  std::uint32_t shown = 0;         // regions that it knows to be its own
  std::vector<page_grant> grants;  // to write into
  std::vector<items> doubts;       // commits without an answer: their pages are out of use
  std::vector<pin> pins;
  std::size_t asked = 0;                    // requests without an answer
  std::chrono::milliseconds safe_until{0};  // its session cannot be over before
  bool away = false;                        // since a kill of marud: its pins are counted again once it is back
  std::chrono::milliseconds silent_until{0};

  // Its session is over, or it never had one: nothing is its own.
  void let_go() { *this = player{page_bytes}; }
};

}  // namespace maru::actors::test
