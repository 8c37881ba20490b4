#include "net/operations.hpp"

#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "net/request_checks.hpp"

namespace maru::net {

namespace {

// The hashes of the keys under the pool's secret.
result<std::vector<key_hash>> hash_keys(client_impl& impl, const char* what, key_list keys) {
  if (auto open = impl.open_for_calls(); !open)
    return open.error();
  if (auto fits = check_batch(what, keys.size()); !fits)
    return fits.error();
  auto s = impl.wire().latest();
  if (!s)
    return {ec::session_over, failure(what, "the client was closed")};
  std::vector<key_hash> hashes;
  hashes.reserve(keys.size());
  for (auto key : keys) {
    if (auto code = check_key(key); code != ec::ok)
      return {code, failure(what, "a key has 1 to " + std::to_string(bounds::key_bytes_max) + " bytes, not "
                                    + std::to_string(key.size()))};
    hashes.push_back(hash_key(s->secret, key));
  }
  return hashes;
}

// -- lookups, with and without pins

class lookup_base {
public:
  lookup_base(impl_ptr impl, const char* what, std::vector<key_hash> hashes, holding takes, bool prefix_stop)
      : impl_(std::move(impl)),
        what_(what),
        hashes_(std::move(hashes)),
        takes_(takes),
        ask_(impl_->wire(), what, request_of(hashes_, takes, prefix_stop), impl_->deadline()) {}

  lookup_base(const lookup_base&) = delete;
  lookup_base& operator=(const lookup_base&) = delete;

  // Pins that are granted to nobody are ended.
  ~lookup_base() {
    if (takes_ == holding::nothing || !ask_.used() || impl_->wire().forked())
      return;
    auto number = ask_.used()->wire_number;
    ask_.abandon([impl = impl_.get(), number, hashes = std::move(hashes_), takes = takes_](outcome& o) {
      if (o.code != ec::ok)
        return;
      if (auto items = decode_found(std::get<found_reply>(o.reply).items); items && items->size() == hashes.size())
        impl->held().unpin_later(number, pins_of(hashes, *items, takes));
    });
  }

protected:
  // The answer, once `keep` took it. Where a reconnect has made its pins void it is asked for again.
  template <class Keep>
  result<std::vector<found>> finish(Keep keep) {
    for (;;) {
      auto reply = ask_.finish();
      if (!reply)
        return reply.error();
      auto items = decode_found(reply->items);
      if (!items || items->size() != hashes_.size())
        return nonsense(what_);
      if (keep(*items))
        return *std::move(items);
      ask_.repeat();
    }
  }

  static std::vector<pin_id> pins_of(std::span<const key_hash> hashes, std::span<const found> items, holding takes) {
    std::vector<pin_id> out;
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i].code == ec::ok)
        out.push_back(pin_of(takes, hashes[i], items[i].where));
    return out;
  }
  // Books what the answer took. False where the answer is void.
  bool book(std::span<const found> items) {
    return impl_->held().add_pins(ask_.used()->wire_number, pins_of(hashes_, items, takes_));
  }

  // With the pins of the hits in the book as pins by key.
  result<std::vector<found>> finish_pinned() {
    for (;;) {
      auto items = finish([this](std::span<const found> found) { return book(found); });
      if (!items)
        return items;
      auto counts = still_counts();
      if (counts)
        return items;
      if (counts.code() != ec::gone) {
        auto given_up = impl_->held().drop_pins(pins_of(hashes_, *items, takes_));
        impl_->held().unpin_later(given_up.wire, given_up.pins);
        return counts.error();
      }
      ask_.repeat();
    }
  }

  // Is what was booked last marud's view too? A process that stood still between the answer and the booking may find its
  // lease over: then it waits for the next one. gone: that is another session's.
  status still_counts() {
    if (auto may = impl_->wire().usable(ask_.deadline()); !may)
      return may;
    if (impl_->held().tenure() != ask_.used()->life->tenure)
      return {ec::gone, failure(what_, "its session is over")};
    return {};
  }

  impl_ptr impl_;
  const char* what_;
  std::vector<key_hash> hashes_;
  holding takes_;
  exchange<lookup_request> ask_;

private:
  static lookup_request request_of(std::span<const key_hash> hashes, holding takes, bool prefix_stop) {
    return {flags_of(takes, prefix_stop), encode_hashes(hashes)};
  }
};

