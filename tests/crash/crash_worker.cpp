// A worker of the crash tests: puts, reads, pins, unpins and removes at random until it is told otherwise, and holds
// every answer against the board. Every other one is shown a region of its own, and each has guests: clients that are shown
// one, take a page and leave. It is never killed; marud is.
//
//   crash_worker SERVER BOARD NUMBER SEED evicts|keeps
//
// Its orders, one a line: "pause" -> "paused" once nothing of it is under way, "go", and the end of its input. What marud
// may never answer ends it, with one line that says what was wrong.
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <thread>
#include <vector>

#include "net/client.hpp"
#include "tests/crash/board.hpp"

namespace maru::test {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_max = 60s;  // a call that was answered by an error has its definite answer by then
constexpr std::size_t batch_max = 16, views_max = 8, pins_max = 32;

[[noreturn]] void fail(const std::string& what) {
  std::cout << "violation: " << what << std::endl;
  std::_Exit(1);
}

struct asked_key {
  std::uint32_t slot;
  std::uint64_t incarnation;
  slot_word before;
};

class crash_worker {
public:
  crash_worker(client_options options, std::shared_ptr<client> c, const std::string& board_path, std::uint32_t number,
               std::uint64_t seed, bool evicts)
      : options_(std::move(options)),
        client_(std::move(c)),
        board_(board_path),
        number_(number),
        evicts_(evicts),
        random_(seed) {
    if (number % 2 == 0)
      show_region(*client_);
  }

  // Until the end of the orders.
  void run() {
    for (;;) {
      pollfd order{0, POLLIN, 0};
      if (::poll(&order, 1, 0) > 0 && !obey())
        return;
      follow_session();
      auto dice = below(100);
      if (dice < 2)
        have_a_guest();
      else if (dice < 35)
        put_some();
      else if (dice < 70)
        read_some();
      else if (dice < 80)
        ask_some();
      else if (dice < 85)
        turn_a_view();
      else if (dice < 90)
        turn_a_pin();
      else
        remove_some();
    }
  }

private:
  std::uint64_t below(std::uint64_t end) { return random_() % end; }

  // False at the end of the orders. Byte by byte: what a stream read ahead, poll would not see.
  static bool obey() {
    std::string order;
    char c = 0;
    while (::read(0, &c, 1) == 1) {
      if (c != '\n') {
        order.push_back(c);
        continue;
      }
      if (order == "go")
        return true;
      if (order == "pause")
        std::cout << "paused" << std::endl;
      order.clear();
    }
    return false;
  }

  // Pins and views are promised for as long as their session lives.
  void follow_session() {
    auto now = client_->info().session;
    if (now == session_)
      return;
    if (session_ != 0)
      ++board_.counts().sessions_lost;
    session_ = now;
    views_.clear();
    pins_.clear();
  }

  // -- what is asked for

  std::uint32_t own_slot() {
    constexpr auto each = crash_slots / crash_workers;
    return static_cast<std::uint32_t>(number_ * each + below(each));
  }

  // Anybody's keys; some of them were removed for good.
  std::vector<asked_key> any_keys() {
    std::map<std::uint32_t, asked_key> out;
    for (auto n = 1 + below(batch_max); n > 0; --n) {
      auto slot = static_cast<std::uint32_t>(below(crash_slots));
      auto now = board_.at(slot);
      bool old = now.incarnation > 0 && below(8) == 0;
      out[slot] = {slot, old ? below(now.incarnation) : now.incarnation, now};
    }
    std::vector<asked_key> flat;
    for (const auto& [slot, key] : out)
      flat.push_back(key);
    return flat;
  }

  static std::vector<std::string> names_of(const std::vector<asked_key>& keys) {
    std::vector<std::string> out;
    for (const auto& k : keys)
      out.push_back(key_of(k.slot, k.incarnation));
    return out;
  }

  // -- reads

  void judge(const asked_key& k, bool hit) {
    auto& c = board_.counts();
    ++c.reads;
    c.hits += hit ? 1 : 0;
    auto after = board_.at(k.slot);
    if (auto wrong = contradiction(k.slot, k.before, after, k.incarnation, hit, evicts_); !wrong.empty())
      fail(wrong);
    c.lost += !hit && k.before == after && after.state() == expected::present && after.incarnation == k.incarnation;
  }

