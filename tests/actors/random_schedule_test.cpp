// Goal: whatever workers do at the same time, whichever message comes first, whatever write fails, whoever loses its
// connection and whoever is killed:
// no page has two owners, no pinned page changes, and in the end everything adds up. Method: workers that act at random
// on the deterministic scheduler, whose next message is chosen at random too. The seed is the whole schedule.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>

#include "tests/actors/house.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using bounds::MiB;
using test::house;
using test::worker;

class random_schedule : public ::testing::TestWithParam<int> {
protected:
  struct pinned {
    std::string key;
    net::found where;
  };
  // A worker and what it knows to hold.
  struct actor_of_chance {
    actor_of_chance(house& in, const worker::options& o) : is(in, o) {}
    worker is;
    std::vector<page_grant> grants;
    std::vector<pinned> pins;
    bool resuming = false;
    int wire = 0;  // answers over an earlier connection are lost
  };
  using who = std::shared_ptr<actor_of_chance>;

  std::string key() { return "key" + std::to_string(random.below(14)); }
  who any() { return *std::next(people.begin(), static_cast<long>(random.below(people.size()))); }
  void join() {
    who w;
    do  // until its hello meets no failing write
      w = std::make_shared<actor_of_chance>(in, worker::options{.page_bytes = random.chance(25) ? 2 * MiB : 0});
    while (w->is.hello.code != 0);
    people.push_back(w);
  }

  template <class Reply, class Request, class Then>
  void send(const who& w, Request request, Then then) {
    test::request_as<Reply>(w->is.end, w->is.session, std::move(request),
                            [w, then, wire = w->wire](const Reply& r) mutable {
                              if (w->wire == wire)
                                then(r);
                            });
  }

  void act();
  void grant(const who& w);
  void commit(const who& w);
  void pin(const who& w);
  void unpin(const who& w);
  void reconnect(const who& w);
  void die(const who& w);
  void check_pins();
  // One message of a random actor.
  bool run_one() {
    auto& jobs = in.scheduler().jobs;
    if (jobs.empty())
      return false;
    std::swap(jobs.front(), jobs[random.below(jobs.size())]);
    in.scheduler().run_once();
    return true;
  }

  test::random_source random{static_cast<std::uint64_t>(GetParam())};
  house in{{.shards = 1 + static_cast<std::size_t>(GetParam()) % 2, .reserve_pages = GetParam() % 3 == 0 ? 1 : 0}};
  std::list<who> people;
  std::uint64_t commits = 0, hits = 0;
};

void random_schedule::grant(const who& w) {
  send<net::grant_reply>(w, net::grant_request{static_cast<std::uint32_t>(1 + random.below(3))},
                         [this, w](const net::grant_reply& r) {
                           if (r.code != 0)
                             return;
                           auto pages = net::decode_grants(r.grants);
                           for (const auto& g : *pages) {
                             for (const auto& other : people) {
                               for (const auto& held : other->grants)
                                 EXPECT_NE(held.page, g.page) << "Invariant 3: granted twice";
                               for (const auto& p : other->pins)
                                 EXPECT_NE(p.where.where.page, g.page) << "Invariant 4: granted while it is pinned";
                             }
                             w->grants.push_back(g);
                           }
                         });
}

void random_schedule::commit(const who& w) {
  std::vector<net::commit_item> items;
  std::vector<std::string> keys;
  auto n = std::min<std::size_t>(w->grants.size(), 1 + random.below(3));
  for (std::size_t i = 0; i < n; ++i)
    keys.push_back(key());
  std::vector<page_grant> pages(w->grants.end() - static_cast<long>(n), w->grants.end());
  w->grants.resize(w->grants.size() - n);
  for (std::size_t i = 0; i < n; ++i)
    items.push_back({keys[i], {pages[i].page, 100, pages[i].gen, 0}});
  send<net::codes_reply>(
    w, net::commit_request{net::encode_commits(items)}, [this, w, pages](const net::codes_reply& r) {
      ASSERT_EQ(r.code, 0);
      auto codes = net::decode_codes(r.codes);
      ASSERT_EQ(codes->size(), pages.size());
      for (std::size_t i = 0; i < pages.size(); ++i) {
        if ((*codes)[i] == ec::ok) {
          ++commits;
          continue;
        }
        EXPECT_TRUE((*codes)[i] == ec::exists || (*codes)[i] == ec::storage_failed) << to_string((*codes)[i]);
        w->grants.push_back(pages[i]);
      }
    });
}

void random_schedule::pin(const who& w) {
  std::vector<std::string> keys;
  for (auto n = 1 + random.below(4); n > 0; --n)
    keys.push_back(key());
  auto flags = static_cast<std::uint8_t>(net::flag_pin | (random.chance(50) ? net::flag_prefix_stop : 0));
  send<net::found_reply>(
    w, net::lookup_request{flags, w->is.blob(keys)}, [this, w, keys, flags](const net::found_reply& r) {
      ASSERT_EQ(r.code, 0);
      auto found = net::decode_found(r.items);
      bool missed = false;
      for (std::size_t i = 0; i < keys.size(); ++i) {
        missed |= (*found)[i].code != ec::ok;
        if ((*found)[i].code != ec::ok)
          continue;
        EXPECT_FALSE(missed && (flags & net::flag_prefix_stop) != 0) << "a hit after the first miss";
        ++hits;
        w->pins.push_back({keys[i], (*found)[i]});
      }
      check_pins();
    });
}

