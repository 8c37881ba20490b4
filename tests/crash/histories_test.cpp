// Goal: what several workers are told of the same keys at the same time makes sense: each key's history is linearizable,
// in a pool that never evicts, in one that does, and over kills of marud.
// Method: clients in threads of this process do random calls on 50 keys of a real marud; each call's begin, end and answer
// is written down and checked key by key. A commit's tag is its page and generation, which its bytes repeat: a reader
// tells whose commit it saw. A failing seed runs the same calls again, but not the same interleaving of its threads.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <thread>

#include "tests/crash/linearizability.hpp"
#include "tests/support/seeds.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

constexpr std::size_t clients = 4, calls_each = 150, keys = 50;
constexpr std::size_t cases = 5, seeds_in_case = 20 / (sanitizer_factor > 1 ? 5 : 1);

struct recorded {
  std::size_t key = 0;
  call what;
};

// The order of all begins and ends.
using moments = std::atomic<std::uint64_t>;

std::uint64_t tag_of(page_ref page, generation gen) {
  return std::uint64_t{value_of(page.region)} << 48 | std::uint64_t{value_of(page.page)} << 32 | (gen & 0xffffffff);
}

// One client at work; everything it is told is in `calls`.
class recorder {
public:
  recorder(std::shared_ptr<client> c, std::string name, std::string prefix, std::uint64_t seed, moments& clock)
      : client_(std::move(c)), name_(std::move(name)), prefix_(std::move(prefix)), random_(seed), clock_(clock) {}

  void work() {
    for (std::size_t i = 0; i < calls_each; ++i)
      act();
    while (!pinned_.empty())
      unpin();
    while (!views_.empty())
      drop_view();
  }

  std::vector<recorded> calls;
  std::string wrong;  // bytes that nobody wrote

private:
  // Half of all calls meet on four keys.
  std::size_t any_key() { return random_() % 2 == 0 ? random_() % 4 : random_() % keys; }
  std::string text(std::size_t key) const { return prefix_ + std::to_string(key); }
  std::uint64_t now() { return ++clock_; }

  void note(std::size_t key, verb what, std::uint64_t tag, std::optional<ec> answer, std::uint64_t invoked) {
    calls.push_back({key, {what, tag, answer, invoked, answer ? now() : call::never, name_}});
  }
  // A call that gave no answer.
  void note_lost(std::size_t key, verb what, std::uint64_t tag, std::uint64_t invoked) {
    calls.push_back({key, {what, tag, {}, invoked, call::never, name_}});
  }
  static bool is_answer(ec code) {
    return code == ec::ok || code == ec::exists || code == ec::missing || code == ec::pinned;
  }

