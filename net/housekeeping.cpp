// The part of the client that runs on its own thread: what is to be sent without a caller, and what came too late for
// its caller.
#include <algorithm>
#include <utility>

#include "base/bounds.hpp"
#include "cxl/fault_guard.hpp"
#include "net/client_impl.hpp"

namespace maru::net {

namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// The least wait before something that marud refused for now is tried again.
constexpr auto retry_pause = 20ms;
constexpr auto refill_pause = 500ms;
// For the answer to the session's end.
constexpr std::chrono::milliseconds farewell_wait = 500ms;

}  // namespace

void client_impl::keep_house() {
  auto next = steady::now();
  for (;;) {
    for (auto& job : jobs_->take(next))
      job();
    if (connection_.closing() && holds_ == 0)
      break;
    next = connection_.tend();
    if (auto s = connection_.now())
      next = std::min(next, tend_holdings(*s));
  }
  connection_.finish(steady::now() + std::min(options_.timeout, farewell_wait));
  {
    std::lock_guard lock(finish_mutex_);
    finished_ = true;
  }
  finish_changed_.notify_all();
}

session_ptr client_impl::session_of(std::uint64_t wire_number) const {
  auto s = connection_.now();
  return s && s->wire_number == wire_number ? s : nullptr;
}

time_point client_impl::tend_holdings(const session& s) {
  auto now = steady::now();
  auto next = time_point::max();
  if (unpins_sent_ && now >= *unpins_sent_ + options_.timeout)
    unpins_sent_.reset();
  if (!unpins_sent_ && held_.unpins_waiting()) {
    if (now >= unpins_after_)
      send_unpins(s);
    else
      next = std::min(next, unpins_after_);
  }
  if (now >= reports_after_)
    report_failed_memory(s);
  else
    next = std::min(next, reports_after_);
  end_old_pins(s);
  if (s.life->pin_age_max.count() > 0)
    next = std::min(next, old_pins_after_);
  if (now >= resend_after_) {
    for (auto& commit : held_.take_resends()) {
      auto again = commit;
      if (!s.wire->post(commit.request, [this, commit](outcome& o) { settle_late(commit, o); }))
        held_.resend(std::move(again));
    }
  } else {
    next = std::min(next, resend_after_);
  }
  if (connection_.closing()) {  // only views and pages in use are left: nobody takes from the reserve any more
    give_back(s, held_.idle());
    end_key_pins(s);
  }
  if (options_.fetch_ahead && ahead_ && held_.idle() < (options_.grant_batch + 1) / 2) {
    if (now >= refill_after_)
      refill(s);
    else
      next = std::min(next, refill_after_);
  }
  return next;
}

// Whoever met it: this client's calls, or its callers as they read and wrote in place.
void client_impl::report_failed_memory(const session& s) {
  auto failures = cxl::faults_survived();
  if (!failures_.is_due(s.wire_number, failures))
    return;
  auto pages = failures_.next(s.life->pool->regions->failed_pages(), failures, bounds::reported_pages_max);
  if (pages.empty())
    return;
  report_request request{encode_grants(pages)};
  s.wire->post(std::move(request), [this, number = s.wire_number, pages = std::move(pages)](outcome& o) {
    auto not_taken = pages;
    if (o.code == ec::ok)
      if (auto codes = decode_codes(std::get<codes_reply>(o.reply).codes); codes && codes->size() == pages.size()) {
        not_taken.clear();
        for (std::size_t i = 0; i < pages.size(); ++i)
          if ((*codes)[i] == ec::busy)
            not_taken.push_back(pages[i]);
      }
    failures_.answered(number, not_taken);
    if (!not_taken.empty())
      reports_after_ = steady::now() + retry_pause;
  });
}

// Those that calls took as the client was being closed.
void client_impl::end_key_pins(const session& s) {
  held_.unpin_keys();
  if (s.life->holds)
    s.life->holds->drop_keys_of();
}

// Pins by key that marud's operator lets grow no older. The next look is soon enough to keep to the bound within a fourth.
void client_impl::end_old_pins(const session& s) {
  auto now = steady::now();
  auto age = s.life->pin_age_max;
  if (age.count() == 0 || now < old_pins_after_)
    return;
  old_pins_after_ = now + std::max<std::chrono::milliseconds>(age / 4, retry_pause);
  held_.unpin_keys(now - age);
  if (s.life->holds)
    s.life->holds->drop_keys_of(now - age);
}