  static void judge_bytes(const asked_key& k, const view& v) {
    auto wanted = bytes_of(k.slot, k.incarnation);
    if (v.bytes().size() != wanted.size() || std::memcmp(v.bytes().data(), wanted.data(), wanted.size()) != 0)
      fail(key_of(k.slot, k.incarnation) + " shows wrong bytes");
  }

  void read_some() {
    auto keys = any_keys();
    auto names = names_of(keys);
    std::vector<std::string_view> asked{names.begin(), names.end()};
    auto views = client_->retrieve_batch(asked);
    if (!views)
      return board_.count_error(views.code());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      judge(keys[i], bool{(*views)[i]});
      if ((*views)[i])
        judge_bytes(keys[i], (*views)[i]);
    }
  }

  void ask_some() {
    auto keys = any_keys();
    auto names = names_of(keys);
    std::vector<std::string_view> asked{names.begin(), names.end()};
    auto there = client_->exists(asked);
    if (!there)
      return board_.count_error(there.code());
    for (std::size_t i = 0; i < keys.size(); ++i)
      judge(keys[i], (*there)[i]);
  }

  // -- pins: what is pinned stays, whether the pool evicts or not, and whatever happens to marud

  void must_be_there(const asked_key& k) {
    auto name = key_of(k.slot, k.incarnation);
    std::vector<std::string_view> asked{name};
    auto there = client_->exists(asked);
    if (!there)
      return board_.count_error(there.code());
    if (!(*there)[0] && client_->info().session == session_)
      fail(name + " is pinned and missing");
    ++board_.counts().pins_checked;
  }

  void turn_a_view() {
    if (views_.size() < views_max) {
      auto k = any_keys().front();
      auto v = client_->retrieve(key_of(k.slot, k.incarnation));
      if (v)
        views_.emplace_back(k, std::move(*v));
      else if (v.code() != ec::missing)
        board_.count_error(v.code());
      return;
    }
    auto& [k, v] = views_[below(views_.size())];
    judge_bytes(k, v);  // the key may be removed meanwhile, and its next incarnation put
    ++board_.counts().views_checked;
    std::swap(views_.back().first, k);
    std::swap(views_.back().second, v);
    views_.pop_back();
  }

  void turn_a_pin() {
    if (pins_.size() < pins_max) {
      auto k = any_keys().front();
      auto name = key_of(k.slot, k.incarnation);
      std::vector<std::string_view> asked{name};
      auto pinned = client_->pin(asked);
      if (!pinned)
        return board_.count_error(pinned.code());
      if ((*pinned)[0])
        pins_.push_back(k);
      return;
    }
    std::swap(pins_[below(pins_.size())], pins_.back());
    auto k = pins_.back();
    must_be_there(k);
    pins_.pop_back();
    auto name = key_of(k.slot, k.incarnation);
    std::vector<std::string_view> asked{name};
    auto ended = client_->unpin(asked);
    if (!ended)
      return board_.count_error(ended.code());
    if (!(*ended)[0] && client_->info().session == session_)
      fail(name + " was pinned, and unpin knows of no pin");
  }

  // -- regions

  void show_region(client& c) {
    auto pages = 1 + below(200);
    auto region = c.show_region(pages);
    if (!region && region.code() != ec::out_of_memory)
      return board_.count_error(region.code());
    if (region && region->pages < pages && !region->shared)
      fail("a region has fewer pages than asked for");
  }

  void have_a_guest() {
    auto guest = client::open(options_);
    if (!guest)
      return board_.count_error(guest.code());
    show_region(**guest);
    if (auto page = (*guest)->alloc(1); !page)
      board_.count_error(page.code());
    auto usage = (*guest)->usage();
    if (!usage)
      return board_.count_error(usage.code());
    for (const auto& use : usage->regions)
      if (use.committed > 0)
        fail("a session that committed nothing has entries");
  }

  // -- puts and removals

  // Asks until every slot has a definite answer: `ask` returns one code per slot, or an error.
  template <class Ask, class Settle>
  void ask_until_known(std::vector<asked_key> open, Ask ask, Settle settle) {
    auto end = std::chrono::steady_clock::now() + answer_max;
    while (!open.empty()) {
      if (std::chrono::steady_clock::now() >= end)
        fail(key_of(open[0].slot, open[0].incarnation) + " has no definite answer");
      result<std::vector<ec>> codes = ask(open);
      if (!codes)
        codes = std::vector<ec>(open.size(), codes.code());
      std::vector<asked_key> again;
      for (std::size_t i = 0; i < open.size(); ++i) {
        if (settle(open[i], (*codes)[i]))
          continue;
        board_.count_error((*codes)[i]);
        again.push_back(open[i]);
      }
      open = std::move(again);
      if (!open.empty())
        std::this_thread::sleep_for(5ms);
    }
  }