  void act() {
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2: commit(); break;
      case 3:
      case 4: read(); break;
      case 5: exists(); break;
      case 6:
        if (pinned_.size() < 3)
          pin();
        break;
      case 7:
      case 8:
        if (!pinned_.empty())
          unpin();
        break;
      case 9:
        if (views_.empty())
          retrieve();
        else
          drop_view();
        break;
      default: remove();
    }
  }

  void commit() {
    auto key = any_key();
    auto page = client_->alloc(sizeof(std::uint64_t));
    if (!page)
      return;  // a full pool, or no marud: nothing was asked of the key
    auto tag = tag_of(page->grant().page, page->grant().gen);
    std::memcpy(page->bytes().data(), &tag, sizeof tag);
    auto begin = now();
    auto code = client_->commit(text(key), *page).code();
    if (is_answer(code))
      note(key, verb::commit, tag, code, begin);
    else
      note_lost(key, verb::commit, tag, begin);
  }

  // Two keys in one call: each is a call of its own, on the same moments.
  void read() {
    std::size_t two[] = {any_key(), any_key()};
    std::string names[] = {text(two[0]), text(two[1])};
    std::string_view wanted[] = {names[0], names[1]};
    auto begin = now();
    auto found = client_->lookup(wanted);
    for (std::size_t i = 0; found && i < 2; ++i)
      if (auto& where = (*found)[i])
        note(two[i], verb::read, tag_of(where->page, where->gen), ec::ok, begin);
      else
        note(two[i], verb::read, 0, ec::missing, begin);
  }

  void exists() {
    auto key = any_key();
    auto name = text(key);
    std::string_view wanted[] = {name};
    auto begin = now();
    if (auto there = client_->exists(wanted))
      note(key, verb::read, 0, (*there)[0] ? ec::ok : ec::missing, begin);
  }

  void pin() {
    auto key = any_key();
    auto name = text(key);
    std::string_view wanted[] = {name};
    auto begin = now();
    auto found = client_->lookup(wanted, {.pin = true});
    if (!found) {
      note_lost_pin(key, begin);
      return;
    }
    auto& where = (*found)[0];
    note(key, verb::pin, where ? tag_of(where->page, where->gen) : 0, where ? ec::ok : ec::missing, begin);
    if (!where)
      return;
    pinned_.push_back(key);
    if (auto bytes = client_->bytes(*where))
      compare(key, *where, *bytes);
  }

  void unpin() {
    auto key = pinned_.back();
    pinned_.pop_back();
    auto name = text(key);
    std::string_view wanted[] = {name};
    auto begin = now();
    auto ended = client_->unpin(wanted);
    if (ended && (*ended)[0] && client_->info().connected)
      note(key, verb::unpin, 0, ec::ok, begin);
    else
      note_lost(key, verb::unpin, 0, begin);
  }

  // A view is a read. It keeps its bytes, not its key: that may be removed, and committed anew, meanwhile.
  void retrieve() {
    auto key = any_key();
    auto begin = now();
    auto v = client_->retrieve(text(key));
    if (!v && v.code() != ec::missing)
      return;
    note(key, verb::read, v ? tag_of(v->where().page, v->where().gen) : 0, v.code(), begin);
    if (!v)
      return;
    compare(key, v->where(), v->bytes());
    views_.emplace_back(key, std::move(*v));
  }

  void drop_view() {
    auto& [key, v] = views_.back();
    compare(key, v.where(), v.bytes());
    views_.pop_back();
  }

  // It may have been taken; then it ends some time.
  void note_lost_pin(std::size_t key, std::uint64_t begin) {
    note_lost(key, verb::pin, 0, begin);
    note_lost(key, verb::unpin, 0, begin);
  }

  void remove() {
    auto key = any_key();
    auto name = text(key);
    std::string_view wanted[] = {name};
    auto begin = now();
    auto codes = client_->remove(wanted);
    auto code = codes ? (*codes)[0] : codes.code();
    if (is_answer(code))
      note(key, verb::remove, 0, code, begin);
    else
      note_lost(key, verb::remove, 0, begin);
  }

  void compare(std::size_t key, const location& where, std::span<const std::byte> bytes) {
    auto tag = tag_of(where.page, where.gen);
    if (bytes.size() != sizeof tag || std::memcmp(bytes.data(), &tag, sizeof tag) != 0)
      wrong += name_ + " read wrong bytes of " + text(key) + "\n";
  }

  std::shared_ptr<client> client_;
  std::string name_, prefix_;
  std::mt19937_64 random_;
  moments& clock_;
  std::vector<std::size_t> pinned_;
  std::vector<std::pair<std::size_t, view>> views_;
};

// A marud, its clients, and one history after the other.
class history_run {
public:
  explicit history_run(std::vector<std::string> options) : marud_(std::move(options)) {
    for (std::size_t i = 0; i < clients; ++i) {
      bool local = i % 2 == 0;  // the others ask: both are told one history
      clients_[i] =
        marud_.open({.chunk_bytes = 64 << 10, .grant_batch = 1, .fetch_ahead = false, .local_reads = local});
      EXPECT_TRUE(clients_[i] && clients_[i]->info().local_reads == local) << marud_.log();
    }
  }

