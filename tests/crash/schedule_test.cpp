// Goal: whatever workers do at the same time, whichever message comes first or late, whatever write fails, whoever loses
// its connection, falls silent or dies, and wherever in the middle of all that marud is killed and started again: every
// invariant holds after every step, and in the end everything adds up.
// Method: marud's actors on the deterministic scheduler; its next step is chosen at random. An actor's handler can be
// interrupted before and after each message that it sends and each write, and marud can be killed there: it goes on with
// the pool and the records of that moment. A failing seed nearly always fails again; what it does not fix is the pool's
// secret (which shard a key has) and the time of commits (in which order entries are evicted after a restart).
#include <spdlog/spdlog.h>

#include <algorithm>
#include <list>

#include "tests/crash/crowd.hpp"
#include "tests/support/seeds.hpp"

namespace maru::actors::test {
namespace {

constexpr std::size_t cases = 20, seeds_in_case = 50 / maru::test::sanitizer_factor;
constexpr std::size_t keys = 14, players = 3, actions = 800;
constexpr auto lease = 2000ms, grace = 1500ms, tick = 100ms;

class schedule {
public:
  explicit schedule(std::uint64_t seed)
      : random_(seed),
        rough_(seed % 4 != 0),
        in_({.shards = 1 + seed % 2,
             .reserve_pages = seed % 3 == 0 ? 1 : 0,
             .lease_ms = lease.count(),
             .resume_grace_ms = grace.count(),
             .pause = [this] { interrupt(); }}),
        truth_(in_, keys) {
    in_.pool.store->watch_writes([this] { interrupt(); });
    for (auto& p : crowd_)
      p.page_bytes = MiB << random_.below(3);
  }

  void run();
  std::uint64_t commits = 0, hits = 0, removed = 0, kills = 0, interrupted = 0, lapsed = 0, settled_doubts = 0;

private:
  // steps: what happens next, and what must hold after it
  void step();
  bool run_one();
  bool deliver_one();
  void deliver(wire& w);
  void interrupt();
  void may_be_killed();
  void look();
  void expect_held(const player& p);
  void pass_time();
  void kill_and_restart();
  void finish();

  // what players do
  void act(player& p);
  void connect(player& p);
  void welcomed(player& p, const net::hello& m, std::chrono::milliseconds sent, const net::hello_reply& r);
  void resumed(player& p, std::string_view kept);
  void lose_connection(player& p);
  void die(player& p);
  void grant(player& p);
  void give_back(player& p);
  void commit(player& p, player::items items);
  void commit_new(player& p);
  void committed(player& p, const player::items& items, const std::vector<ec>& codes);
  void pin(player& p);
  void unpin(player& p);
  void remove(player& p);
  void renew(player& p);
  void evict();
  template <class Reply, class Request>
  void send(player& p, Request request, std::function<void(const Reply&)> then);

  std::size_t any_key() { return random_.below(keys); }
  std::string blob(const std::vector<std::size_t>& of) const {
    std::vector<key_hash> hashes;
    for (auto k : of)
      hashes.push_back(truth_.hash(k));
    return net::encode_hashes(hashes);
  }

