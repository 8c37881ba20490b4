#include "net/lifeline.hpp"

#include "base/thread_number.hpp"
#include "net/client_impl.hpp"

namespace maru::net {

lifeline::lifeline(std::shared_ptr<client_impl> client, std::shared_ptr<const session_life> session,
                   std::uint64_t number)
    : owner(std::move(client)), life(std::move(session)), wire_number(number) {
  owner->take_hold();
}

lifeline::~lifeline() {
  if (!owner->wire().forked())
    owner->release_hold();
}

lifelines::stripe& lifelines::mine() { return stripes_[thread_number() % stripes_.size()]; }

lifeline_ptr lifelines::keep(stripe& s, lifeline_ptr made) {
  if (!made)
    return nullptr;
  drop_older(made->wire_number);
  lifeline_ptr old;  // goes without the lock
  std::lock_guard lock{s.lock};
  if (s.closed)
    return nullptr;
  if (made->wire_number >= least_.load(std::memory_order_relaxed)) {
    old = std::move(s.line);
    s.line = made;
  }
  return made;
}

void lifelines::drop_older(std::uint64_t wire_number) {
  auto least = least_.load(std::memory_order_relaxed);
  while (least < wire_number && !least_.compare_exchange_weak(least, wire_number, std::memory_order_relaxed)) {}
  if (least >= wire_number)
    return;
  for (auto& s : stripes_) {
    lifeline_ptr old;
    std::lock_guard lock{s.lock};
    if (s.line && s.line->wire_number < wire_number)
      old.swap(s.line);
  }
}

void lifelines::close() {
  for (auto& s : stripes_) {
    lifeline_ptr last;  // goes without the lock: it may be what keeps all of this
    std::lock_guard lock{s.lock};
    s.closed = true;
    last.swap(s.line);
  }
}

}  // namespace maru::net