  // What is wrong with the history of this seed; empty: nothing. `wanted_kills`: marud is killed so often meanwhile.
  std::string run(std::uint64_t seed, bool evicts, int wanted_kills = 0) {
    moments clock{0};
    std::atomic<std::size_t> working{clients};
    std::vector<recorder> recorders;
    recorders.reserve(clients);
    for (std::size_t i = 0; i < clients; ++i)
      recorders.emplace_back(clients_[i], "client" + std::to_string(i), "s" + std::to_string(seed) + "k",
                             seed * clients + i, clock);
    std::vector<call> restarts;
    {
      std::vector<std::jthread> threads;
      for (auto& r : recorders)
        threads.emplace_back([&r, &working] {
          r.work();
          --working;
        });
      std::mt19937_64 random{seed};
      for (int n = 0; n < wanted_kills; ++n) {
        auto from = clock + 50 + random() % 400;
        while (working > 0 && clock < from)
          std::this_thread::yield();
        if (working == 0)
          break;
        auto begin = ++clock;
        marud_.kill_hard();
        EXPECT_TRUE(marud_.start()) << marud_.log();
        restarts.push_back({verb::restart, 0, ec::ok, begin, ++clock, "marud"});
      }
    }
    return check(recorders, restarts, evicts);
  }

  std::uint64_t calls = 0, answers = 0, kills = 0;
  marud& server() { return marud_; }

private:
  std::string check(const std::vector<recorder>& recorders, const std::vector<call>& restarts, bool evicts) {
    std::vector<key_history> histories(keys, key_history{evicts});
    std::string wrong;
    kills += restarts.size();
    for (const auto& r : recorders) {
      wrong += r.wrong;
      for (const auto& [key, c] : r.calls) {
        ++calls;
        answers += c.answer ? 1 : 0;
        histories[key].add(c);
        // Sent again after the restart: the first try may have removed the key, too.
        if (c.what == verb::remove && c.answer && overlaps(c, restarts))
          histories[key].add({verb::remove, 0, {}, c.invoked, c.returned, c.who + "'s first try"});
        if (c.what != verb::unpin && !c.answer && !overlaps(c, restarts))
          wrong += "no answer, but marud was there: " + to_string(c) + "\n";
      }
    }
    for (std::size_t k = 0; k < keys; ++k) {
      for (const auto& r : restarts)
        histories[k].add(r);
      if (auto v = histories[k].violation(); !v.empty())
        wrong += "key " + std::to_string(k) + " is not linearizable:\n" + v;
    }
    return wrong;
  }

  static bool overlaps(const call& c, const std::vector<call>& restarts) {
    return std::any_of(restarts.begin(), restarts.end(),
                       [&c](const call& r) { return c.invoked < r.returned && r.invoked < c.returned; });
  }

  marud marud_;
  std::array<std::shared_ptr<client>, clients> clients_;
};

class histories : public ::testing::TestWithParam<std::size_t> {
protected:
  void run_seeds(history_run& run, const std::vector<std::uint64_t>& seeds, bool evicts, int kills = 0) {
    for (auto seed : seeds) {
      std::cout << "MARU_SEED=" << seed << std::endl;
      ASSERT_EQ(run.run(seed, evicts, kills), "") << "MARU_SEED=" << seed;
    }
    EXPECT_EQ(run.server().audit(), "");
    std::cout << run.calls << " calls, " << run.answers << " with an answer, " << run.kills << " kills, "
              << run.server().ask("status")["evicted"] << " evicted\n";
  }
};

TEST_P(histories, AreLinearizable) {
  history_run run{{"--pool-size=512MiB", "--page-min=4KiB"}};
  run_seeds(run, seeds_of_case(GetParam(), seeds_in_case), false);
  EXPECT_EQ(run.server().ask("status")["evicted"], 0);
}

TEST_P(histories, OfAPoolThatEvictsAreLinearizable) {
  history_run run{{"--pool-size=2MiB", "--page-min=64KiB"}};
  run_seeds(run, seeds_of_case(GetParam(), seeds_in_case), true);
}

INSTANTIATE_TEST_SUITE_P(Seeds, histories, ::testing::Range<std::size_t>(0, cases));

class histories_with_kills : public histories {};

TEST_P(histories_with_kills, AreLinearizable) {
  history_run run{{"--pool-size=512MiB", "--page-min=4KiB"}};
  run_seeds(run, seeds_of_case(GetParam(), 3), false, 2);
  EXPECT_EQ(run.server().ask("status")["evicted"], 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, histories_with_kills, ::testing::Range<std::size_t>(0, 2));

}  // namespace
}  // namespace maru::test
