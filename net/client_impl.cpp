#include "net/client_impl.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/bounds.hpp"
#include "base/or_variable.hpp"
#include "base/token_file.hpp"
#include "base/uuid.hpp"
#include "cxl/checksum.hpp"
#include "cxl/fault_guard.hpp"

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
  options.guard_memory = options.guard_memory && or_variable("", "MARU_GUARD_MEMORY") != "0";
  options.local_reads = options.local_reads && or_variable("", "MARU_LOCAL_READS") != "0";
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
  if (auto s = connection_.latest())
    end_key_pins(*s);
  lines_.close();  // first: what is ended has no page and no view made in it any more
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
    out.page_bytes = s->life->page_bytes;
    out.pool = to_string(id);
    out.pool_path = s->life->pool->path;
    out.connected = s->wire->up();
    out.local_reads = s->life->local != nullptr;
    out.why_not_local = s->life->why_not_local;
    out.pin_age_max = s->life->pin_age_max;
  }
  out.grants_in_reserve = held_.idle();
  out.pages_in_doubt = held_.in_doubt();
  out.damaged = damaged_;
  return out;
}

// -- pages

result<lifeline_ptr> client_impl::line() {
  if (auto open = open_for_calls(); !open)
    return open.error();
  auto made = lines_.get(connection_.wire_number(), [this] {
    auto s = connection_.latest();
    return s ? std::make_shared<const lifeline>(shared_from_this(), s->life, s->wire_number) : nullptr;
  });
  if (!made)
    return {ec::session_over, "the client was closed"};
  return made;
}

result<lifeline_ptr> client_impl::line_for(std::size_t size, std::optional<time_point>& until) {
  auto line = this->line();
  if (!line)
    return line;
  if (!connection_.usable_now()) {
    if (auto may = connection_.usable(begun(until)); !may)
      return may.error();
  }
  if (size > (*line)->life->page_bytes)
    return {ec::too_large, "failed to allocate " + std::to_string(size) + " bytes: pages of this client hold "
                             + std::to_string((*line)->life->page_bytes)};
  return line;
}

time_point client_impl::begun(std::optional<time_point>& until) const {
  if (!until)
    until = deadline();
  return *until;
}

result<page_buffer> client_impl::alloc(std::size_t size) {
  std::optional<time_point> until;  // asked for when there is something to wait for: clocks cost as much as the rest
  for (;;) {
    auto line = line_for(size, until);
    if (!line)
      return line.error();
    auto taken = held_.take_page();
    if (!taken) {
      if (auto fetched = fetch(1, begun(until)); !fetched)
        return fetched.error();
      continue;
    }
    if (taken->tenure != (*line)->life->tenure) {  // the session changed in between
      held_.put_back(taken->tenure, taken->grant);
      continue;
    }
    if (options_.fetch_ahead && taken->left < options_.grant_batch / 2)
      wake();
    page_buffer page;
    page.line_ = *std::move(line);
    page.grant_ = taken->grant;
    auto found = find_bytes(page, size);
    if (found)
      return page;
    if (found.code() != ec::memory_failed)  // else there are others
      return found.error();
  }
}

result<std::vector<page_buffer>> client_impl::alloc(std::size_t n, std::size_t size) {
  if (n > bounds::batch_items_max)
    return {ec::too_large, "failed to allocate " + std::to_string(n) + " pages: a batch has at most "
                             + std::to_string(bounds::batch_items_max)};
  std::optional<time_point> until;
  for (;;) {
    auto line = line_for(size, until);
    if (!line)
      return line.error();
    if (auto taken = held_.take_pages(n)) {
      if (taken->tenure != (*line)->life->tenure) {
        for (auto& grant : taken->grants)
          held_.put_back(taken->tenure, grant);
        continue;
      }
      if (options_.fetch_ahead && held_.idle() < options_.grant_batch / 2)
        wake();
      auto pages = make_pages(*line, *taken, size);
      if (pages.code() != ec::memory_failed)
        return pages;
      continue;
    }
    if (auto fetched = fetch(n, begun(until)); !fetched)
      return fetched.error();
  }
}

// A page without bytes is not this client's to use: it is forgotten. So is one whose memory failed.
status client_impl::find_bytes(page_buffer& page, std::size_t size) {
  const auto& life = *page.line_->life;
  auto bytes = life.pool->regions->bytes(page.grant_.page, size);
  if (!bytes) {
    auto gone = ec::gone;
    held_.settle(life.tenure, {&page.grant_, 1}, {&gone, 1});
    return bytes.error();
  }
  if (!is_sound(*bytes)) {
    give_up(page);
    return {ec::memory_failed, "failed to allocate a page: its memory failed"};
  }
  page.bytes_ = *bytes;
  return {};
}

