// The end of pins by key.
#include <string>
#include <utility>

#include "net/hashed_keys.hpp"
#include "net/local_reads.hpp"
#include "net/request_checks.hpp"

namespace maru::net {

namespace {

struct dropped_keys {
  std::vector<bool> locally;     // per key: a pin that was taken without a message ended
  holdings::dropped by_message;  // of the other keys
};

result<dropped_keys> drop_pins_by_key(client_impl& impl, key_list keys) {
  auto hashed = hash_keys(impl, "unpin keys", keys);
  if (!hashed)
    return hashed.error();
  dropped_keys out{unpin_locally(*hashed->life, hashed->hashes), {}};
  std::vector<pin_id> others;
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (!out.locally[i])
      others.push_back({hashed->hashes[i], {}});
  out.by_message = impl.held().drop_pins(others);
  return out;
}

// A pin leaves the client's book before the message goes out, so it ends in any case: by the message, or with the
// connection, since what is not in the book is not declared when the client comes back.
class unpin_operation final : public pending<std::vector<bool>> {
public:
  unpin_operation(impl_ptr impl, dropped_keys keys)
      : impl_(std::move(impl)),
        ended_(std::move(keys.locally)),
        dropped_(std::move(keys.by_message)),
        until_(impl_->deadline()) {
    auto s = impl_->wire().now();
    if (s && s->wire_number == dropped_.wire && !dropped_.pins.empty())
      call_ = s->wire->send(unpin_of(dropped_.pins));
    if (!call_ && !dropped_.pins.empty())
      queue();
  }
  ~unpin_operation() override {
    if (call_ && !impl_->wire().forked())
      call_->abandon(if_refused());
  }
  bool ready() override { return !call_ || call_->done(); }

  result<std::vector<bool>> get() override {
    if (auto open = impl_->open_for_calls(); !open)
      return open.error();
    if (!call_)
      return joined();
    if (!call_->wait_until(until_))
      return {ec::timeout, failure("unpin keys", "marud did not answer before the deadline")};
    auto answered_call = std::exchange(call_, nullptr);
    auto& o = answered_call->result();
    if (o.code != ec::ok)
      return joined();
    auto& reply = std::get<codes_reply>(o.reply);
    if (static_cast<ec>(reply.code) != ec::ok) {  // busy, or marud stops: with the connection the pin ends as well
      queue();
      return joined();
    }
    auto codes = decode_codes(reply.codes);
    if (!codes || codes->size() != dropped_.pins.size())
      return nonsense("unpin keys");
    std::size_t next = 0;
    for (std::size_t i = 0; i < dropped_.known.size(); ++i)
      if (dropped_.known[i])
        dropped_.known[i] = (*codes)[next++] == ec::ok;
    return joined();
  }

private:
  // Those that ended locally, and of the others those that marud ended.
  std::vector<bool> joined() {
    std::size_t next = 0;
    for (std::size_t i = 0; i < ended_.size(); ++i)
      if (!ended_[i])
        ended_[i] = dropped_.known[next++];
    return std::move(ended_);
  }
  void queue() {
    impl_->held().unpin_later(dropped_.wire, dropped_.pins);
    impl_->wake();
  }
  call::late_handler if_refused() {
    return [impl = impl_.get(), dropped = dropped_](outcome& o) {
      if (o.code == ec::ok && static_cast<ec>(std::get<codes_reply>(o.reply).code) == ec::busy)
        impl->held().unpin_later(dropped.wire, dropped.pins);
    };
  }

  impl_ptr impl_;
  std::vector<bool> ended_;
  holdings::dropped dropped_;
  time_point until_;
  std::shared_ptr<call> call_;
};

}  // namespace

pending_ptr<std::vector<bool>> start_unpin(const impl_ptr& impl, key_list keys) {
  auto dropped = drop_pins_by_key(*impl, keys);
  if (!dropped)
    return answered<std::vector<bool>>(dropped.error());
  return std::make_unique<unpin_operation>(impl, *std::move(dropped));
}

status queue_unpin(const impl_ptr& impl, key_list keys) {
  auto dropped = drop_pins_by_key(*impl, keys);
  if (!dropped)
    return dropped.error();
  impl->held().unpin_later(dropped->by_message.wire, dropped->by_message.pins);
  if (!dropped->by_message.pins.empty())
    impl->wake();
  return {};
}

}  // namespace maru::net
