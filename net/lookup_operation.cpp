// Lookups, with and without pins, by key and by view.
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "net/hashed_keys.hpp"
#include "net/local_reads.hpp"
#include "net/request_checks.hpp"

namespace maru::net {

namespace {

// Answers what it can in the pool itself, when it is made; asks marud for what is left open.
class lookup_base {
public:
  lookup_base(impl_ptr impl, const char* what, hashed_keys keys, holding takes, bool prefix_stop)
      : impl_(std::move(impl)),
        what_(what),
        life_(std::move(keys.life)),
        hashes_(std::move(keys.hashes)),
        takes_(takes),
        prefix_stop_(prefix_stop),
        deadline_(impl_->deadline()) {
    begin();
  }

  lookup_base(const lookup_base&) = delete;
  lookup_base& operator=(const lookup_base&) = delete;

  // Pins that are granted to nobody are ended.
  ~lookup_base() {
    if (takes_ == holding::nothing || impl_->wire().forked())
      return;
    if (!given_)
      undo(*life_, hashes_, takes_, local_);
    if (!ask_ || !ask_->used())
      return;
    auto number = ask_->used()->wire_number;
    ask_->abandon([impl = impl_.get(), number, hashes = std::move(open_), takes = takes_](outcome& o) {
      if (o.code != ec::ok)
        return;
      if (auto items = decode_found(std::get<found_reply>(o.reply).items); items && items->size() == hashes.size())
        impl->held().unpin_later(number, pins_of(hashes, *items, takes).ids);
    });
  }

protected:
  // True when finishing will not wait: neither for an answer, nor for room for its pins or a lease. It may all the same where
  // the connection or the session changes before it is called.
  bool answered() {
    if (!impl_->open_for_calls())
      return !ask_ || ask_->ready();
    if (std::chrono::steady_clock::now() >= deadline_)
      return true;
    if (local_.too_many)
      begin();
    bool has_lease = takes_ == holding::nothing || !ask_ || impl_->wire().usable_now();
    return !local_.too_many && has_lease && (!ask_ || ask_->ready());
  }

  // What the answer to the open keys is, once `keep` took it. Where a reconnect has made its pins void it is asked for again.
  template <class Keep>
  result<std::vector<found>> finish_open(Keep keep) {
    for (;;) {
      auto reply = ask_->finish();
      if (!reply)
        return reply.error();
      auto items = decode_found(reply->items);
      if (!items || items->size() != open_.size())
        return nonsense(what_);
      if (keep(*items))
        return *std::move(items);
      ask_->repeat();
    }
  }

  // All of the answer; `open`: that of the open keys.
  std::vector<found> joined(std::vector<found> open) {
    given_ = true;
    for (std::size_t n = 0; n < open.size(); ++n)
      local_.items[local_.open[n]] = open[n];
    return std::move(local_.items);
  }

  struct pinned {
    std::vector<pin_id> ids;
    std::vector<page_ref> pages;
  };
  static pinned pins_of(std::span<const key_hash> hashes, std::span<const found> items, holding takes) {
    pinned out;
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i].code == ec::ok) {
        out.ids.push_back(pin_of(takes, hashes[i], items[i].where));
        out.pages.push_back(items[i].where.page);
      }
    return out;
  }
  // Books what the answer took. False where the answer is void.
  bool book(std::span<const found> items) {
    auto taken = pins_of(open_, items, takes_);
    return impl_->held().add_pins(ask_->used()->wire_number, taken.ids, taken.pages);
  }

  // Waits until the session has room for the pins; `busy` where it has none before the deadline.
  status make_room() {
    for (auto pause = std::chrono::milliseconds{1}; local_.too_many; pause *= 2) {
      if (auto open = impl_->open_for_calls(); !open)
        return open;
      if (std::chrono::steady_clock::now() + 2 * pause >= deadline_)
        return {ec::busy, failure(what_, "its session has as many pins as marud's --pins-max allows")};
      std::this_thread::sleep_for(pause);
      begin();
    }
    return {};
  }