class lookup_operation final : public pending<lookup_result>, private lookup_base {
public:
  using lookup_base::lookup_base;
  bool ready() override { return ask_.ready(); }

  result<lookup_result> get() override {
    auto items = takes_ == holding::pin ? finish_pinned() : finish([](const auto&) { return true; });
    if (!items)
      return items.error();
    lookup_result out(items->size());
    for (std::size_t i = 0; i < out.size(); ++i)
      if ((*items)[i].code == ec::ok)
        out[i] = (*items)[i].where;
    return out;
  }
};

class pin_operation final : public pending<std::vector<bool>>, private lookup_base {
public:
  using lookup_base::lookup_base;
  bool ready() override { return ask_.ready(); }

  result<std::vector<bool>> get() override {
    auto items = finish_pinned();
    if (!items)
      return items.error();
    std::vector<bool> out(items->size());
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = (*items)[i].code == ec::ok;
    return out;
  }
};

class retrieve_operation final : public pending<std::vector<view>>, private lookup_base {
public:
  retrieve_operation(impl_ptr impl, std::vector<key_hash> hashes, bool prefix_stop)
      : lookup_base(std::move(impl), "retrieve keys", std::move(hashes), holding::view, prefix_stop),
        prefix_stop_(prefix_stop) {}
  bool ready() override { return ask_.ready(); }

  result<std::vector<view>> get() override {
    client_impl::hold guard{*impl_};
    for (;;) {
      if (auto open = impl_->open_for_calls(); !open)
        return open.error();
      auto items = finish([this](std::span<const found> found) { return book(found); });
      if (!items)
        return items.error();
      auto views = make_views(*items);
      if (views || views.code() != ec::gone)  // gone: the session ended meanwhile
        return views;
      ask_.repeat();
    }
  }

private:
  // REQUIRES: the hits' pins are in the book. Each belongs to its view from here on, whatever happens: the
  // views that go undo it.
  result<std::vector<view>> make_views(std::span<const found> items) {
    auto s = ask_.used();
    std::vector<view> views(items.size());
    std::vector<page_ref> pages;
    for (std::size_t i = 0; i < views.size(); ++i)
      if (auto& item = items[i]; item.code == ec::ok) {
        views[i] = impl_->make_view(*s, hashes_[i], item.where);
        pages.push_back(item.where.page);
      }
    if (auto counts = still_counts(); !counts)
      return counts.error();
    if (auto mapped = impl_->map_regions(*s, pages, ask_.deadline()); !mapped)
      return mapped.error();
    for (std::size_t i = 0; i < views.size(); ++i) {
      auto shown = views[i] ? impl_->show(*s, views[i]) : status{};
      if (shown)
        continue;
      if (shown.code() != ec::corrupt)
        return shown.error();
      for (auto n = i; n < (prefix_stop_ ? views.size() : i + 1); ++n)  // damaged: a miss
        views[n] = view{};
    }
    return views;
  }

  bool prefix_stop_;
};

// -- a code per key

template <class Request, class Item>
class codes_operation final : public pending<std::vector<Item>> {
public:
  codes_operation(impl_ptr impl, const char* what, std::size_t n, Request request)
      : impl_(std::move(impl)), what_(what), n_(n), ask_(impl_->wire(), what, std::move(request), impl_->deadline()) {}
  ~codes_operation() override {
    ask_.abandon([](outcome&) {});
  }
  bool ready() override { return ask_.ready(); }

  result<std::vector<Item>> get() override {
    auto reply = ask_.finish();
    if (!reply)
      return reply.error();
    auto codes = decode_codes(reply->codes);
    if (!codes || codes->size() != n_)
      return nonsense(what_);
    if constexpr (std::is_same_v<Item, ec>) {
      return *std::move(codes);
    } else {
      std::vector<bool> out(n_);
      for (std::size_t i = 0; i < n_; ++i)
        out[i] = (*codes)[i] == ec::ok;
      return out;
    }
  }

private:
  impl_ptr impl_;
  const char* what_;
  std::size_t n_;
  exchange<Request> ask_;
};

