#include "net/client_impl.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "base/or_variable.hpp"
#include "base/token_file.hpp"
#include "base/uuid.hpp"
#include "cxl/checksum.hpp"

namespace maru::net {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds close_wait = 500ms;

}  // namespace

result<std::shared_ptr<client_impl>> client_impl::open(client_options options, pool_mapper map) {
  auto server = parse_server_address(options.server);
  if (!server)
    return server.error();
  auto owner = runtime::acquire();
  if (!owner)
    return owner.error();
  if (options.timeout.count() < 0 || options.timeout > bounds::timeout_max)
    return {ec::bad_option, "failed to open a client: its timeout is not from 0 to "
                              + std::to_string(bounds::timeout_max.count()) + " ms"};
  options.tls = options.tls.or_environment();
  auto token = token_source{options.token_file, options.token}.or_environment();
  options.token_file = token.file;
  options.token = token.text;
  options.pool_path = or_variable(options.pool_path, "MARU_POOL_PATH");
  options.grant_batch = std::clamp<std::size_t>(options.grant_batch, 1, bounds::batch_items_max);
  auto* made = new client_impl(std::move(options), *std::move(server), *std::move(owner), std::move(map));
  // In a forked child its threads are not there, so nothing of it can be taken down: it stays.
  std::shared_ptr<client_impl> impl{made, [](client_impl* p) {
                                      if (!p->connection_.forked())
                                        delete p;
                                    }};
  auto opened = impl->connection_.wait_open(impl->deadline());
  if (!opened)
    return opened.error();
  return impl;
}

client_impl::client_impl(client_options options, server_address server, std::shared_ptr<runtime> owner, pool_mapper map)
    : options_(std::move(options)),
      jobs_(std::make_shared<job_queue>()),
      runtime_(std::move(owner)),
      connection_(
        options_, std::move(server), runtime_, held_, jobs_,
        [this](const session& s, std::size_t n) { give_back(s, n); }, std::move(map)) {
  signals_blocked quiet;
  keeper_ = std::make_unique<std::thread>([this] { keep_house(); });
}

client_impl::~client_impl() {
  connection_.begin_close();
  keeper_->join();
}

result<std::shared_ptr<client>> client_impl::open_client(client_options options, pool_mapper map) {
  auto impl = open(std::move(options), std::move(map));
  if (!impl)
    return impl.error();
  return std::shared_ptr<client>{new client(*std::move(impl))};
}

void client_impl::close() {
  if (connection_.forked())
    return;
  held_.unpin_keys();
  connection_.begin_close();
  end_fetch();
  std::unique_lock lock(finish_mutex_);
  finish_changed_.wait_for(lock, 2 * close_wait, [this] { return finished_ || holds_ > 0; });
}

status client_impl::open_for_calls() const {
  if (connection_.forked())
    return {ec::session_over, "the client was opened by another process: open one after the fork"};
  if (connection_.closing())
    return {ec::session_over, "the client was closed"};
  return {};
}

client_info client_impl::info() const {
  client_info out;
  if (connection_.forked())
    return out;
  if (auto s = connection_.latest()) {
    uuid id;
    std::copy(s->life->pool->id.begin(), s->life->pool->id.end(), id.bytes.begin());
    out.session = s->id;
    out.epoch = s->epoch;
    out.page_bytes = s->page_bytes;
    out.pool = to_string(id);
    out.pool_path = s->life->pool->path;
    out.connected = s->wire->up();
  }
  out.grants_in_reserve = held_.idle();
  out.pages_in_doubt = held_.in_doubt();
  out.damaged = damaged_;
  return out;
}

// -- pages

result<std::vector<page_buffer>> client_impl::alloc(std::size_t n, std::size_t size) {
  if (connection_.forked())
    return open_for_calls().error();
  hold guard{*this};
  if (auto open = open_for_calls(); !open)
    return open.error();
  if (n > bounds::batch_items_max)
    return {ec::too_large, "failed to allocate " + std::to_string(n) + " pages: a batch has at most "
                             + std::to_string(bounds::batch_items_max)};
  auto until = deadline();
  for (;;) {
    if (auto may = connection_.usable(until); !may)
      return may.error();
    auto s = connection_.latest();
    if (!s)
      return {ec::session_over, "the client was closed"};
    if (size > s->page_bytes)
      return {ec::too_large, "failed to allocate " + std::to_string(size) + " bytes: pages of this client hold "
                               + std::to_string(s->page_bytes)};
    if (auto taken = held_.take_pages(n)) {
      if (taken->tenure != s->life->tenure) {  // the session changed in between
        for (auto& grant : taken->grants)
          held_.put_back(taken->tenure, grant);
        continue;
      }
      if (options_.fetch_ahead && held_.idle() < options_.grant_batch / 2)
        wake();
      return make_pages(*s, *taken, size);
    }
    if (auto fetched = fetch(n, until); !fetched)
      return fetched.error();
  }
}

result<std::vector<page_buffer>> client_impl::make_pages(const session& s, const holdings::taken& taken,
                                                         std::size_t size) {
  std::vector<page_buffer> pages;
  pages.reserve(taken.grants.size());
  for (auto& grant : taken.grants) {
    page_buffer page;
    page.owner_ = shared_from_this();
    page.life_ = s.life;
    page.grant_ = grant;
    ++holds_;
    pages.push_back(std::move(page));
    auto bytes = s.life->pool->regions->bytes(grant.page, size);
    if (!bytes) {
      auto gone = ec::gone;
      held_.settle(taken.tenure, {&grant, 1}, {&gone, 1});
      return bytes.error();
    }
    pages.back().bytes_ = *bytes;
  }
  return pages;
}