  // With pins by key: those of the hits are in the book, or in the session's holds.
  result<std::vector<found>> finish_pinned() {
    for (;;) {
      if (auto room = make_room(); !room)
        return room.error();
      std::vector<found> open;
      if (ask_) {
        auto items = finish_open([this](std::span<const found> found) { return book(found); });
        if (!items)
          return items;
        open = *std::move(items);
      }
      auto counts = still_counts();
      if (counts)
        return joined(std::move(open));
      auto given_up = impl_->held().drop_pins(pins_of(open_, open, takes_).ids);
      impl_->held().unpin_later(given_up.wire, given_up.pins);
      if (counts.code() != ec::gone)
        return counts.error();
      // Another session: what the one before has pinned is not this one's.
      undo(*life_, hashes_, takes_, local_);
      local_ = {};
      auto line = impl_->line();
      if (!line)
        return line.error();
      life_ = (*line)->life;
      begin();
    }
  }

  // Is what was booked last marud's view too? A process that stood still between the answer and the booking may find its
  // lease over: then it waits for the next one. gone: that is another session's, or what was taken locally is.
  status still_counts() {
    if (auto open = impl_->open_for_calls(); !open)
      return open;
    if (ask_)
      if (auto may = impl_->wire().usable(deadline_); !may)
        return may;
    auto now = impl_->held().tenure();
    if (now != life_->tenure || (ask_ && now != ask_->used()->life->tenure))
      return {ec::gone, failure(what_, "its session is over")};
    return {};
  }

  impl_ptr impl_;
  const char* what_;
  std::shared_ptr<const session_life> life_;  // of what is taken locally
  std::vector<key_hash> hashes_;
  holding takes_;
  bool prefix_stop_;
  time_point deadline_;
  local_answers local_;
  bool given_ = false;          // the local pins are the caller's
  std::vector<key_hash> open_;  // the keys that marud is asked for
  std::optional<exchange<lookup_request>> ask_;

private:
  void begin() {
    local_ = read_locally(*life_, hashes_, takes_, prefix_stop_);
    open_ = picked(hashes_, local_.open);
    ask_.reset();
    if (!open_.empty() || (hashes_.empty() && !local_.too_many))
      ask_.emplace(impl_->wire(), what_, lookup_request{flags_of(takes_, prefix_stop_), encode_hashes(open_)},
                   deadline_);
  }
};

class lookup_operation final : public pending<lookup_result>, private lookup_base {
public:
  using lookup_base::lookup_base;
  bool ready() override { return answered(); }

  result<lookup_result> get() override {
    auto items = takes_ == holding::pin ? finish_pinned() : finish_unpinned();
    if (!items)
      return items.error();
    lookup_result out(items->size());
    for (std::size_t i = 0; i < out.size(); ++i)
      if ((*items)[i].code == ec::ok)
        out[i] = (*items)[i].where;
    return out;
  }

private:
  result<std::vector<found>> finish_unpinned() {
    if (!ask_)
      return joined({});
    auto items = finish_open([](const auto&) { return true; });
    return items ? joined(*std::move(items)) : items;
  }
};

class pin_operation final : public pending<std::vector<bool>>, private lookup_base {
public:
  using lookup_base::lookup_base;
  bool ready() override { return answered(); }

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
  retrieve_operation(impl_ptr impl, hashed_keys keys, bool prefix_stop, bool failed_is_error)
      : lookup_base(std::move(impl), "retrieve keys", std::move(keys), holding::view, prefix_stop),
        failed_is_error_(failed_is_error) {}
  bool ready() override { return answered(); }

  result<std::vector<view>> get() override {
    auto line = impl_->line();
    if (!line)
      return line.error();
    if (auto room = make_room(); !room)
      return room.error();
    // What was taken locally stays the session's that it was taken in, also where that is over by now.
    auto mine = (*line)->life == life_ ? *line : std::make_shared<const lifeline>(impl_, life_, 0);
    std::vector<view> views(hashes_.size());
    given_ = true;  // to views, which end them whatever happens
    for (std::size_t i = 0; i < views.size(); ++i)
      if (local_.items[i].code == ec::ok)
        views[i] = client_impl::make_view(mine, hashes_[i], local_.items[i].where, local_.pins[i]);
    while (ask_) {
      auto items = finish_open([this](std::span<const found> found) { return book(found); });
      if (!items)
        return items.error();
      auto shown = make_open_views(*items, views);
      if (shown)
        break;
      if (shown.code() != ec::gone)  // gone: the session ended meanwhile
        return shown.error();
      ask_->repeat();
    }
    return show(std::move(views));
  }

private:
  // REQUIRES: the hits' pins are in the book. Each belongs to its view from here on, whatever happens: the
  // views that go undo it.
  status make_open_views(std::span<const found> items, std::vector<view>& views) {
    auto used = ask_->used();
    auto line = std::make_shared<const lifeline>(impl_, used->life, used->wire_number);
    for (std::size_t n = 0; n < items.size(); ++n) {
      auto i = local_.open[n];
      views[i] = items[n].code == ec::ok ? client_impl::make_view(line, hashes_[i], items[n].where, {}) : view{};
    }
    if (auto may = impl_->wire().usable(deadline_); !may)
      return may;
    if (impl_->held().tenure() != used->life->tenure)
      return {ec::gone, failure(what_, "its session is over")};
    return {};
  }