  result<std::vector<ec>> commit(const std::vector<asked_key>& keys) {
    std::vector<page_buffer> pages;
    for (const auto& k : keys) {
      auto bytes = bytes_of(k.slot, k.incarnation);
      auto page = client_->alloc(bytes.size());
      if (!page)
        return page.error();
      std::memcpy(page->bytes().data(), bytes.data(), bytes.size());
      pages.push_back(std::move(*page));
    }
    auto names = names_of(keys);
    std::vector<std::string_view> asked{names.begin(), names.end()};
    auto codes = client_->commit_batch(asked, pages);
    // The client settles a commit whose answer never came; until then it may still happen.
    auto end = std::chrono::steady_clock::now() + answer_max;
    while (client_->info().pages_in_doubt > 0 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(5ms);
    if (client_->info().pages_in_doubt > 0)
      fail("a commit stays in doubt");
    return codes;
  }

  void put_some() {
    std::map<std::uint32_t, asked_key> chosen;
    for (auto n = 1 + below(batch_max); n > 0; --n) {
      auto slot = own_slot();
      auto now = board_.at(slot);
      if (chosen.contains(slot) || (now.state() == expected::present && below(4) > 0))
        continue;
      // What was removed comes back as itself, or for good as another one.
      auto incarnation = now.incarnation + (now.state() == expected::absent && now.changes > 0 ? below(2) : 0);
      if (now.state() != expected::present)  // a present one stays, whatever the answer
        board_.set(slot, incarnation, expected::in_doubt);
      chosen[slot] = {slot, incarnation, now};
    }
    std::vector<asked_key> keys;
    for (const auto& [slot, key] : chosen)
      keys.push_back(key);
    ask_until_known(
      keys, [this](const auto& open) { return commit(open); },
      [this](const asked_key& k, ec code) {
        // gone: it was done, and evicted by the time that its answer, lost with marud, was asked for again.
        if (code != ec::ok && code != ec::exists && (code != ec::gone || !evicts_))
          return false;
        board_.set(k.slot, k.incarnation, expected::present);
        ++board_.counts().puts;
        return true;
      });
  }

  void remove_some() {
    std::map<std::uint32_t, asked_key> chosen;
    for (auto n = 1 + below(batch_max / 2); n > 0; --n) {
      auto slot = own_slot();
      auto now = board_.at(slot);
      if (now.state() == expected::absent || chosen.contains(slot))
        continue;
      board_.set(slot, now.incarnation, expected::in_doubt);
      chosen[slot] = {slot, now.incarnation, now};
    }
    std::vector<asked_key> keys;
    for (const auto& [slot, key] : chosen)
      keys.push_back(key);
    ask_until_known(
      keys,
      [this](const auto& open) {
        auto names = names_of(open);
        std::vector<std::string_view> asked{names.begin(), names.end()};
        return client_->remove(asked);
      },
      [this](const asked_key& k, ec code) {
        switch (code) {
          case ec::ok:
          case ec::missing: board_.set(k.slot, k.incarnation, expected::absent); break;  // for good, both
          case ec::pinned: board_.set(k.slot, k.incarnation, expected::present); break;
          default: return false;
        }
        ++board_.counts().removes;
        return true;
      });
  }

  client_options options_;
  std::shared_ptr<client> client_;
  board board_;
  std::uint32_t number_;
  bool evicts_;
  std::mt19937_64 random_;
  std::uint64_t session_ = 0;
  std::vector<std::pair<asked_key, view>> views_;
  std::vector<asked_key> pins_;  // a key may be in it twice: two pins
};

}  // namespace
}  // namespace maru::test

int main(int argc, char** argv) {
  using namespace maru;
  if (argc != 6)
    return 2;
  client_options options{.server = argv[1], .chunk_bytes = test::crash_page_bytes, .timeout = std::chrono::seconds{10}};
  auto c = client::open(options);
  std::cout << (c ? "ready" : to_string(c.error())) << std::endl;
  if (!c)
    return 1;
  test::crash_worker{options,
                     *c,
                     argv[2],
                     static_cast<std::uint32_t>(std::stoul(argv[3])),
                     std::stoull(argv[4]),
                     argv[5] == std::string{"evicts"}}
    .run();
  (*c)->close();
  return 0;
}
