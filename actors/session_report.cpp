// A worker tells that bytes it read do not fit their checksum, or that memory failed under it. Its word proves nothing: the
// store_worker looks for itself.
#include "actors/session_scatter.hpp"

namespace maru::actors {

struct session::report_plan {
  std::vector<page_grant> pages;
  std::vector<ec> codes;
  std::vector<verify_payloads> parts;  // one a shard
  // Where in `pages` the entries and the pages of each part come from.
  std::vector<std::vector<std::uint32_t>> entries_of, pages_of;
  std::size_t open = 1;

  void answered(std::size_t part, const std::vector<ec>& answer) {
    auto& positions = entries_of[part];
    positions.insert(positions.end(), pages_of[part].begin(), pages_of[part].end());
    for (std::size_t n = 0; n < answer.size(); ++n)
      codes[positions[n]] = answer[n];
  }
};

// Generation 0 means whatever the page holds. A free page is not looked at: it may have no storage yet, and whoever is granted
// it next finds out. What would take long to read waits for another report: busy.
void session::sort_reported(report_plan& plan) const {
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < plan.pages.size(); ++i) {
    const auto& [page, gen] = plan.pages[i];
    auto slot = env_->slot_of(page);
    auto d = slot ? env_->pool->descriptors().read(*slot) : std::nullopt;
    if (!d || (gen != 0 && d->gen != gen) || d->state == page_state::free)
      continue;
    if (d->state == page_state::retired) {
      plan.codes[i] = ec::ok;
      continue;
    }
    auto row = env_->regions->find(page.region);
    bytes += row ? row->page_bytes : 0;
    if (row && bytes > std::max(bounds::reported_bytes_max, row->page_bytes)) {
      plan.codes[i] = ec::busy;
    } else if (d->state == page_state::committed) {
      auto s = shard_of(d->hash, plan.parts.size());
      plan.parts[s].entries.push_back({d->hash, {page, d->length, d->gen, d->checksum}});
      plan.entries_of[s].push_back(i);
    } else if (gen == 0) {
      auto s = *slot % plan.parts.size();
      plan.parts[s].pages.push_back(page);
      plan.pages_of[s].push_back(i);
    }
  }
}

session::promise<net::codes_reply> session::report(const net::report_request& m) {
  auto pages = net::decode_grants(m.pages);
  auto code = !pages ? ec::invalid : pages->size() > bounds::reported_pages_max ? ec::too_large : admit(0, 0);
  if (code != ec::ok)
    return refuse(metrics::op::report, net::codes_reply{}, code);
  auto plan = std::make_shared<report_plan>();
  plan->pages = *std::move(pages);
  plan->codes.resize(plan->pages.size(), ec::missing);
  plan->parts.resize(to_.workers.size());
  plan->entries_of.resize(to_.workers.size());
  plan->pages_of.resize(to_.workers.size());
  sort_reported(*plan);
  auto p = make_response_promise<net::codes_reply>();
  auto arrived = [this, p, plan, since = clock_type::now()]() mutable {
    if (--plan->open > 0)
      return;
    give_up_failed(*plan);
    p.deliver(net::codes_reply{0, net::encode_codes(plan->codes)});
    finished(metrics::op::report, metrics::answer::ok, plan->codes.size(), since);
  };
  for (std::size_t s = 0; s < plan->parts.size(); ++s) {
    if (plan->parts[s].entries.empty() && plan->parts[s].pages.empty())
      continue;
    ++plan->open;
    request(to_.workers[s], caf::infinite, std::move(plan->parts[s]))
      .then(
        [plan, s, arrived](const put_results& r) mutable {
          plan->answered(s, r.codes);
          arrived();
        },
        [arrived](const caf::error&) mutable { arrived(); });
  }
  arrived();
  return p;
}

// Pages of this session that it cannot use any more: the pool_manager knows why, and keeps them.
void session::give_up_failed(const report_plan& plan) {
  move_pages back;
  for (std::size_t i = 0; i < plan.pages.size(); ++i)
    if (plan.codes[i] == ec::ok && !lapsed_ && granted_.erase(plan.pages[i].page) > 0)
      back.pages.push_back(plan.pages[i].page);
  if (!back.pages.empty())
    send(to_.pool, std::move(back));
}

}  // namespace maru::actors
