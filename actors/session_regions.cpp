// The regions of a session: where any region lies, which ones the session is shown, and what it uses.
#include "actors/session_scatter.hpp"
#include "actors/wire_rows.hpp"
#include "base/kill_point.hpp"

namespace maru::actors {

session::promise<net::regions_reply> session::regions(const net::regions_request& m) {
  auto code = m.ids.empty() || m.ids.size() > bounds::batch_items_max ? ec::invalid : admit(0, 0);
  if (code != ec::ok)
    return refuse(metrics::op::regions, net::regions_reply{}, code);
  auto since = clock_type::now();
  auto p = make_response_promise<net::regions_reply>();
  auto finish = [this, p, since, n = m.ids.size()](ec whole, const std::vector<cxl::region_row>& rows) mutable {
    net::regions_reply reply{static_cast<std::uint8_t>(whole), {}, {}};
    std::set<std::uint32_t> devices;
    for (const auto& r : rows) {
      reply.rows.push_back(to_net(r));
      if (const auto* device = env_->pool->find_member(r.device); device && devices.insert(r.device).second)
        reply.devices.push_back(to_net(*device));
    }
    p.deliver(std::move(reply));
    finished(metrics::op::regions, metrics::answer_of(whole), n, since);
  };
  request(to_.pool, caf::infinite, ask_regions{m.ids})
    .then([finish](const region_rows& r) mutable { finish(ec::ok, r.rows); },
          [finish](const caf::error&) mutable { finish(ec::stopping, {}); });
  return p;
}

// In the session's record before the answer: after a restart of marud it is the session's still.
session::promise<net::show_region_reply> session::show(const net::show_region_request& m) {
  auto code = m.pages == 0 || m.index > record_.shown.size()   ? ec::invalid
              : m.index >= bounds::shown_regions_max           ? ec::too_large
              : m.index == record_.shown.size() && is_showing_ ? ec::busy  // asked again before it was answered
                                                               : admit(0, 0);
  if (code != ec::ok)
    return refuse(metrics::op::show_region, net::show_region_reply{}, code);
  auto since = clock_type::now();
  auto p = make_response_promise<net::show_region_reply>();
  auto finish = [this, p, since](ec whole, const region_share& share) mutable {
    net::show_region_reply reply{static_cast<std::uint8_t>(whole), {}, {}, share.pages, share.shared};
    auto row = env_->regions->find(share.region);
    if (const auto* device = row ? env_->pool->find_member(row->device) : nullptr) {
      reply.row = to_net(*row);
      reply.device = to_net(*device);
    } else if (whole == ec::ok) {
      reply.code = static_cast<std::uint8_t>(ec::gone);  // another page size needed its place
    }
    auto answer = metrics::answer_of(static_cast<ec>(reply.code));
    p.deliver(std::move(reply));
    finished(metrics::op::show_region, answer, 1, since);
  };
  if (m.index < record_.shown.size()) {
    finish(ec::ok, record_.shown[m.index]);
    return p;
  }
  is_showing_ = true;
  auto settle = [this, finish](ec whole, const region_share& share) mutable {
    is_showing_ = false;
    finish(whole, share);
  };
  request(to_.pool, caf::infinite, show_region{record_.id, record_.page_bytes, m.pages})
    .then(
      [this, settle](const region_shown& s) mutable {
        if (s.code == ec::ok)
          record_share(s.share, settle);
        else
          settle(s.code, {});
      },
      [settle](const caf::error&) mutable { settle(ec::stopping, {}); });
  return p;
}

void session::record_share(const region_share& share, std::function<void(ec, const region_share&)> then) {
  auto record = record_;
  record.shown.push_back(share);
  auto finish = [this, share, then = std::move(then)](ec code) {
    if (code == ec::ok)
      record_.shown.push_back(share);
    else
      send(to_.pool, hide_region{record_.id, share.region});
    if (code == ec::ok)
      kill_point(kill_at::region_recorded);
    then(code, share);
  };
  request(to_.workers[0], caf::infinite, save_session{std::move(record)})
    .then([finish](const outcome& saved) { finish(saved.code); },
          [finish](const caf::error&) { finish(ec::stopping); });
}

session::promise<net::usage_reply> session::usage(const net::usage_request& m) {
  if (auto code = admit(0, 0); code != ec::ok)
    return refuse(metrics::op::usage, net::usage_reply{}, code);
  struct join {
    net::usage_reply reply;
    std::size_t open = 1;
  };
  auto j = std::make_shared<join>();
  auto p = make_response_promise<net::usage_reply>();
  auto arrived = [this, p, j, since = clock_type::now()]() mutable {
    if (--j->open > 0)
      return;
    auto answer = metrics::answer_of(static_cast<ec>(j->reply.code));
    p.deliver(std::move(j->reply));
    finished(metrics::op::usage, answer, 1, since);
  };
  auto failed = [j, arrived](const caf::error&) mutable {
    j->reply.code = static_cast<std::uint8_t>(ec::stopping);
    arrived();
  };
  request(to_.pool, caf::infinite, ask_usage{record_.id})
    .then(
      [j, arrived](const session_usage& u) mutable {
        auto& reply = j->reply;
        for (const auto& r : u.regions)
          reply.regions.push_back({to_net(r.row), r.share.pages, r.share.shared, r.use.granted, r.use.committed});
        reply.shown_regions = u.shown_regions;
        reply.shown_bytes = u.shown_bytes;
        reply.pool_bytes = u.pool_bytes;
        reply.pool_free_bytes = u.pool_free_bytes;
        arrived();
      },
      failed);
  if (!m.totals)
    return p;
  j->reply.sessions = static_cast<std::uint64_t>(env_->connected->load());
  j->open += to_.shards.size();
  for (auto& shard : to_.shards)
    request(shard, caf::infinite, ask_shard_status{})
      .then(
        [j, arrived](const shard_status& s) mutable {
          j->reply.entries += s.entries;
          j->reply.entry_bytes += s.bytes;
          arrived();
        },
        failed);
  return p;
}

}  // namespace maru::actors
