#include "net/operations.hpp"

#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "cxl/visibility.hpp"

namespace maru::net {

namespace {

std::string failure(const char* what, const std::string& cause) {
  return std::string{"failed to "} + what + ": " + cause;
}

status check_batch(const char* what, std::size_t n) {
  if (n > bounds::batch_items_max)
    return {ec::too_large, failure(what, std::to_string(n) + " keys are more than a batch takes, "
                                           + std::to_string(bounds::batch_items_max))};
  return {};
}

ec check_key(std::string_view key) {
  if (key.empty())
    return ec::invalid;
  return key.size() > bounds::key_bytes_max ? ec::too_large : ec::ok;
}

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

error nonsense(const char* what) { return {ec::corrupt, failure(what, "marud's answer makes no sense")}; }

template <class T>
pending_ptr<T> answered(result<T> r) {
  return std::make_unique<settled<T>>(std::move(r));
}

// -- lookups, with and without pins

class lookup_base {
public:
  lookup_base(impl_ptr impl, const char* what, std::vector<key_hash> hashes, lookup_flags flags)
      : impl_(std::move(impl)),
        what_(what),
        hashes_(std::move(hashes)),
        pins_(flags.pin),
        ask_(impl_->wire(), what, request_of(flags, hashes_), impl_->deadline()) {}

  lookup_base(const lookup_base&) = delete;
  lookup_base& operator=(const lookup_base&) = delete;

  // Pins that are granted to nobody are ended.
  ~lookup_base() {
    if (!pins_ || !ask_.used() || impl_->wire().forked())
      return;
    auto number = ask_.used()->wire_number;
    ask_.abandon([impl = impl_.get(), number, hashes = std::move(hashes_)](outcome& o) {
      if (o.code != ec::ok)
        return;
      if (auto items = decode_found(std::get<found_reply>(o.reply).items); items && items->size() == hashes.size())
        impl->held().unpin_later(number, hits(hashes, *items));
    });
  }

protected:
  result<std::vector<found>> finish() {
    auto reply = ask_.finish();
    if (!reply)
      return reply.error();
    auto items = decode_found(reply->items);
    if (!items || items->size() != hashes_.size())
      return nonsense(what_);
    return *std::move(items);
  }

  static std::vector<key_hash> hits(std::span<const key_hash> hashes, std::span<const found> items) {
    std::vector<key_hash> out;
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i].code == ec::ok)
        out.push_back(hashes[i]);
    return out;
  }

  // The pins of the hits as pins by key. An error where a reconnect has made them void.
  status book_pins(std::span<const found> items) {
    if (impl_->held().add_pins(ask_.used()->wire_number, hits(hashes_, items)))
      return {};
    return lost();
  }

  error lost() const { return {ec::unavailable, failure(what_, "the connection was lost as the answer came")}; }

  impl_ptr impl_;
  const char* what_;
  std::vector<key_hash> hashes_;
  bool pins_;
  exchange<lookup_request> ask_;

private:
  static lookup_request request_of(lookup_flags flags, std::span<const key_hash> hashes) {
    auto bits = (flags.pin ? flag_pin : 0) | (flags.prefix_stop ? flag_prefix_stop : 0);
    return {static_cast<std::uint8_t>(bits), encode_hashes(hashes)};
  }
};

class lookup_operation final : public pending<lookup_result>, private lookup_base {
public:
  using lookup_base::lookup_base;
  bool ready() override { return ask_.ready(); }

  result<lookup_result> get() override {
    auto items = finish();
    if (!items)
      return items.error();
    if (pins_)
      if (auto booked = book_pins(*items); !booked)
        return booked.error();
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
    auto items = finish();
    if (!items)
      return items.error();
    if (auto booked = book_pins(*items); !booked)
      return booked.error();
    std::vector<bool> out(items->size());
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = (*items)[i].code == ec::ok;
    return out;
  }
};

class retrieve_operation final : public pending<std::vector<view>>, private lookup_base {
public:
  retrieve_operation(impl_ptr impl, std::vector<key_hash> hashes, bool prefix_stop)
      : lookup_base(std::move(impl), "retrieve keys", std::move(hashes), {true, prefix_stop}) {}
  bool ready() override { return ask_.ready(); }

