// The commit side of a session: checks that the pages are this session's, has the store_workers put what is sound, and
// answers a repeated commit by the page's state.
#include <algorithm>
#include <array>

#include "actors/session_scatter.hpp"
#include "base/key_hash.hpp"

namespace maru::actors {

struct session::commit_plan {
  struct part {
    put_keys put;
    std::vector<std::uint32_t> positions;
    std::vector<page_grant> pages;
  };
  std::vector<ec> codes;
  std::vector<part> parts;  // one a shard
  std::size_t open = 0;
  promise<net::codes_reply> reply;
  clock_type::time_point since;

  bool has(page_ref page) const {
    return std::any_of(parts.begin(), parts.end(), [page](const part& p) {
      return std::any_of(p.pages.begin(), p.pages.end(), [page](const page_grant& g) { return g.page == page; });
    });
  }
};

ec session::code_of_stranger(const net::commit_item& item, const key_hash& hash) const {
  auto slot = env_->slot_of(item.where.page);
  if (!slot)
    return ec::not_granted;
  auto d = env_->pool->descriptors().read(*slot);
  if (!d)
    return ec::gone;
  bool same = d->gen == item.where.gen && d->hash == hash && d->session == record_.id;
  if (same && d->state == page_state::committed)
    return ec::ok;                                                                    // its answer was lost
  bool over = d->gen > item.where.gen || (same && d->state == page_state::evicting);  // views may keep it so for long
  return over ? ec::gone : ec::not_granted;
}

ec session::check_commit(const net::commit_item& item, const key_hash& hash, const commit_plan& plan) const {
  if (item.key.empty())
    return ec::invalid;
  if (item.key.size() > bounds::key_bytes_max || item.where.length > record_.page_bytes)
    return ec::too_large;
  if (committing_.contains(item.where.page))
    return plan.has(item.where.page) ? ec::not_granted : ec::busy;  // twice in one batch, or still under way
  auto at = granted_.find(item.where.page);
  if (at == granted_.end() || at->second != item.where.gen)
    return code_of_stranger(item, hash);
  return ec::missing;  // sound: nobody has answered yet
}

session::promise<net::codes_reply> session::commit(const net::commit_request& m) {
  auto items = net::decode_commits(m.items);
  auto code = items ? admit(0, 0) : ec::invalid;
  if (code != ec::ok) {
    env_->metrics->commits(code, 1);
    return refuse(metrics::op::commit, net::codes_reply{}, code);
  }
  auto plan = std::make_shared<commit_plan>();
  plan->codes.resize(items->size(), ec::ok);
  plan->parts.resize(to_.shards.size());
  plan->reply = make_response_promise<net::codes_reply>();
  plan->since = clock_type::now();
  for (std::uint32_t i = 0; i < items->size(); ++i) {
    const auto& item = (*items)[i];
    auto hash = hash_key(env_->pool->super().secret, item.key);
    plan->codes[i] = check_commit(item, hash, *plan);
    if (plan->codes[i] != ec::missing)
      continue;
    auto& part = plan->parts[shard_of(hash, plan->parts.size())];
    part.put.items.push_back({hash, std::string{item.key}, item.where, record_.page_bytes});
    part.positions.push_back(i);
    part.pages.push_back({item.where.page, item.where.gen});
    committing_.insert(granted_.extract(item.where.page));
  }
  for (const auto& part : plan->parts)
    plan->open += part.positions.empty() ? 0 : 1;
  env_->metrics->puts_in_flight_add(static_cast<std::int64_t>(items->size()));
  if (plan->open == 0) {
    plan->open = 1;
    commit_part_done(*plan, 0, {});
    return plan->reply;
  }
  for (std::size_t s = 0; s < plan->parts.size(); ++s) {
    auto& part = plan->parts[s];
    if (part.positions.empty())
      continue;
    part.put.session = record_.id;
    part.put.owner = record_.instance;
    auto n = part.positions.size();
    request(to_.workers[s], caf::infinite, std::move(part.put))
      .then(
        [this, plan, s](const put_results& r) { commit_part_done(*plan, s, r.codes); },
        [this, plan, s, n](const caf::error&) { commit_part_done(*plan, s, std::vector<ec>(n, ec::storage_failed)); });
  }
  return plan->reply;
}

void session::commit_part_done(commit_plan& plan, std::size_t s, const std::vector<ec>& codes) {
  auto& part = plan.parts[s];
  for (std::size_t n = 0; n < codes.size(); ++n) {
    plan.codes[part.positions[n]] = codes[n];
    auto node = committing_.extract(part.pages[n].page);
    if (codes[n] == ec::ok || !node)
      continue;
    granted_.insert(std::move(node));  // a refused item costs nothing: its page stays granted
    if (lapsed_)
      quarantine({part.pages[n]});
  }
  if (--plan.open > 0)
    return;
  env_->metrics->puts_in_flight_add(-static_cast<std::int64_t>(plan.codes.size()));
  auto seconds = std::chrono::duration<double>(clock_type::now() - plan.since).count();
  std::array<std::uint64_t, static_cast<std::size_t>(ec::last_) + 1> sums{};
  for (auto code : plan.codes)
    ++sums[static_cast<std::size_t>(code)];
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (sums[i] > 0)
      env_->metrics->commits(static_cast<ec>(i), sums[i]);
  env_->metrics->put_seconds(sums[0] > 0 || plan.codes.empty() ? ec::ok : plan.codes[0], seconds);
  auto answer = net::encode_codes(plan.codes);
  auto all = metrics::answer_of(answer);
  plan.reply.deliver(net::codes_reply{0, std::move(answer)});
  finished(metrics::op::commit, all, plan.codes.size(), plan.since);
}

}  // namespace maru::actors
