// What happens next, and what must hold after it.
#include "tests/crash/schedule.hpp"

#include <algorithm>

namespace maru::actors::test {

namespace {

constexpr std::size_t actions = 800;
constexpr auto tick = 100ms;

}  // namespace

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
      pins[pin.key] += p.away || pin.view ? 0 : 1;
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
    EXPECT_TRUE(d->state == page_state::committed || (pin.view && d->state == page_state::evicting))
      << "Invariant 4: " << truth::name(pin.key) << " is " << cxl::to_string(d->state);
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
  for (auto& w : wires_) {
    w->cut = true;  // what is in the ends' mailboxes is not heard any more
    w->on_its_way.clear();
  }
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
    if (p.shown < 4 && random_.chance(15))
      show_region(p);
    else if (p.grants.size() < 3)
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
    std::uint64_t counted = 0;
    for (const auto& [region, use] : in_.table->uses().of(session_id{p.session}))
      counted += use.granted;
    EXPECT_EQ(counted, p.grants.size()) << "pages are counted for somebody else";
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
  for (const auto& row : in_.table->rows())
    EXPECT_FALSE(in_.table->assigned(row.id)) << "a region is kept for nobody";
  in_.expect_sound();
  in_.restart();
  truth_.look_after_restart();
  in_.expect_sound();
}

}  // namespace maru::actors::test