void random_schedule::unpin(const who& w) {
  auto at = w->pins.begin() + static_cast<long>(random.below(w->pins.size()));
  auto name = at->key;
  w->pins.erase(at);
  send<net::codes_reply>(w, net::unpin_request{w->is.blob({name})},
                         [](const net::codes_reply& r) { EXPECT_EQ(worker::codes(r), std::vector{ec::ok}); });
}

// Its connection is lost; it comes back by itself and says what it holds.
void random_schedule::reconnect(const who& w) {
  ++w->wire;
  w->resuming = true;
  w->is.disconnect();
  w->is.end = in.new_end();
  auto back = w->is.to_resume();
  back.grants = net::encode_grants(w->grants);
  for (const auto& p : w->pins)
    back.pinned += w->is.blob({p.key});
  test::request_as<net::hello_reply>(
    w->is.end, in.door, worker::hello_of(back), [w, wire = w->wire](const net::hello_reply& r) {
      if (w->wire != wire)
        return;
      w->resuming = false;
      EXPECT_EQ(r.code, 0) << r.reason;
      EXPECT_EQ(r.kept, std::string(w->grants.size(), '\0')) << "Invariant 6: a grant that is in use was taken away";
    });
}

// Killed in the middle of whatever it does.
void random_schedule::die(const who& w) {
  ++w->wire;
  w->grants.clear();
  w->pins.clear();
  w->is.die();
  people.remove(w);
  join();
}

// A reader's page holds the bytes of its key until the pin ends.
void random_schedule::check_pins() {
  for (const auto& w : people)
    for (const auto& p : w->pins) {
      auto d = in.pool.env->pool->find_region(p.where.where.page.region) ? in.pool.descriptor(p.where.where.page)
                                                                         : std::nullopt;
      ASSERT_TRUE(d) << "Invariant 4: the region of a pinned page is gone";
      ASSERT_EQ(d->state, page_state::committed) << "Invariant 4: " << p.key;
      ASSERT_EQ(d->gen, p.where.where.gen) << "Invariant 7: " << p.key;
      ASSERT_EQ(d->hash, in.hash(p.key)) << "Invariant 7: " << p.key;
    }
}

void random_schedule::act() {
  auto w = any();
  auto what = random.below(13);
  if (w->resuming && what < 12)
    return;
  switch (what) {
    case 0:
    case 1:
    case 2:
      if (w->grants.size() < 3)
        grant(w);
      break;
    case 3:
    case 4:
    case 5:
      if (!w->grants.empty())
        commit(w);
      break;
    case 6:
    case 7:
      if (w->pins.size() < 3)
        pin(w);
      break;
    case 8:
      if (!w->pins.empty())
        unpin(w);
      break;
    case 9:
      send<net::codes_reply>(w, net::remove_request{w->is.blob({key(), key()})}, [](const net::codes_reply&) {});
      break;
    case 10:
      if (random.chance(40))
        in.pool.store->fail_write(1 + random.below(3), {ec::storage_failed, "failed to write: the test says so"});
      break;
    case 11:
      if (random.chance(40))
        reconnect(w);
      break;
    default:
      if (random.chance(30))
        die(w);
  }
}

TEST_P(random_schedule, KeepsEveryInvariant) {
  for (int i = 0; i < 3; ++i)
    join();
  // Failing writes and deaths slow some seeds down: those go on until enough has happened.
  auto enough = [&] { return commits > 50 && hits > 50 && in.pool.env->metrics->evicted_total() > 10; };
  for (int step = 0; (step < 1500 || (!enough() && step < 60000)) && !HasFailure(); ++step) {
    act();
    for (auto n = random.below(12); n > 0 && run_one(); --n)
      check_pins();
    if (step % 20 == 19) {
      in.scheduler().advance_time(100ms);
      for (const auto& w : people)
        if (!w->resuming)
          send<net::renew_reply>(w, net::renew_request{}, [](const net::renew_reply&) {});
    }
  }
  while (run_one())
    check_pins();
  in.advance(2s);
  check_pins();
  in.expect_sound();
  std::uint64_t granted = 0, pins = 0;
  for (const auto& w : people) {
    granted += w->grants.size();
    pins += w->pins.size();
  }
  EXPECT_EQ(in.table->counts().granted, granted);
  EXPECT_EQ(in.pins(), pins);
  for (const auto& w : people)
    w->is.close();
  in.advance(1s);
  EXPECT_TRUE(in.sessions().empty());
  EXPECT_EQ(in.pins(), 0u);
  EXPECT_EQ(in.table->counts().granted + in.table->counts().quarantined, 0u);
  in.expect_sound();
  in.restart();
  in.expect_sound();
  EXPECT_GT(commits, 50u);
  EXPECT_GT(hits, 50u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, random_schedule, ::testing::Range(0, 12));

}  // namespace
}  // namespace maru::actors