void client_impl::send_unpins(const session& s) {
  auto pins = held_.take_unpins(s.wire_number, bounds::batch_items_max);
  if (pins.empty())
    return;
  auto number = s.wire_number;
  unpins_sent_ = steady::now();
  auto request = unpin_of(pins);
  bool sent = s.wire->post(std::move(request), [this, number, pins = std::move(pins)](outcome& o) {
    unpins_sent_.reset();
    if (o.code != ec::ok || static_cast<ec>(std::get<codes_reply>(o.reply).code) != ec::busy)
      return;
    held_.unpin_later(number, pins);
    unpins_after_ = steady::now() + retry_pause;
  });
  if (!sent)
    unpins_sent_.reset();
}

void client_impl::give_back(const session& s, std::size_t n) {
  ahead_ = false;  // until the next alloc finds the reserve empty: else they would be fetched again at once
  auto grants = held_.recall(s.wire_number, std::min(n, bounds::batch_items_max));
  if (grants.empty())
    return;
  give_back_request request{encode_grants(grants)};
  s.wire->post(std::move(request), [this, number = s.wire_number, grants = std::move(grants)](outcome& o) {
    // Refused for now: still ours, and recalled again.
    if (o.code == ec::ok && static_cast<ec>(std::get<codes_reply>(o.reply).code) == ec::busy)
      held_.add_grants(number, grants);
  });
}

void client_impl::refill(const session& s) {
  if (shown_tenure_ != s.life->tenure)  // its regions first: pages ahead come from these only
    return;
  {
    std::lock_guard lock(fetch_mutex_);
    if (fetching_)
      return;
    fetching_ = true;
  }
  auto want = static_cast<std::uint32_t>(options_.grant_batch - std::min(held_.idle(), options_.grant_batch));
  auto number = s.wire_number;
  bool sent = s.wire->post(grant_request{std::max(want, 1u), true},
                           [this, number](outcome& o) { receive_grants(number, o, [this] { end_fetch(); }); });
  if (!sent)
    end_fetch();
}

void client_impl::receive_grants(std::uint64_t wire_number, outcome& o, const std::function<void()>& done) {
  auto s = session_of(wire_number);
  refill_after_ = steady::now() + refill_pause;
  if (!s || o.code != ec::ok)
    return done();
  auto& reply = std::get<grant_reply>(o.reply);
  auto grants = decode_grants(reply.grants);
  if (static_cast<ec>(reply.code) != ec::ok || !grants || grants->empty())
    return done();
  refill_after_ = {};
  auto ids = s->life->pool->regions->unknown(pages_of(*grants));
  if (ids.empty()) {
    keep_grants(*s, *std::move(grants));
    return done();
  }
  bool sent = s->wire->post(regions_request{std::move(ids)}, [this, wire_number, grants, done](outcome& rows) {
    auto again = session_of(wire_number);
    if (again && rows.code == ec::ok) {
      // A row that makes no sense leaves its region unknown: keep_grants gives its pages back.
      auto& found = std::get<regions_reply>(rows.reply);
      (void)again->life->pool->regions->add(found.rows, found.devices);
      keep_grants(*again, *grants);
    }
    done();
  });
  if (!sent)
    done();
}

void client_impl::keep_grants(const session& s, std::vector<page_grant> grants) {
  auto& regions = *s.life->pool->regions;
  auto usable_end =
    std::partition(grants.begin(), grants.end(), [&](const page_grant& g) { return regions.knows(g.page.region); });
  std::span<const page_grant> usable{grants.begin(), usable_end}, others{usable_end, grants.end()};
  if (!usable.empty())
    held_.add_grants(s.wire_number, usable);
  if (!others.empty())
    s.wire->post(give_back_request{encode_grants(others)}, [](outcome&) {});
}

void client_impl::settle_late(doubtful_commit commit, outcome& o) {
  auto* reply = o.code == ec::ok ? std::get_if<codes_reply>(&o.reply) : nullptr;
  auto code = reply ? static_cast<ec>(reply->code) : o.code;
  if (!reply || code == ec::busy || code == ec::session_over || code == ec::stopping || code == ec::timeout) {
    resend_after_ = code == ec::busy ? steady::now() + retry_pause : time_point{};
    held_.resend(std::move(commit));
    return;
  }
  auto codes = code == ec::ok ? decode_codes(reply->codes) : std::nullopt;
  if (!codes || codes->size() != commit.grants.size())
    codes.emplace(commit.grants.size(), code == ec::ok ? ec::gone : code);  // a refusal as a whole: pages stay ours
  if (std::find(codes->begin(), codes->end(), ec::busy) != codes->end()) {
    // The first sending is still under way: its page is marud's until that is answered.
    resend_after_ = steady::now() + retry_pause;
    held_.resend(std::move(commit));
    return;
  }
  held_.settle(commit.tenure, commit.grants, *codes);
}

}  // namespace maru::net
