// A worker tells that bytes it read do not fit their checksum. Its word proves nothing: the store_worker looks for itself.
#include "actors/session_scatter.hpp"

namespace maru::actors {

session::promise<net::codes_reply> session::report(const net::report_request& m) {
  auto pages = net::decode_grants(m.pages);
  auto code = !pages ? ec::invalid : pages->size() > bounds::reported_pages_max ? ec::too_large : admit(0, 0);
  if (code != ec::ok)
    return refuse(metrics::op::report, net::codes_reply{}, code);
  struct join {
    std::vector<ec> codes;
    std::vector<verify_payloads> parts;  // one a shard
    std::vector<std::vector<std::uint32_t>> positions;
    std::size_t open = 1;
  };
  auto j = std::make_shared<join>();
  j->codes.resize(pages->size(), ec::missing);
  j->parts.resize(to_.workers.size());
  j->positions.resize(to_.workers.size());
  for (std::uint32_t i = 0; i < pages->size(); ++i) {
    const auto& [page, gen] = (*pages)[i];
    auto slot = env_->slot_of(page);
    auto d = slot ? env_->pool->descriptors().read(*slot) : std::nullopt;
    if (!d || d->state != page_state::committed || d->gen != gen)
      continue;
    auto s = shard_of(d->hash, to_.workers.size());
    j->parts[s].entries.push_back({d->hash, {page, d->length, gen, d->checksum}});
    j->positions[s].push_back(i);
  }
  auto p = make_response_promise<net::codes_reply>();
  auto arrived = [this, p, j, since = clock_type::now()]() mutable {
    if (--j->open > 0)
      return;
    p.deliver(net::codes_reply{0, net::encode_codes(j->codes)});
    finished(metrics::op::report, metrics::answer::ok, j->codes.size(), since);
  };
  for (std::size_t s = 0; s < j->parts.size(); ++s) {
    if (j->parts[s].entries.empty())
      continue;
    ++j->open;
    request(to_.workers[s], caf::infinite, std::move(j->parts[s]))
      .then(
        [j, s, arrived](const put_results& r) mutable {
          for (std::size_t n = 0; n < r.codes.size(); ++n)
            j->codes[j->positions[s][n]] = r.codes[n];
          arrived();
        },
        [arrived](const caf::error&) mutable { arrived(); });
  }
  arrived();
  return p;
}

}  // namespace maru::actors