result<std::vector<page_buffer>> client_impl::make_pages(const lifeline_ptr& line, const holdings::taken& taken,
                                                         std::size_t size) {
  std::vector<page_buffer> pages(taken.grants.size());
  for (std::size_t i = 0; i < pages.size(); ++i) {
    pages[i].line_ = line;
    pages[i].grant_ = taken.grants[i];
  }
  for (auto& page : pages)
    if (auto found = find_bytes(page, size); !found)
      return found.error();
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
  auto mapped = map_regions(*s.life, pages_of(*grants), deadline);
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

status client_impl::map_regions(const session_life& life, std::span<const page_ref> pages, time_point deadline) {
  auto& regions = *life.pool->regions;
  auto ids = regions.unknown(pages);
  if (ids.empty())
    return {};
  exchange<regions_request> ask(connection_, "find regions", regions_request{std::move(ids)}, deadline, life.tenure);
  auto reply = ask.finish();
  if (!reply) {
    ask.abandon([](outcome&) {});
    return reply.error();
  }
  return regions.add(reply->rows, reply->devices);
}

bool client_impl::is_current(const view& v) const {
  auto s = connection_.latest();
  return s && s->life->pool == v.line_->life->pool;
}

status client_impl::map_regions_of(std::span<const view> views, time_point deadline) {
  auto s = connection_.latest();
  std::vector<page_ref> pages;
  for (const auto& v : views)
    if (s && v && v.line_->life->pool == s->life->pool)
      pages.push_back(v.where_.page);
  return pages.empty() ? status{} : map_regions(*s->life, pages, deadline);
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
  if (auto mapped = map_regions(*s->life, {&where.page, 1}, until); !mapped)
    return mapped.error();
  auto found = s->life->pool->regions->bytes(where.page, where.length);
  if (!found)
    return found.error();
  auto checked = check(*s->life, where, *found);
  if (checked.code() == ec::corrupt)
    return {ec::missing, "failed to read a page: its bytes are damaged, as their checksum tells"};
  if (!checked)
    return checked.error();
  return std::span<const std::byte>{*found};
}

status client_impl::check(const session_life& life, const location& where, std::span<const std::byte> bytes) {
  bool fits = true;
  cxl::look here;
  if (is_sound(bytes)) {
    life.pool->visible->acquire(bytes);
    bool asked = options_.verify_payloads || life.checksums == payload_checksums::verify;
    fits = !asked || where.checksum == 0 || cxl::payload_checksum(bytes) == where.checksum;
  }
  if (cxl::faulted(bytes)) {  // also by the look at them
    wake();
    return {ec::memory_failed,
            "failed to read page " + to_string(where.page) + ": its memory failed, the chunk is lost"};
  }
  if (fits)
    return {};
  ++damaged_;
  auto page = where.as_grant();
  if (auto s = connection_.now())
    s->wire->post(report_request{encode_grants({&page, 1})}, [](outcome&) {});
  return {ec::corrupt, "the bytes do not fit their checksum"};
}

view client_impl::make_view(lifeline_ptr line, const key_hash& hash, const location& where, const local_pin& pinned) {
  view v;
  v.line_ = std::move(line);
  v.hash_ = hash;
  v.where_ = where;
  v.held_ = pinned.held;
  v.slot_ = static_cast<std::uint32_t>(pinned.slot);
  v.alone_ = pinned.alone;
  return v;
}

status client_impl::show(view& v) {
  const auto& life = *v.line_->life;
  auto bytes = life.pool->regions->bytes(v.where_.page, v.where_.length);
  if (!bytes)
    return bytes.error();
  if (auto checked = check(life, v.where_, *bytes); !checked)
    return checked;
  v.bytes_ = *bytes;
  return {};
}

bool client_impl::intact(const view& v) {
  if (!cxl::faulted(v.bytes_))
    return true;
  if (!v.line_->owner->connection_.forked())
    v.line_->owner->wake();
  return false;
}

// Whether these bytes can be handed out. Who asks `intact` afterwards needs no look ahead.
bool client_impl::is_sound(std::span<const std::byte> bytes) const {
  return options_.guard_memory ? !cxl::faulted(bytes) : cxl::is_sound(bytes);
}

// Kept, and never used again: where marud finds it sound it is this process alone that cannot use it.
void client_impl::give_up(page_buffer& page) {
  held_.set_aside(page.line_->life->tenure, page.grant_);
  empty(page);
  wake();
}

void client_impl::release_hold() {
  if (--holds_ == 0 && connection_.closing())
    wake();
}

void client_impl::publish(const page_buffer& page, std::size_t first) {
  if (!page.filled_) {
    cxl::look here;  // the commit asks
    page.line_->life->pool->visible->publish(page.bytes_.subspan(first));
  }
}

// The checksum first: it brings the chunk into the caches for the copy, which may not leave the page there.
void client_impl::fill(page_buffer& page, std::span<const std::byte> chunk) {
  auto& life = *page.line_->life;
  page.sum_ = life.checksums == payload_checksums::off ? 0 : cxl::payload_checksum(chunk);
  page.bytes_ = page.bytes_.first(chunk.size());
  cxl::look here;  // the commit asks
  life.pool->visible->copy(page.bytes_, chunk);
  page.filled_ = true;
}

std::uint64_t client_impl::checksum_of(const page_buffer& page) {
  cxl::look here;
  return page.sum_ != 0 ? page.sum_ : cxl::payload_checksum(page.bytes_);
}

void client_impl::let_go(page_buffer& page) {
  if (auto* line = page.line_.get(); line && !line->owner->connection_.forked()) {
    publish(page);
    line->owner->held_.put_back(line->life->tenure, page.grant_);
  }
  page.line_.reset();
}

void client_impl::let_go(view& v) {
  auto line = std::move(v.line_);
  if (!line || line->owner->connection_.forked())
    return;
  if (v.held_ != view::by_message) {
    line->life->holds->drop_view(v.held_, v.slot_, v.alone_);
    return;
  }
  line->owner->held_.drop_view(line->life->tenure, v.pin());
  line->owner->wake();
}

void client_impl::empty(page_buffer& page) {
  page.bytes_ = {};
  page.line_.reset();
}

}  // namespace maru::net
