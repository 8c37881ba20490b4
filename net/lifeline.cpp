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

void lifelines::close() {
  for (auto& s : stripes_) {
    lifeline_ptr last;  // goes without the lock: it may be what keeps all of this
    std::lock_guard lock{s.lock};
    s.closed = true;
    last.swap(s.line);
  }
}

}  // namespace maru::net