  maru::test::dice random_;
  bool rough_;  // marud is killed and workers fall silent; without it more gets done
  house in_;
  truth truth_;
  std::array<player, players> crowd_;
  std::vector<std::shared_ptr<wire>> wires_;  // all that marud has not seen the end of
  std::chrono::milliseconds now_{0};
  bool running_ = false;  // a handler runs that may be interrupted
  int depth_ = 0;         // of handlers that wait in the middle
  std::size_t kill_in_ = 0;
  std::optional<pool_environment::image> killed_;
};

// -- steps

bool schedule::run_one() {
  auto& jobs = in_.scheduler().jobs;
  if (jobs.empty() || killed_)
    return false;
  std::swap(jobs.front(), jobs[random_.below(jobs.size())]);
  auto before = std::exchange(running_, true);
  in_.scheduler().run_once();
  running_ = before;
  if (!killed_)
    look();
  return true;
}

void schedule::deliver(wire& w) {
  auto message = std::move(w.on_its_way.front());
  w.on_its_way.pop_front();
  auto before = std::exchange(running_, false);  // a worker's end is ready for the answer once it has sent
  message();
  running_ = before;
}

bool schedule::deliver_one() {
  std::erase_if(wires_, [](const auto& w) { return w->cut && w->on_its_way.empty(); });
  std::vector<wire*> busy;
  for (auto& w : wires_)
    if (!w->on_its_way.empty())
      busy.push_back(w.get());
  if (busy.empty() || killed_)
    return false;
  deliver(*busy[random_.below(busy.size())]);
  return true;
}

void schedule::step() {
  may_be_killed();
  if (!random_.chance(25) || !deliver_one())
    (void)(run_one() || deliver_one());
}

void schedule::may_be_killed() {
  if (kill_in_ > 0 && --kill_in_ == 0)
    killed_ = in_.pool.take_image();
}

// In the middle of a handler: others go on, or all of it ends.
void schedule::interrupt() {
  if (!running_ || killed_ || depth_ == 3)
    return;
  look();
  may_be_killed();
  if (killed_ || !random_.chance(20))
    return;
  ++interrupted;
  ++depth_;
  for (auto n = 1 + random_.below(6); n > 0 && (random_.chance(25) ? deliver_one() : run_one());)
    --n;
  --depth_;
}

void schedule::look() {
  truth_.look();
  std::array<std::uint32_t, keys> pins{};
  for (const auto& p : crowd_) {
    expect_held(p);
    for (const auto& pin : p.pins)
      pins[pin.key] += p.away ? 0 : 1;
  }
  for (std::size_t k = 0; k < keys; ++k)
    EXPECT_GE(truth_.pins(k), pins[k]) << "Invariant 4: a pin of " << truth::name(k) << " is not counted";
}

void schedule::expect_held(const player& p) {
  auto writable = [this](const page_grant& g, bool doubtful) {
    auto d = truth_.descriptor(g.page);
    ASSERT_TRUE(d) << "Invariant 6: the region of a granted page is gone";
    EXPECT_EQ(d->gen, g.gen) << "Invariant 6: a page that a worker may write is another's";
    EXPECT_TRUE(d->state == page_state::granted || d->state == page_state::quarantined
                || (doubtful && d->state == page_state::committed))
      << "Invariant 6: a page that a worker may write is " << cxl::to_string(d->state);
  };
  for (const auto& g : p.grants)
    writable(g, false);
  for (const auto& items : p.doubts)
    for (const auto& item : items)
      if (!truth_.was_visible(item))
        writable(item.grant, true);
  for (const auto& pin : p.pins) {
    auto d = truth_.descriptor(pin.where.page);
    ASSERT_TRUE(d) << "Invariant 4: the region of a pinned page is gone";
    EXPECT_EQ(d->state, page_state::committed) << "Invariant 4: " << truth::name(pin.key);
    EXPECT_EQ(d->gen, pin.where.gen) << "Invariant 7: " << truth::name(pin.key);
    EXPECT_EQ(d->hash, truth_.hash(pin.key)) << "Invariant 7: " << truth::name(pin.key);
  }
}

void schedule::pass_time() {
  now_ += tick;
  in_.scheduler().advance_time(tick);
  for (auto& p : crowd_) {
    if (now_ >= p.silent_until && p.settled && now_.count() % 500 == 0)
      renew(p);
  }
}

void schedule::kill_and_restart() {
  ++kills;
  EXPECT_EQ(in_.pool.env->metrics->text().find("reason=\"page_state\""), std::string::npos)
    << "Invariant 3: a page was not in the state that its owner thought";
  wires_.clear();
  for (auto& p : crowd_) {
    p.line.reset();
    p.handle = nullptr;
    p.settled = false;
    p.asked = 0;
    p.safe_until = now_ + grace;
    p.away = true;
  }
  in_.restart(&*killed_);
  killed_.reset();
  truth_.look_after_restart();
}

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
  auto m = worker::hello_of({p.page_bytes, p.session, p.secret, {}, {}});
  m.wire = ++p.hellos;
  if (p.session != 0) {
    auto declared = p.grants;
    for (const auto& items : p.doubts)
      for (const auto& item : items)
        declared.push_back(item.grant);
    m.grants = net::encode_grants(declared);
    std::vector<std::size_t> pinned;
    for (const auto& pin : p.pins)
      pinned.push_back(pin.key);
    m.pinned = blob(pinned);
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
  auto record = cxl::pin_record::open(r.lock_path);
  ASSERT_TRUE(record) << record.error().message;
  p.record = std::move(*record);
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
  bool prefix = random_.chance(50);
  auto flags = static_cast<std::uint8_t>(net::flag_pin | (prefix ? net::flag_prefix_stop : 0));
  send<net::found_reply>(p, net::lookup_request{flags, blob(wanted)},
                         [this, &p, wanted, prefix](const net::found_reply& r) {
                           ASSERT_EQ(r.code, 0);
                           auto found = net::decode_found(r.items);
                           bool missed = false;
                           for (std::size_t i = 0; i < wanted.size(); ++i) {
                             missed |= (*found)[i].code != ec::ok;
                             if ((*found)[i].code != ec::ok)
                               continue;
                             EXPECT_FALSE(missed && prefix) << "a hit after the first miss";
                             ++hits;
                             auto slot = p.record->add(truth_.hash(wanted[i]));
                             p.pins.push_back({wanted[i], (*found)[i].where, slot});
                           }
                           look();
                         });
}

void schedule::unpin(player& p) {
  auto at = p.pins.begin() + static_cast<long>(random_.below(p.pins.size()));
  auto key = at->key;
  p.record->drop(at->slot);
  p.pins.erase(at);
  send<net::codes_reply>(p, net::unpin_request{blob({key})},
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

// -- what happens

void schedule::act(player& p) {
  if (now_ < p.silent_until)
    return;
  if (!p.line) {
    if (random_.chance(50))
      connect(p);
    return;
  }
  auto what = random_.below(32);
  if (what == 0 && random_.chance(40)) {
    die(p);
  } else if (what == 1) {
    lose_connection(p);
  } else if (what == 2 && rough_ && random_.chance(30)) {
    p.silent_until = now_ + std::chrono::milliseconds{random_.below(5000)};
    if (random_.chance(50))
      lose_connection(p);
  } else if (what == 3 && random_.chance(50)) {
    in_.pool.store->fail_write(1 + random_.below(3), {ec::storage_failed, "failed to write: the test says so"});
  } else if (what == 4 && rough_ && kill_in_ == 0 && random_.chance(25)) {
    kill_in_ = 1 + random_.below(60);
  } else if (what == 5 && random_.chance(30)) {
    evict();
  } else if (!p.settled || p.asked >= 6) {
    return;
  } else if (what < 13) {
    if (p.grants.size() < 3)
      grant(p);
  } else if (what < 21) {
    if (!p.grants.empty())
      commit_new(p);
  } else if (what < 26) {
    if (p.pins.size() < 3)
      pin(p);
  } else if (what < 28) {
    if (!p.pins.empty())
      unpin(p);
  } else if (what < 31) {
    remove(p);
  } else if (!p.grants.empty()) {
    give_back(p);
  }
}

void schedule::run() {
  for (std::size_t n = 0; n < actions && !::testing::Test::HasFailure(); ++n) {
    act(crowd_[random_.below(players)]);
    for (auto steps = random_.below(14); steps > 0 && !killed_; --steps)
      step();
    if (killed_)
      kill_and_restart();
    else if (n % 12 == 11)
      pass_time();
  }
  if (!::testing::Test::HasFailure())
    finish();
}

// Everybody comes back and is heard; then what marud counts is what they know; then everybody goes.
void schedule::finish() {
  kill_in_ = 0;
  auto calm = [this] {
    return std::all_of(crowd_.begin(), crowd_.end(),
                       [](const player& p) { return p.settled && p.asked == 0 && p.doubts.empty(); });
  };
  for (int round = 0; round < 100 && !(calm() && round > 50); ++round) {
    for (auto& p : crowd_) {
      p.silent_until = 0ms;
      if (!p.line)
        connect(p);
    }
    while (deliver_one() || run_one())
      ;
    pass_time();
  }
  while (deliver_one() || run_one())
    ;
  std::string left;
  for (const auto& p : crowd_)
    left += "worker of session " + std::to_string(p.session) + (p.settled ? " settled, " : " not settled, ")
            + std::to_string(p.asked) + " requests and " + std::to_string(p.doubts.size()) + " commits open\n";
  for (const auto& s : in_.sessions())
    left += "session " + std::to_string(s.id) + " " + s.state + ", " + std::to_string(s.in_flight) + " in flight\n";
  ASSERT_TRUE(calm()) << left;
  in_.expect_sound();
  std::uint64_t granted = 0, pins = 0;
  for (const auto& p : crowd_) {
    granted += p.grants.size();
    pins += p.pins.size();
  }
  EXPECT_EQ(in_.table->counts().granted, granted);
  EXPECT_EQ(in_.table->counts().quarantined, 0u);
  EXPECT_EQ(in_.pins(), pins);
  for (auto& p : crowd_)
    die(p);
  while (deliver_one())
    ;
  in_.advance(2s);
  EXPECT_TRUE(in_.sessions().empty());
  EXPECT_EQ(in_.pins(), 0u);
  EXPECT_EQ(in_.table->counts().granted + in_.table->counts().quarantined, 0u);
  in_.expect_sound();
  in_.restart();
  truth_.look_after_restart();
  in_.expect_sound();
}

class schedules : public ::testing::TestWithParam<std::size_t> {};

TEST_P(schedules, KeepEveryInvariantAfterEveryStep) {
  spdlog::set_level(spdlog::level::off);  // writes fail by the hundred
  std::uint64_t commits = 0, hits = 0, removed = 0, kills = 0, interrupted = 0, lapsed = 0, doubts = 0;
  auto seeds = maru::test::seeds_of_case(GetParam(), seeds_in_case);
  for (auto seed : seeds) {
    SCOPED_TRACE("MARU_SEED=" + std::to_string(seed));
    schedule s{seed};
    s.run();
    ASSERT_FALSE(HasFailure());
    commits += s.commits;
    hits += s.hits;
    removed += s.removed;
    kills += s.kills;
    interrupted += s.interrupted;
    lapsed += s.lapsed;
    doubts += s.settled_doubts;
  }
  std::cout << commits << " commits, " << hits << " hits, " << removed << " removals, " << kills << " kills, "
            << interrupted << " interruptions, " << lapsed << " sessions over, " << doubts << " doubts settled late\n";
}

INSTANTIATE_TEST_SUITE_P(Seeds, schedules, ::testing::Range<std::size_t>(0, cases));

}  // namespace
}  // namespace maru::actors::test
