// What pages, views and calls of a client keep alive, and how they get hold of it without meeting each other.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "base/spin_lock.hpp"

namespace maru::net {

class client_impl;
struct session_life;

// Keeps the client, and the session that its owner was made in, from being ended. Never changes.
struct lifeline {
  lifeline(std::shared_ptr<client_impl> client, std::shared_ptr<const session_life> session, std::uint64_t number);
  ~lifeline();
  lifeline(const lifeline&) = delete;

  const std::shared_ptr<client_impl> owner;
  const std::shared_ptr<const session_life> life;
  const std::uint64_t wire_number;  // of the session as it was connected then
};
using lifeline_ptr = std::shared_ptr<const lifeline>;

// One lifeline a stripe, and so one reference count: threads that pin the same keys do not meet in one cache line.
// Concurrency: all members from any thread.
class lifelines {
public:
  // The calling thread's; made by `make` where there is none of this wire number yet, and then older ones of other threads
  // are let go of: they would keep a session that is over. Null once closed.
  template <class Make>
  lifeline_ptr get(std::uint64_t wire_number, Make make);
  // Lets go of them; there are none from here on.
  void close();

private:
  struct alignas(64) stripe {
    spin_lock lock;
    bool closed = false;
    lifeline_ptr line;
  };
  stripe& mine();
  lifeline_ptr keep(stripe& s, lifeline_ptr made);
  void drop_older(std::uint64_t wire_number);

  std::array<stripe, 16> stripes_;
  std::atomic<std::uint64_t> least_{0};  // older ones are not kept
};

template <class Make>
lifeline_ptr lifelines::get(std::uint64_t wire_number, Make make) {
  auto& s = mine();
  {
    std::lock_guard lock{s.lock};
    if (s.closed)
      return nullptr;
    if (s.line && s.line->wire_number == wire_number)
      return s.line;
  }
  return keep(s, make());
}

}  // namespace maru::net
