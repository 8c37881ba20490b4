#include "actors/session.hpp"

#include <algorithm>
#include <cstring>

#include "actors/session_scatter.hpp"

namespace maru::actors {

session::session(caf::actor_config& cfg, environment_ptr env, session_neighbours neighbours, config c)
    : observed(cfg, env->metrics, metrics::actor::session),
      env_(std::move(env)),
      to_(std::move(neighbours)),
      record_(std::move(c.record)),
      owner_(std::move(c.owner)),
      state_(c.awaiting_resume ? session_state::awaiting_resume : session_state::active),
      lease_(clock().now(),
             std::chrono::milliseconds{c.awaiting_resume ? env_->resume_grace_ms() : env_->options.lease_ms}),
      opened_(clock().now()),
      wire_(c.wire),
      settled_(!c.awaiting_resume) {
  for (const auto& g : c.granted)
    granted_.emplace(g.page, g.gen);
  harden(this, env_, "session");
  set_down_handler([this](const caf::down_msg& m) {
    if (m.source == owner_)
      on_down();
  });
  if (owner_)
    monitor(owner_);
  enter(state_);
}

// The one place where the state changes, and what the number of connected sessions follows.
void session::enter(session_state state) {
  state_ = state;
  bool connected = state == session_state::active && !leaving_;
  if (connected == std::exchange(counted_, connected))
    return;
  *env_->connected += connected ? 1 : -1;
  env_->metrics->sessions_connected_add(connected ? 1 : -1);
}

session::behavior_type session::make_behavior() {
  send(this, tick{tick_});
  return {
    [this](const net::grant_request& m) { return grant(m); },
    [this](const net::give_back_request& m) { return give_back(m); },
    [this](const net::commit_request& m) { return commit(m); },
    [this](const net::lookup_request& m) { return lookup(m); },
    [this](const net::exists_request& m) { return exists(m); },
    [this](const net::unpin_request& m) { return unpin(m); },
    [this](const net::remove_request& m) { return remove(m); },
    [this](const net::report_request& m) { return report(m); },
    [this](const net::renew_request& m) { return renew(m); },
    [this](const net::regions_request& m) { return regions(m); },
    [this](const net::show_region_request& m) { return show(m); },
    [this](const net::usage_request& m) { return usage(m); },
    [this](const net::attach_request& m) { return attach(m); },
    [this](const net::close_request&) { return close(); },
    [this](const resume_session& m) { return resume(m); },
    [this](const end_session&) {
      if (state_ == session_state::active)
        return outcome{ec::busy};
      if (state_ != session_state::ending)
        begin_end(metrics::ended_by::death);
      return outcome{};
    },
    [this](const ask_session_status&) { return status_now(); },
    [this](const tick& m) { on_tick(m.number); },
    [this](const return_slice&) { return_pages(); },
  };
}

ec session::admit(std::size_t blob_bytes, std::size_t record_bytes, in_flight_bound bound) {
  auto code = ec::ok;
  if (env_->stopping->load(std::memory_order_relaxed))
    code = ec::stopping;
  else if (current_sender() == nullptr || current_sender()->address() != owner_)
    code = ec::refused;
  else if (state_ != session_state::active)
    code = ec::session_over;
  else if (bound == in_flight_bound::usual && in_flight_ >= bounds::requests_in_flight_max)
    code = ec::busy;
  else if (record_bytes > 0 && blob_bytes % record_bytes != 0)
    code = ec::invalid;
  else if (record_bytes > 0 && blob_bytes / record_bytes > bounds::batch_items_max)
    code = ec::too_large;
  if (code != ec::ok)
    env_->metrics->rejected("session", to_string(code));
  else
    ++in_flight_;
  return code;
}

void session::finished(metrics::op o, metrics::answer a, std::size_t items, clock_type::time_point since) {
  env_->metrics->request(o, a, items, std::chrono::duration<double>(clock_type::now() - since).count());
  ++requests_;
  --in_flight_;
  if (state_ == session_state::ending)
    continue_end();
  else if (in_flight_ == 0 && waiting_resume_)
    run_resume();
}

// -- pages

session::promise<net::grant_reply> session::grant(const net::grant_request& m) {
  if (auto code = admit(0, 0); code != ec::ok)
    return refuse(metrics::op::grant, net::grant_reply{}, code);
  auto since = clock_type::now();
  auto p = make_response_promise<net::grant_reply>();
  auto held = granted_.size() + committing_.size() + asking_;
  auto room = env_->options.grants_max - std::min<std::size_t>(env_->options.grants_max, held);
  auto count = std::min<std::size_t>({m.count, room, bounds::batch_items_max});
  auto spare = std::min<std::size_t>({m.spare, room - count, bounds::batch_items_max - count});
  if (count == 0) {
    auto no = m.count == 0 ? ec::invalid : ec::busy;
    p.deliver(net::grant_reply{static_cast<std::uint8_t>(no), {}});
    finished(metrics::op::grant, metrics::answer_of(no), 0, since);
    return p;
  }
  asking_ += count + spare;  // two requests in flight must not pass the bound together
  auto finish = [this, p, since, asked = count + spare](ec code, const std::vector<page_grant>& grants) mutable {
    asking_ -= asked;
    for (const auto& g : grants)
      granted_.emplace(g.page, g.gen);
    if (lapsed_)
      quarantine(grants);
    p.deliver(net::grant_reply{static_cast<std::uint8_t>(code), net::encode_grants(grants)});
    finished(metrics::op::grant, metrics::answer_of(code), asked, since);
  };
  grant_pages wanted{record_.id,
                     record_.page_bytes,
                     static_cast<std::uint32_t>(count),
                     m.ahead,
                     static_cast<std::uint32_t>(held),
                     static_cast<std::uint32_t>(spare)};
  request(to_.pool, caf::infinite, wanted)
    .then([finish](const granted_pages& g) mutable { finish(g.code, g.grants); },
          [finish](const caf::error&) mutable { finish(ec::stopping, {}); });
  return p;
}

net::codes_reply session::give_back(const net::give_back_request& m) {
  auto grants = net::decode_grants(m.grants);
  auto code = grants ? admit(0, 0) : ec::invalid;
  if (code != ec::ok) {
    env_->metrics->refused(metrics::op::give_back, code);
    return {static_cast<std::uint8_t>(code), {}};
  }
  auto since = clock_type::now();
  move_pages back;
  std::vector<ec> codes;
  for (const auto& g : *grants) {
    auto at = granted_.find(g.page);
    bool mine = at != granted_.end() && at->second == g.gen;
    codes.push_back(mine ? ec::ok : ec::not_granted);
    if (mine) {
      back.pages.push_back(g.page);
      granted_.erase(at);
    }
  }
  env_->metrics->aborted(metrics::aborted_by::given_back, back.pages.size());
  if (!back.pages.empty())
    send(to_.pool, std::move(back));
  auto answer = net::encode_codes(codes);
  finished(metrics::op::give_back, metrics::answer_of(answer), codes.size(), since);
  return {0, std::move(answer)};
}

// -- keys

session::promise<net::found_reply> session::lookup(const net::lookup_request& m) {
  constexpr unsigned holds = net::flag_pin | net::flag_view, known_flags = holds | net::flag_prefix_stop;
  bool nonsense = (m.flags & ~known_flags) != 0 || (m.flags & holds) == holds;
  auto takes = net::holding_of(m.flags);
  bool pin = takes != holding::nothing;
  auto o = pin ? metrics::op::pin : metrics::op::lookup;
  auto code = nonsense ? ec::invalid : admit(m.hashes.size(), sizeof(key_hash));
  if (code != ec::ok)
    return refuse(o, net::found_reply{}, code);
  auto since = clock_type::now();
  auto n = m.hashes.size() / sizeof(key_hash);
  auto p = make_response_promise<net::found_reply>();
  if (pin && pins_ + n > env_->options.pins_max) {
    p.deliver(net::found_reply{static_cast<std::uint8_t>(ec::busy), {}});
    finished(o, metrics::answer::busy, n, since);
    return p;
  }
  // Taken at once, corrected by the answer: two requests in flight must not pass the bound together.
  pins_ += pin ? n : 0;
  scatter<shard_lookup>(
    m.hashes, m.flags, net::found_bytes,
    [this, p, since, o, pin, takes, n, flags = m.flags, hashes = m.hashes](std::string records) mutable {
      if ((flags & net::flag_prefix_stop) != 0 && to_.shards.size() > 1)
        end_pins_after_first_miss(hashes, takes, records);
      std::vector<pin_id> hits;
      std::size_t hit_count = 0;
      for (std::size_t i = 0; i < n; ++i) {
        if (record_code(records, i) != ec::ok)
          continue;
        ++hit_count;
        if (pin)
          hits.push_back(pin_at(hashes, takes, records, i));
      }
      env_->metrics->lookups(hit_count, n - hit_count);
      if (pin) {
        pins_ -= n - hits.size();
        env_->metrics->pins_taken(hits.size());
        if (!hits.empty())
          send(to_.ledger, record_pins{record_.id, std::move(hits)});
      }
      p.deliver(net::found_reply{0, std::move(records)});
      finished(o, metrics::answer::ok, n, since);
    });
  return p;
}

void session::end_pins_after_first_miss(const std::string& hashes, holding takes, std::string& records) {
  auto n = hashes.size() / sizeof(key_hash);
  bool missed = false;
  std::vector<pin_id> taken;
  for (std::size_t i = 0; i < n; ++i) {
    bool hit = record_code(records, i) == ec::ok;
    if (hit && missed) {
      if (takes != holding::nothing)  // else another session's pin would end
        taken.push_back(pin_at(hashes, takes, records, i));
      net::found miss;
      records.replace(i * net::found_bytes, net::found_bytes, net::encode_found({&miss, 1}));
    }
    missed |= !hit;
  }
  auto parts = split_by_shard(taken, to_.shards.size());
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (!parts[i].empty())
      send(to_.shards[i], end_pins_on{std::move(parts[i])});
}

session::promise<net::codes_reply> session::exists(const net::exists_request& m) {
  auto code = admit(m.hashes.size(), sizeof(key_hash));
  if (code != ec::ok)
    return refuse(metrics::op::exists, net::codes_reply{}, code);
  auto p = make_response_promise<net::codes_reply>();
  scatter<shard_exists>(m.hashes, 0, 1, [this, p, since = clock_type::now()](std::string codes) mutable {
    auto n = codes.size();
    p.deliver(net::codes_reply{0, std::move(codes)});
    finished(metrics::op::exists, metrics::answer::ok, n, since);
  });
  return p;
}

session::promise<net::codes_reply> session::unpin(const net::unpin_request& m) {
  auto viewed = net::decode_view_pins(m.viewed);
  auto code = viewed ? admit(m.hashes.size() + m.viewed.size() / 2, sizeof(key_hash)) : ec::invalid;
  if (code != ec::ok)
    return refuse(metrics::op::unpin, net::codes_reply{}, code);
  auto pins = key_pins_of(m.hashes);
  pins.insert(pins.end(), viewed->begin(), viewed->end());
  auto p = make_response_promise<net::codes_reply>();
  auto finish = [this, p, since = clock_type::now()](ec whole, std::string codes) mutable {
    pins_ -= std::min<std::uint64_t>(pins_, std::count(codes.begin(), codes.end(), static_cast<char>(ec::ok)));
    auto answer = whole == ec::ok ? metrics::answer_of(codes) : metrics::answer_of(whole);
    auto n = codes.size();
    p.deliver(net::codes_reply{static_cast<std::uint8_t>(whole), std::move(codes)});
    finished(metrics::op::unpin, answer, n, since);
  };
  request(to_.ledger, caf::infinite, release_pins{record_.id, std::move(pins)})
    .then([finish](const shard_blob& b) mutable { finish(ec::ok, b.records); },
          [finish](const caf::error&) mutable { finish(ec::stopping, {}); });
  return p;
}

session::promise<net::codes_reply> session::remove(const net::remove_request& m) {
  auto code = admit(m.hashes.size(), sizeof(key_hash));
  if (code != ec::ok)
    return refuse(metrics::op::remove, net::codes_reply{}, code);
  auto p = make_response_promise<net::codes_reply>();
  scatter<shard_remove>(m.hashes, 0, 1, [this, p, since = clock_type::now()](std::string codes) mutable {
    env_->metrics->removed(codes);
    auto answer = metrics::answer_of(codes);
    auto n = codes.size();
    bool busy = !codes.empty() && codes.find_first_not_of(static_cast<char>(ec::busy)) == codes.npos;
    if (busy)  // the grace after a restart: the client tries again
      p.deliver(net::codes_reply{static_cast<std::uint8_t>(ec::busy), {}});
    else
      p.deliver(net::codes_reply{0, std::move(codes)});
    finished(metrics::op::remove, answer, n, since);
  });
  return p;
}

// -- the rest

session::promise<net::renew_reply> session::renew(const net::renew_request& m) {
  // Past the bound on requests too: a worker whose puts wait for a slow disk is alive.
  if (auto code = admit(0, 0, in_flight_bound::none); code != ec::ok)
    return refuse(metrics::op::renew, net::renew_reply{}, code);
  auto since = clock_type::now();
  lease_.renew(clock().now());
  env_->metrics->lease_renewed();
  leaving_ = m.leaving;
  enter(state_);
  auto p = make_response_promise<net::renew_reply>();
  auto finish = [this, p, since](std::uint32_t count) mutable {
    p.deliver(net::renew_reply{0, env_->options.lease_ms, count, env_->index_word->load()});
    finished(metrics::op::renew, metrics::answer::ok, 1, since);
  };
  ask_recall ask{record_.id, record_.page_bytes, static_cast<std::uint32_t>(granted_.size())};
  request(to_.pool, caf::infinite, ask)
    .then([finish](const recall& r) mutable { finish(r.count); }, [finish](const caf::error&) mutable { finish(0); });
  return p;
}

session::promise<net::codes_reply> session::attach(const net::attach_request& m) {
  check_session_table check{record_.id, {}};
  auto code = m.nonce.size() == check.nonce.bytes.size() ? admit(0, 0) : ec::invalid;
  if (code != ec::ok)
    return refuse(metrics::op::attach, net::codes_reply{}, code);
  std::memcpy(check.nonce.bytes.data(), m.nonce.data(), m.nonce.size());
  auto p = make_response_promise<net::codes_reply>();
  auto finish = [this, p, since = clock_type::now()](ec checked) mutable {
    local_reads_ = checked == ec::ok;
    p.deliver(net::codes_reply{static_cast<std::uint8_t>(checked), {}});
    finished(metrics::op::attach, metrics::answer_of(checked), 1, since);
  };
  request(to_.ledger, caf::infinite, check)
    .then([finish](const outcome& o) mutable { finish(o.code); },
          [finish](const caf::error&) mutable { finish(ec::stopping); });
  return p;
}

net::close_reply session::close() {
  auto since = clock_type::now();
  if (current_sender() == nullptr || current_sender()->address() != owner_) {
    env_->metrics->refused(metrics::op::close, ec::refused);
    return {static_cast<std::uint8_t>(ec::refused)};
  }
  begin_end(metrics::ended_by::close);
  env_->metrics->request(metrics::op::close, metrics::answer::ok, 1,
                         std::chrono::duration<double>(clock_type::now() - since).count());
  return {0};
}

}  // namespace maru::actors