  result<std::vector<view>> show(std::vector<view> views) {
    for (std::size_t i = 0; i < views.size(); ++i) {
      auto shown = views[i] ? impl_->show(views[i]) : status{};
      if (shown.code() == ec::missing) {
        if (auto mapped = impl_->map_regions_of(views, deadline_); !mapped)
          return mapped.error();
        shown = impl_->show(views[i]);
        if (shown.code() == ec::missing && !impl_->is_current(views[i]))
          shown = {ec::corrupt, "its pool was lost"};
      }
      if (shown)
        continue;
      bool is_miss = shown.code() == ec::corrupt || (shown.code() == ec::memory_failed && !failed_is_error_);
      if (!is_miss)
        return shown.error();
      for (auto n = i; n < (prefix_stop_ ? views.size() : i + 1); ++n)  // damaged or lost
        views[n] = view{};
    }
    return views;
  }

  bool failed_is_error_;
};

}  // namespace

pending_ptr<lookup_result> start_lookup(const impl_ptr& impl, key_list keys, lookup_flags flags) {
  auto hashed = hash_keys(*impl, "look up keys", keys);
  if (!hashed)
    return answered<lookup_result>(hashed.error());
  return std::make_unique<lookup_operation>(impl, "look up keys", *std::move(hashed),
                                            flags.pin ? holding::pin : holding::nothing, flags.prefix_stop);
}

pending_ptr<std::vector<bool>> start_pin(const impl_ptr& impl, key_list keys, bool prefix_stop) {
  auto hashed = hash_keys(*impl, "pin keys", keys);
  if (!hashed)
    return answered<std::vector<bool>>(hashed.error());
  return std::make_unique<pin_operation>(impl, "pin keys", *std::move(hashed), holding::pin, prefix_stop);
}

pending_ptr<std::vector<view>> start_retrieve(const impl_ptr& impl, key_list keys, bool prefix_stop,
                                              bool failed_is_error) {
  auto hashed = hash_keys(*impl, "retrieve keys", keys);
  if (!hashed)
    return answered<std::vector<view>>(hashed.error());
  return std::make_unique<retrieve_operation>(impl, *std::move(hashed), prefix_stop, failed_is_error);
}

std::optional<result<view>> retrieve_locally(const impl_ptr& impl, std::string_view key) {
  auto line = impl->line();
  if (!line || check_key(key) != ec::ok)
    return std::nullopt;
  const auto& life = *(*line)->life;
  if (!life.local || !life.local->is_open())
    return std::nullopt;
  auto hash = hash_key(life.secret, key);
  auto& table = *life.holds->table();
  if (!life.holds->reserve(1))
    return std::nullopt;
  location where;
  local_pin pinned{.alone = true};
  auto seen = life.local->pin(hash, true, table, where, pinned);
  if (seen != cxl::sight::hit)
    life.holds->release(1);
  if (seen == cxl::sight::miss) {
    table.count({.misses = 1});
    return result<view>{ec::missing, "failed to retrieve a key: it is not there"};
  }
  if (seen != cxl::sight::hit)
    return std::nullopt;
  auto made = client_impl::make_view(*std::move(line), hash, where, pinned);
  auto shown = impl->show(made);
  if (shown.code() == ec::corrupt)
    return result<view>{ec::missing, "failed to retrieve a key: its bytes are damaged"};
  if (shown.code() == ec::memory_failed)
    return result<view>{shown.error()};
  if (!shown)
    return std::nullopt;
  table.count({.hits = 1});
  return result<view>{std::move(made)};
}

}  // namespace maru::net
