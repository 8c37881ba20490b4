// The client's regions: those that its session is shown, what is used of them, and any region's memory.
#include <algorithm>
#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "net/client_impl.hpp"

namespace maru::net {

namespace {

constexpr auto show_what = "show a region";

error no_turn() {
  return {ec::timeout, failure(show_what, "another call of this client that shows one took too long")};
}

}  // namespace

result<shown_region> client_impl::show_region(std::size_t pages) {
  if (auto open = open_for_calls(); !open)
    return open.error();
  auto until = deadline();
  std::unique_lock lock(show_mutex_, until);
  if (!lock)
    return no_turn();
  for (;;) {
    auto s = connection_.wait(until);
    if (!s)
      return {s.code(), failure(show_what, s.error().message)};
    auto shown = show_all(**s, until);
    auto region = shown ? ask_to_show(**s, pages, until) : result<shown_region>{shown.error()};
    if (region)
      wanted_pages_.push_back(pages);
    if (region || held_.tenure() == (*s)->life->tenure)
      return region;
  }
}

// The session may be another one than that which was shown the regions: then they are shown again.
status client_impl::show_again(const session& s, time_point deadline) {
  if (shown_tenure_ == s.life->tenure)
    return {};
  std::unique_lock lock(show_mutex_, deadline);
  if (!lock)
    return no_turn();
  return show_all(s, deadline);
}

// REQUIRES: show_mutex_ is held.
status client_impl::show_all(const session& s, time_point deadline) {
  if (shown_tenure_ == s.life->tenure)
    return {};
  if (showing_tenure_ != s.life->tenure) {
    showing_tenure_ = s.life->tenure;
    shows_ = shows_again_ = 0;
  }
  for (; shows_again_ < wanted_pages_.size(); ++shows_again_) {
    auto shown = ask_to_show(s, wanted_pages_[shows_again_], deadline);
    if (!shown && shown.code() != ec::out_of_memory)  // where there is no room, grants find some
      return shown.error();
  }
  shown_tenure_ = s.life->tenure;
  return {};
}

// REQUIRES: show_mutex_ is held.
result<shown_region> client_impl::ask_to_show(const session& s, std::size_t pages, time_point deadline) {
  for (;;) {
    exchange<show_region_request> ask(connection_, show_what, {shows_, pages}, deadline, s.life->tenure);
    auto reply = ask.finish();
    if (!reply) {
      ask.abandon([](outcome&) {});
      // One that another page size has taken: the next one, then.
      if (reply.code() == ec::gone && held_.tenure() == s.life->tenure && ++shows_ < bounds::shown_regions_max)
        continue;
      return reply.error();
    }
    if (reply->row.id == 0 || reply->row.page_bytes == 0 || reply->pages == 0
        || reply->pages > reply->row.length / reply->row.page_bytes)
      return {ec::corrupt, failure(show_what, "marud's answer makes no sense")};
    auto& regions = *s.life->pool->regions;
    if (auto mapped = regions.add(std::span{&reply->row, 1}, std::span{&reply->device, 1}); !mapped)
      return mapped.error();
    ++shows_;
    return shown_region{region_id{reply->row.id}, reply->pages, reply->row.page_bytes, reply->shared};
  }
}

result<pool_usage> client_impl::usage(bool totals) {
  if (auto open = open_for_calls(); !open)
    return open.error();
  auto until = deadline();
  for (;;) {
    auto s = connection_.wait(until);
    if (!s)
      return {s.code(), failure("ask for the usage", s.error().message)};
    auto tenure = (*s)->life->tenure;
    if (auto shown = show_again(**s, until); !shown) {
      if (held_.tenure() != tenure)
        continue;
      return shown.error();
    }
    exchange<usage_request> ask(connection_, "ask for the usage", {totals}, until, tenure);
    auto reply = ask.finish();
    if (reply)
      return usage_of(*reply, held_.uses());
    ask.abandon([](outcome&) {});
    if (reply.code() != ec::gone)
      return reply.error();
  }
}

// marud knows what is granted, this client which of that is in its reserve, and so free.
pool_usage client_impl::usage_of(const usage_reply& reply, const grant_reserve::use_by_region& held) {
  pool_usage out;
  out.entries = reply.entries;
  out.entry_bytes = reply.entry_bytes;
  out.sessions = reply.sessions;
  out.shown_regions = reply.shown_regions;
  out.shown_bytes = reply.shown_bytes;
  out.pool_bytes = reply.pool_bytes;
  out.pool_free_bytes = reply.pool_free_bytes;
  for (const auto& r : reply.regions) {
    region_use use;
    use.region = region_id{r.row.id};
    use.page_bytes = r.row.page_bytes;
    use.pages = r.pages > 0 || use.page_bytes == 0 ? r.pages : r.row.length / use.page_bytes;
    use.shown = r.pages > 0;
    use.shared = r.shared;
    auto mine = held.find(use.region);
    use.allocated = mine == held.end() ? 0 : mine->second;
    use.in_reserve = r.granted - std::min(r.granted, use.allocated);
    use.committed = r.committed;
    out.pool_free_bytes += use.in_reserve * use.page_bytes;
    out.regions.push_back(use);
  }
  return out;
}

result<region_info> client_impl::region(region_id id) {
  auto pool = pool_with(id);
  if (!pool)
    return pool.error();
  return *(*pool)->regions->find(id);
}

result<region_memory> client_impl::region_bytes(region_id id, std::uint64_t first, std::uint64_t pages) {
  auto pool = pool_with(id);
  if (!pool)
    return pool.error();
  auto bytes = (*pool)->regions->range(id, first, pages);
  if (!bytes)
    return bytes.error();
  return region_memory{*bytes, *pool};
}

// The pool as it is mapped now, with this region. `missing`: there is none.
result<std::shared_ptr<const mapped_pool>> client_impl::pool_with(region_id id) {
  if (auto open = open_for_calls(); !open)
    return open.error();
  auto s = connection_.latest();
  if (!s)
    return {ec::session_over, "the client was closed"};
  page_ref page{id, {}};
  if (auto mapped = map_regions(*s->life, {&page, 1}, deadline()); !mapped)
    return mapped.error();
  if (!s->life->pool->regions->knows(id))
    return {ec::missing, failure("find a region", "there is no region " + std::to_string(value_of(id)))};
  return s->life->pool;
}

}  // namespace maru::net