status client_impl::fetch(std::size_t n, time_point deadline) {
  {
    std::unique_lock lock(fetch_mutex_);
    if (fetching_) {
      if (fetched_.wait_until(lock, deadline, [this] { return !fetching_; }))
        return {};
      return {ec::timeout, "failed to get pages: marud did not answer before the deadline"};
    }
    fetching_ = true;
  }
  ahead_ = true;
  auto out = ask_for_pages(n, deadline);
  end_fetch();
  // The session ended meanwhile, and the pages with it: the next one gives others.
  return out.code() == ec::gone ? status{} : out;
}

// gone: the session is over.
status client_impl::ask_for_pages(std::size_t n, time_point deadline) {
  constexpr auto what = "get pages";
  auto open = connection_.wait(deadline);
  if (!open)
    return {open.code(), failure(what, open.error().message)};
  if (auto shown = show_again(**open, deadline); !shown)
    return shown;
  auto idle = held_.idle();
  auto count = n > idle ? n - idle : 1;
  auto spare = options_.grant_batch - std::min(count, options_.grant_batch);
  grant_request request{static_cast<std::uint32_t>(count), false, static_cast<std::uint32_t>(spare)};
  exchange<grant_request> ask(connection_, what, request, deadline, (*open)->life->tenure);
  auto reply = ask.finish();
  if (!reply) {
    if (ask.used())
      ask.abandon([this, number = ask.used()->wire_number](outcome& o) { receive_grants(number, o, [] {}); });
    return reply.error();
  }
  auto grants = decode_grants(reply->grants);
  if (!grants || grants->empty())
    return {ec::corrupt, "failed to get pages: marud's answer makes no sense"};
  auto& s = *ask.used();
  auto mapped = map_regions(s, pages_of(*grants), deadline);
  if (mapped)
    held_.add_grants(s.wire_number, *grants);
  else
    s.wire->post(give_back_request{encode_grants(*grants)}, [](outcome&) {});
  return mapped;
}

void client_impl::end_fetch() {
  {
    std::lock_guard lock(fetch_mutex_);
    fetching_ = false;
  }
  fetched_.notify_all();
}

std::vector<page_ref> client_impl::pages_of(std::span<const page_grant> grants) {
  std::vector<page_ref> pages;
  for (auto& g : grants)
    pages.push_back(g.page);
  return pages;
}

status client_impl::map_regions(const session& s, std::span<const page_ref> pages, time_point deadline) {
  auto& regions = *s.life->pool->regions;
  auto ids = regions.unknown(pages);
  if (ids.empty())
    return {};
  exchange<regions_request> ask(connection_, "find regions", regions_request{std::move(ids)}, deadline, s.life->tenure);
  auto reply = ask.finish();
  if (!reply) {
    ask.abandon([](outcome&) {});
    return reply.error();
  }
  return regions.add(reply->rows);
}

result<std::span<const std::byte>> client_impl::bytes(const location& where) {
  if (auto open = open_for_calls(); !open)
    return open.error();
  auto until = deadline();
  if (auto may = connection_.usable(until); !may)
    return may.error();
  auto s = connection_.latest();
  if (!s)
    return {ec::session_over, "the client was closed"};
  if (auto mapped = map_regions(*s, {&where.page, 1}, until); !mapped)
    return mapped.error();
  auto found = s->life->pool->regions->bytes(where.page, where.length);
  if (!found)
    return found.error();
  s->life->pool->visible->acquire(*found);
  if (!sound(*s, where, *found))
    return {ec::missing, "failed to read a page: its bytes are damaged, as their checksum tells"};
  return std::span<const std::byte>{*found};
}

bool client_impl::sound(const session& s, const location& where, std::span<const std::byte> bytes) {
  bool asked = options_.verify_payloads || s.checksums == payload_checksums::verify;
  if (!asked || where.checksum == 0 || cxl::payload_checksum(bytes) == where.checksum)
    return true;
  ++damaged_;
  auto page = where.as_grant();
  s.wire->post(report_request{encode_grants({&page, 1})}, [](outcome&) {});
  return false;
}

view client_impl::make_view(const session& s, const key_hash& hash, const location& where) {
  view v;
  v.owner_ = shared_from_this();
  v.life_ = s.life;
  v.hash_ = hash;
  v.where_ = where;
  ++holds_;
  return v;
}

status client_impl::show(const session& s, view& v) {
  auto bytes = v.life_->pool->regions->bytes(v.where_.page, v.where_.length);
  if (!bytes)
    return bytes.error();
  v.life_->pool->visible->acquire(*bytes);
  if (!sound(s, v.where_, *bytes))
    return {ec::corrupt, "the bytes do not fit their checksum"};
  v.bytes_ = *bytes;
  return {};
}

void client_impl::release_hold() {
  if (--holds_ == 0 && connection_.closing())
    wake();
}

void client_impl::let_go(page_buffer& page) {
  auto owner = std::move(page.owner_);
  if (!owner || owner->connection_.forked())
    return;
  publish(page);
  owner->held_.put_back(page.life_->tenure, page.grant_);
  page.life_.reset();
  owner->release_hold();
}

void client_impl::let_go(view& v) {
  auto owner = std::move(v.owner_);
  if (!owner || owner->connection_.forked())
    return;
  owner->held_.drop_view(v.life_->tenure, v.pin());
  v.life_.reset();
  owner->release_hold();
  owner->wake();
}

void client_impl::empty(page_buffer& page) {
  auto owner = std::move(page.owner_);
  page.life_.reset();
  page.bytes_ = {};
  owner->release_hold();
}

}  // namespace maru::net