// -- unpin

// A pin leaves the client's book before the message goes out, so it ends in any case: by the message, or with the
// connection, since what is not in the book is not declared when the client comes back.
class unpin_operation final : public pending<std::vector<bool>> {
public:
  unpin_operation(impl_ptr impl, holdings::dropped dropped)
      : impl_(std::move(impl)), dropped_(std::move(dropped)), until_(impl_->deadline()) {
    auto s = impl_->wire().now();
    if (s && s->wire_number == dropped_.wire && !dropped_.pins.empty())
      call_ = s->wire->send(unpin_of(dropped_.pins));
    if (!call_)
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
      return dropped_.known;
    if (!call_->wait_until(until_))
      return {ec::timeout, failure("unpin keys", "marud did not answer before the deadline")};
    auto answered_call = std::exchange(call_, nullptr);
    auto& o = answered_call->result();
    if (o.code != ec::ok)
      return dropped_.known;
    auto& reply = std::get<codes_reply>(o.reply);
    if (static_cast<ec>(reply.code) != ec::ok) {  // busy, or marud stops: with the connection the pin ends as well
      queue();
      return dropped_.known;
    }
    auto codes = decode_codes(reply.codes);
    if (!codes || codes->size() != dropped_.pins.size())
      return nonsense("unpin keys");
    std::size_t next = 0;
    for (std::size_t i = 0; i < dropped_.known.size(); ++i)
      if (dropped_.known[i])
        dropped_.known[i] = (*codes)[next++] == ec::ok;
    return dropped_.known;
  }

private:
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
  holdings::dropped dropped_;
  time_point until_;
  std::shared_ptr<call> call_;
};

result<holdings::dropped> drop_pins_by_key(client_impl& impl, key_list keys) {
  auto hashes = hash_keys(impl, "unpin keys", keys);
  if (!hashes)
    return hashes.error();
  std::vector<pin_id> pins;
  for (const auto& hash : *hashes)
    pins.push_back({hash, {}});
  return impl.held().drop_pins(pins);
}

}  // namespace

pending_ptr<lookup_result> start_lookup(const impl_ptr& impl, key_list keys, lookup_flags flags) {
  auto hashes = hash_keys(*impl, "look up keys", keys);
  if (!hashes)
    return answered<lookup_result>(hashes.error());
  return std::make_unique<lookup_operation>(impl, "look up keys", *std::move(hashes),
                                            flags.pin ? holding::pin : holding::nothing, flags.prefix_stop);
}

pending_ptr<std::vector<bool>> start_pin(const impl_ptr& impl, key_list keys, bool prefix_stop) {
  auto hashes = hash_keys(*impl, "pin keys", keys);
  if (!hashes)
    return answered<std::vector<bool>>(hashes.error());
  return std::make_unique<pin_operation>(impl, "pin keys", *std::move(hashes), holding::pin, prefix_stop);
}

pending_ptr<std::vector<view>> start_retrieve(const impl_ptr& impl, key_list keys, bool prefix_stop) {
  auto hashes = hash_keys(*impl, "retrieve keys", keys);
  if (!hashes)
    return answered<std::vector<view>>(hashes.error());
  return std::make_unique<retrieve_operation>(impl, *std::move(hashes), prefix_stop);
}

pending_ptr<std::vector<bool>> start_exists(const impl_ptr& impl, key_list keys) {
  auto hashes = hash_keys(*impl, "ask for keys", keys);
  if (!hashes)
    return answered<std::vector<bool>>(hashes.error());
  return std::make_unique<codes_operation<exists_request, bool>>(impl, "ask for keys", keys.size(),
                                                                 exists_request{0, encode_hashes(*hashes)});
}

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
  impl->held().unpin_later(dropped->wire, dropped->pins);
  impl->wake();
  return {};
}

pending_ptr<std::vector<ec>> start_remove(const impl_ptr& impl, key_list keys) {
  auto hashes = hash_keys(*impl, "remove keys", keys);
  if (!hashes)
    return answered<std::vector<ec>>(hashes.error());
  return std::make_unique<codes_operation<remove_request, ec>>(impl, "remove keys", keys.size(),
                                                               remove_request{encode_hashes(*hashes)});
}

}  // namespace maru::net
