// One schedule: players who act at random on marud's actors, each step drawn from a seed. See schedule_test.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <list>

#include "tests/crash/crowd.hpp"
#include "tests/support/seeds.hpp"

namespace maru::actors::test {

inline constexpr std::size_t keys = 14, players = 3;
inline constexpr auto lease = 2000ms, grace = 1500ms;

class schedule {
public:
  explicit schedule(std::uint64_t seed)
      : random_(seed),
        rough_(seed % 4 != 0),
        in_({.shards = 1 + seed % 2,
             .reserve_pages = seed % 3 == 0 ? 1 : 0,
             .lease_ms = lease.count(),
             .resume_grace_ms = grace.count(),
             .secret = secret_of(seed),
             .unix_ms = [this] { return static_cast<std::uint64_t>(now_.count()); },
             .pause = [this] { interrupt(); }}),
        truth_(in_, keys) {
    in_.pool.store->watch_writes([this] { interrupt(); });
    for (auto& p : crowd_)
      p.page_bytes = MiB << random_.below(3);
  }

  void run();
  // The next number that the seed gives: two runs that drew the same numbers agree on it, others hardly ever.
  std::size_t next_number() { return random_.below(SIZE_MAX); }
  std::uint64_t commits = 0, hits = 0, removed = 0, kills = 0, interrupted = 0, lapsed = 0, settled_doubts = 0;

private:
  static hash_secret secret_of(std::uint64_t seed) {
    hash_secret out{};
    std::memcpy(out.data(), &seed, sizeof seed);
    return out;
  }

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
  void show_region(player& p);
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
  pin_id id_of(const player::pin& pin) const {
    return pin_of(pin.view ? holding::view : holding::pin, truth_.hash(pin.key), pin.where);
  }
  std::string blob(const std::vector<std::size_t>& of) const {
    std::vector<key_hash> hashes;
    for (auto k : of)
      hashes.push_back(truth_.hash(k));
    return net::encode_hashes(hashes);
  }

  // Those that interrupt() asks for come before the house: its making interrupts already.
  std::chrono::milliseconds now_{0};  // what marud takes for the time
  bool running_ = false;              // a handler runs that may be interrupted
  int depth_ = 0;                     // of handlers that wait in the middle
  std::size_t kill_in_ = 0;
  std::optional<pool_environment::image> killed_;
  maru::test::dice random_;
  bool rough_;  // marud is killed and workers fall silent; without it more gets done
  house in_;
  truth truth_;
  std::array<player, players> crowd_;
  std::vector<std::shared_ptr<wire>> wires_;  // all that marud has not seen the end of
};

}  // namespace maru::actors::test