  result<std::vector<view>> get() override {
    auto items = finish();
    if (!items)
      return items.error();
    client_impl::hold guard{*impl_};
    if (auto open = impl_->open_for_calls(); !open)
      return open.error();
    auto s = ask_.used();
    if (!impl_->held().add_views(s->wire_number, hits(hashes_, *items)))
      return lost();
    // From here on each hit's pin belongs to a view, whatever happens: the views that go undo it.
    std::vector<view> views(items->size());
    std::vector<page_ref> pages;
    for (std::size_t i = 0; i < views.size(); ++i)
      if (auto& item = (*items)[i]; item.code == ec::ok) {
        views[i] = impl_->make_view(*s, hashes_[i], item.where);
        pages.push_back(item.where.page);
      }
    auto until = impl_->deadline();
    if (auto may = impl_->wire().usable(until); !may)
      return may.error();
    if (auto mapped = impl_->map_regions(*s, pages, until); !mapped)
      return mapped.error();
    for (auto& v : views)
      if (v)
        if (auto shown = client_impl::show(v); !shown)
          return shown.error();
    return views;
  }
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
    if (s && s->wire_number == dropped_.wire && !dropped_.hashes.empty())
      call_ = s->wire->send(unpin_request{encode_hashes(dropped_.hashes)});
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
    if (static_cast<ec>(reply.code) == ec::busy) {
      queue();
      return dropped_.known;
    }
    auto codes = decode_codes(reply.codes);
    if (static_cast<ec>(reply.code) != ec::ok || !codes || codes->size() != dropped_.hashes.size())
      return nonsense("unpin keys");
    std::size_t next = 0;
    for (std::size_t i = 0; i < dropped_.known.size(); ++i)
      if (dropped_.known[i])
        dropped_.known[i] = (*codes)[next++] == ec::ok;
    return dropped_.known;
  }

private:
  void queue() {
    impl_->held().unpin_later(dropped_.wire, dropped_.hashes);
    impl_->wake();
  }
  call::late_handler if_refused() {
    return [impl = impl_.get(), dropped = dropped_](outcome& o) {
      if (o.code == ec::ok && static_cast<ec>(std::get<codes_reply>(o.reply).code) == ec::busy)
        impl->held().unpin_later(dropped.wire, dropped.hashes);
    };
  }

  impl_ptr impl_;
  holdings::dropped dropped_;
  time_point until_;
  std::shared_ptr<call> call_;
};

// -- commit

class commit_operation final : public pending<std::vector<ec>> {
public:
  commit_operation(impl_ptr impl, std::vector<ec> codes, std::span<page_buffer> pages, bool hand_back,
                   std::vector<std::size_t> sent, commit_request request, std::uint64_t tenure)
      : impl_(std::move(impl)), codes_(std::move(codes)), sent_(std::move(sent)), tenure_(tenure) {
    if (hand_back)
      return_to_ = pages;
    for (auto& page : pages)
      pages_.push_back(std::move(page));
    for (auto i : sent_)
      grants_.push_back(pages_[i].grant());
    if (!sent_.empty())
      ask_.emplace(impl_->wire(), "commit keys", std::move(request), impl_->deadline(), tenure_);
  }
  ~commit_operation() override {
    if (!finished_ && ask_ && ask_->used() && !impl_->wire().forked())
      leave_in_doubt();
  }
  bool ready() override { return !ask_ || ask_->ready(); }

  result<std::vector<ec>> get() override {
    finished_ = true;
    auto out = settle();
    for (std::size_t i = 0; i < return_to_.size(); ++i)
      return_to_[i] = std::move(pages_[i]);
    pages_.clear();
    return out;
  }

private:
  result<std::vector<ec>> settle() {
    if (!ask_)
      return codes_;
    auto reply = ask_->finish();
    if (!reply) {
      if (reply.code() == ec::gone)
        return with_codes(std::vector<ec>(sent_.size(), ec::gone));
      if (ask_->in_doubt())
        leave_in_doubt();
      return reply.error();
    }
    auto codes = decode_codes(reply->codes);
    if (!codes || codes->size() != sent_.size()) {
      // Answered, but how is not known: out of use for good.
      codes.emplace(sent_.size(), ec::gone);
      (void)with_codes(*codes);
      return nonsense("commit keys");
    }
    return with_codes(*codes);
  }

  std::vector<ec> with_codes(std::span<const ec> codes) {
    impl_->held().settle(tenure_, grants_, codes);
    for (std::size_t k = 0; k < sent_.size(); ++k) {
      codes_[sent_[k]] = codes[k];
      if (codes[k] == ec::ok)
        client_impl::empty(pages_[sent_[k]]);
    }
    return codes_;
  }

