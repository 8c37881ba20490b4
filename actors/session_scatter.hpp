// How a session refuses, and how it asks the shards: one message to each that owns a part of the batch, one joined answer.
// Included by the session's own files only.
#pragma once

#include <memory>

#include "actors/blobs.hpp"
#include "actors/session.hpp"

namespace maru::actors {

// Code of the i-th found record.
inline ec record_code(std::string_view records, std::size_t i) {
  return (i + 1) * net::found_bytes <= records.size() ? static_cast<ec>(records[i * net::found_bytes + 12])
                                                      : ec::missing;
}

// The pin that a lookup took on its i-th hit.
inline pin_id pin_at(std::string_view hashes, holding takes, std::string_view records, std::size_t i) {
  auto found = net::decode_found(records.substr(i * net::found_bytes, net::found_bytes));
  return pin_of(takes, hash_at(hashes, i), found->front().where);
}

template <class Reply>
session::promise<Reply> session::refuse(metrics::op o, Reply reply, ec code) {
  env_->metrics->refused(o, code);
  auto p = make_response_promise<Reply>();
  reply.code = static_cast<std::uint8_t>(code);
  p.deliver(std::move(reply));
  return p;
}

template <class Request>
Request make_shard_request(std::uint8_t flags, std::string hashes) {
  if constexpr (std::is_same_v<Request, shard_lookup>)
    return {flags, std::move(hashes)};
  else
    return {std::move(hashes)};
}

template <class Request, class Then>
void session::scatter(const std::string& hashes, std::uint8_t flags, std::size_t record_bytes, Then then) {
  if (to_.shards.size() == 1) {
    auto shared = std::make_shared<Then>(std::move(then));
    request(to_.shards[0], caf::infinite, make_shard_request<Request>(flags, hashes))
      .then([shared](shard_blob& b) { (*shared)(std::move(b.records)); },
            [shared](const caf::error&) { (*shared)(std::string{}); });
    return;
  }
  struct join {
    std::string records;
    std::size_t open = 0;
    Then then;
  };
  auto parts = split_by_shard(hashes, to_.shards.size());
  auto miss = net::encode_found(std::vector<net::found>(1));
  auto n = hashes.size() / sizeof(key_hash);
  auto j = std::make_shared<join>(join{{}, 0, std::move(then)});
  for (std::size_t i = 0; i < n; ++i)
    j->records.append(record_bytes == 1 ? std::string(1, static_cast<char>(ec::missing)) : miss);
  for (const auto& part : parts)
    j->open += part.positions.empty() ? 0 : 1;
  if (j->open == 0) {
    j->then(std::string{});
    return;
  }
  for (std::size_t s = 0; s < parts.size(); ++s) {
    if (parts[s].positions.empty())
      continue;
    auto arrived = [j, record_bytes, positions = std::move(parts[s].positions)](std::string_view records) {
      place_records(j->records, records, positions, record_bytes);
      if (--j->open == 0)
        j->then(std::move(j->records));
    };
    request(to_.shards[s], caf::infinite, make_shard_request<Request>(flags, std::move(parts[s].hashes)))
      .then([arrived](const shard_blob& b) { arrived(b.records); }, [arrived](const caf::error&) { arrived({}); });
  }
}

}  // namespace maru::actors
