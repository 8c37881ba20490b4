// What players do, and what they make of the answers.
#include <algorithm>

#include "net/session.hpp"
#include "tests/crash/schedule.hpp"

namespace maru::actors::test {

// -- a worker's life

template <class Reply, class Request>
void schedule::send(player& p, Request request, std::function<void(const Reply&)> then) {
  ++p.asked;
  p.line->send<Reply>(p.line, p.handle, std::move(request), [this, &p, then](const Reply& r) {
    --p.asked;
    if (static_cast<ec>(r.code) == ec::session_over) {
      EXPECT_GE(now_, p.safe_until) << "a session ended while its lease lasted";
      ++lapsed;
      lose_connection(p);
      p.let_go();
      return;
    }
    then(r);
  });
}

void schedule::connect(player& p) {
  p.line = wires_.emplace_back(std::make_shared<wire>(in_));
  auto m = worker::hello_of({p.page_bytes, p.session, p.secret, {}, {}, {}});
  m.wire = ++p.hellos;
  if (p.session != 0) {
    auto declared = p.grants;
    for (const auto& items : p.doubts)
      for (const auto& item : items)
        declared.push_back(item.grant);
    m.grants = net::encode_grants(declared);
    std::vector<pin_id> held;
    for (const auto& pin : p.pins)
      held.push_back(id_of(pin));
    auto declared_pins = net::unpin_of(held);
    m.pinned = declared_pins.hashes;
    m.viewed = declared_pins.viewed;
  }
  p.line->send<net::hello_reply>(p.line, in_.door, m,
                                 [this, &p, m, sent = now_](const net::hello_reply& r) { welcomed(p, m, sent, r); });
}

void schedule::welcomed(player& p, const net::hello& m, std::chrono::milliseconds sent, const net::hello_reply& r) {
  auto code = static_cast<ec>(r.code);
  if (code != ec::ok) {
    lose_connection(p);  // and tries again
    if (m.resume_session != 0 && code == ec::session_over) {
      EXPECT_GE(now_, p.safe_until) << "a session ended while its lease lasted";
      ++lapsed;
      p.let_go();
      return;
    }
    EXPECT_EQ(code, m.resume_session != 0 ? ec::busy : ec::storage_failed) << r.reason;
    return;
  }
  p.settled = true;
  p.away = false;
  p.handle = caf::actor_cast<session_actor>(r.handle);
  p.safe_until = sent + lease;
  if (m.resume_session != 0) {
    resumed(p, r.kept);
    return;
  }
  p.session = r.session;
  p.secret = r.resume_secret;
  auto lock = file_lock::acquire(r.lock_path);
  ASSERT_TRUE(lock) << lock.error().message;
  p.lock = std::move(*lock);
  auto table = cxl::held_pages::open(r.lock_path);
  ASSERT_TRUE(table) << table.error().message;
  p.table = std::move(*table);
}

void schedule::resumed(player& p, std::string_view kept) {
  EXPECT_EQ(kept.substr(0, p.grants.size()), std::string(p.grants.size(), '\0'))
    << "Invariant 6: a grant that is in use was taken away";
  look();
  for (auto& items : std::exchange(p.doubts, {}))  // asked again: each gets its one definite answer
    commit(p, std::move(items));
}

void schedule::lose_connection(player& p) {
  if (p.line) {
    for (auto n = random_.below(p.line->on_its_way.size() + 1); n > 0; --n)
      deliver(*p.line);
    p.line->lose(p.line, random_.chance(30));
  }
  p.line.reset();
  p.handle = nullptr;
  p.settled = false;
  p.asked = 0;
}

// Killed in the middle of whatever it does. Another one takes its place.
void schedule::die(player& p) {
  lose_connection(p);
  p.let_go();
}

// -- requests

void schedule::grant(player& p) {
  send<net::grant_reply>(p, net::grant_request{static_cast<std::uint32_t>(1 + random_.below(3)), random_.chance(20)},
                         [this, &p](const net::grant_reply& r) {
                           if (r.code != 0)
                             return;
                           auto pages = net::decode_grants(r.grants);
                           for (const auto& g : *pages) {
                             for (const auto& other : crowd_)
                               for (const auto& held : other.grants)
                                 EXPECT_NE(held.page, g.page) << "Invariant 3: granted twice";
                             p.grants.push_back(g);
                           }
                           look();
                         });
}

void schedule::show_region(player& p) {
  net::show_region_request m{p.shown, 1 + random_.below(6)};
  send<net::show_region_reply>(p, m, [this, &p, m](const net::show_region_reply& r) {
    auto code = static_cast<ec>(r.code);
    if (code == ec::ok || code == ec::gone)  // gone: another page size needed its place
      p.shown = std::max(p.shown, m.index + 1);
    if (code != ec::ok)
      return;
    EXPECT_LE(r.pages, r.row.length / r.row.page_bytes);
    EXPECT_EQ(r.row.page_bytes, p.page_bytes);
    look();
  });
}

void schedule::give_back(player& p) {
  auto g = p.grants.back();
  p.grants.pop_back();
  send<net::codes_reply>(p, net::give_back_request{net::encode_grants({&g, 1})},
                         [](const net::codes_reply& r) { EXPECT_EQ(worker::codes(r), std::vector{ec::ok}); });
}

void schedule::commit_new(player& p) {
  player::items items;
  for (auto n = std::min<std::size_t>(p.grants.size(), 1 + random_.below(3)); n > 0; --n) {
    items.push_back({any_key(), p.grants.back()});
    p.grants.pop_back();
  }
  for (const auto& item : items)
    truth_.asked(item);
  commit(p, std::move(items));
}

void schedule::commit(player& p, player::items items) {
  std::vector<std::string> names;
  for (const auto& item : items)
    names.push_back(truth::name(item.key));
  std::vector<net::commit_item> wanted;
  for (std::size_t i = 0; i < items.size(); ++i)
    wanted.push_back({names[i], {items[i].grant.page, 100, items[i].grant.gen, 0}});
  p.doubts.push_back(items);
  send<net::codes_reply>(p, net::commit_request{net::encode_commits(wanted)},
                         [this, &p, items](const net::codes_reply& r) { committed(p, items, worker::codes(r)); });
}

void schedule::committed(player& p, const player::items& items, const std::vector<ec>& codes) {
  auto same = [&](const player::items& d) { return d.front().grant == items.front().grant; };
  p.doubts.erase(std::find_if(p.doubts.begin(), p.doubts.end(), same));
  ASSERT_EQ(codes.size(), items.size()) << to_string(codes[0]);
  for (std::size_t i = 0; i < items.size(); ++i) {
    switch (codes[i]) {
      case ec::ok:
        EXPECT_TRUE(truth_.was_visible(items[i])) << "Invariant 2: acknowledged, but never visible and durable";
        ++commits;
        break;
      case ec::gone:         // asked again after it had been done, and evicted or removed;
      case ec::not_granted:  // so was the page's region
        EXPECT_TRUE(truth_.was_visible(items[i])) << "a commit is gone that was never done";
        ++settled_doubts;
        break;
      case ec::exists:
      case ec::storage_failed: p.grants.push_back(items[i].grant); break;
      default: ADD_FAILURE() << "a commit was answered " << to_string(codes[i]);
    }
  }
  look();
}

void schedule::pin(player& p) {
  std::vector<std::size_t> wanted;
  for (auto n = 1 + random_.below(4); n > 0; --n)
    wanted.push_back(any_key());
  bool prefix = random_.chance(50), view = random_.chance(50);
  auto flags = net::flags_of(view ? holding::view : holding::pin, prefix);
  send<net::found_reply>(p, net::lookup_request{flags, blob(wanted)},
                         [this, &p, wanted, prefix, view](const net::found_reply& r) {
                           ASSERT_EQ(r.code, 0);
                           auto found = net::decode_found(r.items);
                           bool missed = false;
                           for (std::size_t i = 0; i < wanted.size(); ++i) {
                             missed |= (*found)[i].code != ec::ok;
                             if ((*found)[i].code != ec::ok)
                               continue;
                             EXPECT_FALSE(missed && prefix) << "a hit after the first miss";
                             ++hits;
                             auto& pin = p.pins.emplace_back(player::pin{wanted[i], (*found)[i].where, view});
                             pin.held = p.table->add({pin.where.page, pin.view});
                           }
                           look();
                         });
}

void schedule::unpin(player& p) {
  auto at = p.pins.begin() + static_cast<long>(random_.below(p.pins.size()));
  auto pin = id_of(*at);
  p.table->drop(at->held);
  p.pins.erase(at);
  send<net::codes_reply>(p, net::unpin_of({&pin, 1}),
                         [](const net::codes_reply& r) { EXPECT_EQ(worker::codes(r), std::vector{ec::ok}); });
}

void schedule::remove(player& p) {
  auto key = any_key();
  send<net::codes_reply>(p, net::remove_request{blob({key})},
                         [this, key, before = truth_.drops(key)](const net::codes_reply& r) {
                           if (r.code != 0 || worker::codes(r)[0] != ec::ok)
                             return;
                           ++removed;
                           EXPECT_GT(truth_.drops(key), before) << "Invariant 2: removed, as was said, but still there";
                         });
}

void schedule::renew(player& p) {
  send<net::renew_reply>(p, net::renew_request{}, [&p, sent = now_](const net::renew_reply&) {
    p.safe_until = std::max(p.safe_until, sent + lease);
  });
}

// An operator makes room.
void schedule::evict() {
  request_as<evicted_bytes>(in_.others.front(), in_.manager, evict_bytes{(1 + random_.below(3)) * MiB});
}

}  // namespace maru::actors::test