  // The pages must not be written again before the outcome is known: the handles lose them.
  void leave_in_doubt() {
    impl_->held().doubt(tenure_, grants_);
    for (auto i : sent_)
      client_impl::empty(pages_[i]);
    doubtful_commit commit{ask_->request(), grants_, tenure_};
    auto again = commit;
    bool to_come =
      ask_->abandon([impl = impl_.get(), commit = std::move(commit)](outcome& o) { impl->settle_late(commit, o); });
    if (!to_come) {
      impl_->held().resend(std::move(again));
      impl_->wake();
    }
  }

  impl_ptr impl_;
  std::vector<ec> codes_;
  std::vector<page_buffer> pages_;
  std::span<page_buffer> return_to_;
  std::vector<std::size_t> sent_;   // the items that marud is asked for
  std::vector<page_grant> grants_;  // theirs
  std::uint64_t tenure_;
  std::optional<exchange<commit_request>> ask_;
  bool finished_ = false;
};

}  // namespace

pending_ptr<lookup_result> start_lookup(const impl_ptr& impl, key_list keys, lookup_flags flags) {
  auto hashes = hash_keys(*impl, "look up keys", keys);
  if (!hashes)
    return answered<lookup_result>(hashes.error());
  return std::make_unique<lookup_operation>(impl, "look up keys", *std::move(hashes), flags);
}

pending_ptr<std::vector<bool>> start_pin(const impl_ptr& impl, key_list keys, bool prefix_stop) {
  auto hashes = hash_keys(*impl, "pin keys", keys);
  if (!hashes)
    return answered<std::vector<bool>>(hashes.error());
  return std::make_unique<pin_operation>(impl, "pin keys", *std::move(hashes), lookup_flags{true, prefix_stop});
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
  auto hashes = hash_keys(*impl, "unpin keys", keys);
  if (!hashes)
    return answered<std::vector<bool>>(hashes.error());
  return std::make_unique<unpin_operation>(impl, impl->held().drop_pins(*hashes));
}

pending_ptr<std::vector<ec>> start_remove(const impl_ptr& impl, key_list keys) {
  auto hashes = hash_keys(*impl, "remove keys", keys);
  if (!hashes)
    return answered<std::vector<ec>>(hashes.error());
  impl->flush_unpins();
  return std::make_unique<codes_operation<remove_request, ec>>(impl, "remove keys", keys.size(),
                                                               remove_request{encode_hashes(*hashes)});
}

pending_ptr<std::vector<ec>> start_commit(const impl_ptr& impl, key_list keys, std::span<page_buffer> pages,
                                          bool hand_back) {
  constexpr auto what = "commit keys";
  if (auto open = impl->open_for_calls(); !open)
    return answered<std::vector<ec>>(open.error());
  if (keys.size() != pages.size())
    return answered<std::vector<ec>>({ec::invalid, failure(what, "as many pages are needed as keys")});
  if (auto fits = check_batch(what, keys.size()); !fits)
    return answered<std::vector<ec>>(fits.error());
  auto tenure = impl->held().tenure();
  std::vector<ec> codes(keys.size());
  std::vector<std::size_t> sent;
  std::vector<commit_item> items;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    codes[i] = check_key(keys[i]);
    if (codes[i] == ec::ok && !impl->owns(pages[i]))
      codes[i] = ec::not_granted;
    auto* life = client_impl::life_of(pages[i]);
    if (codes[i] == ec::ok && (life->tenure != tenure || !impl->held().holds(tenure, pages[i].grant())))
      codes[i] = ec::gone;
    if (codes[i] != ec::ok)
      continue;
    cxl::publish(pages[i].bytes());
    auto& grant = pages[i].grant();
    items.push_back({keys[i], {grant.page, static_cast<std::uint32_t>(pages[i].bytes().size()), grant.gen, 0}});
    sent.push_back(i);
    bytes += keys[i].size();
  }
  commit_request request{encode_commits(items)};
  if (request.items.size() > bounds::message_bytes_max)
    return answered<std::vector<ec>>({ec::too_large, failure(what, std::to_string(bytes)
                                                                     + " bytes of keys are more "
                                                                       "than a message takes")});
  return std::make_unique<commit_operation>(impl, std::move(codes), pages, hand_back, std::move(sent),
                                            std::move(request), tenure);
}

}  // namespace maru::net
