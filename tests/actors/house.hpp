// All of marud's actors but the admin, on CAF's deterministic scheduler: nothing happens until the test says so, time is
// virtual, and a test can stop between any two messages. Pool and descriptors are real, the store is in memory and fails
// on order. Detached actors would escape the scheduler, so here none is.
#pragma once

#include <gtest/gtest.h>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/door.hpp"
#include "actors/index_shard.hpp"
#include "actors/pin_ledger.hpp"
#include "actors/pool_manager.hpp"
#include "actors/store_worker.hpp"
#include "base/file_lock.hpp"
#include "tests/actors/pool_environment.hpp"

namespace maru::actors::test {

using namespace std::chrono_literals;
using bounds::MiB;

struct house_options {
  std::uint64_t pool_bytes = 8 * bounds::MiB;  // four regions of 2 MiB
  std::uint64_t page_min = 1 * bounds::MiB;
  std::size_t shards = 1;
  std::int64_t reserve_pages = 0;
  std::uint32_t lease_ms = marud_options{}.lease_ms, resume_grace_ms = marud_options{}.resume_grace_ms;
  std::optional<hash_secret> secret;         // of the pool; with one, and a clock, a run has no other source of chance
  std::function<std::uint64_t()> unix_ms{};  // empty: the system's
  // Called in the middle of handlers: before and after each message to an actor that is not a session or a worker's end.
  std::function<void()> pause;
};

// An actor whose senders can be interrupted. The scheduler runs a handler as one step; in marud others go on while it
// sends one message after the other, and it may be killed between two of them.
template <class Actor>
class interrupting : public Actor {
public:
  template <class... Ts>
  interrupting(caf::actor_config& cfg, std::function<void()> pause, Ts&&... xs)
      : Actor(cfg, std::forward<Ts>(xs)...), pause_(std::move(pause)) {}
  using Actor::enqueue;
  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* where) override {
    pause_();
    Actor::enqueue(std::move(message), where);
    pause_();
  }

private:
  std::function<void()> pause_;
};

// An answer that may still be on its way.
template <class Reply>
using pending = std::shared_ptr<std::optional<Reply>>;

// Sends a request in the name of an actor, from outside of it. `then(reply)` runs when its answer does.
template <class Reply, class Handle, class Request, class Then>
void request_as(const caf::actor& sender, const Handle& to, Request request, Then then) {
  auto* self = caf::actor_cast<caf::event_based_actor*>(sender);
  self->context(nullptr);  // the one of its last message is gone
  self->request(to, caf::infinite, std::move(request)).then(std::move(then), [](const caf::error&) {});
}
template <class Reply, class Handle, class Request>
pending<Reply> request_as(const caf::actor& sender, const Handle& to, Request request) {
  pending<Reply> out = std::make_shared<std::optional<Reply>>();
  request_as<Reply>(sender, to, std::move(request), [out](const Reply& r) { *out = r; });
  return out;
}

class house {
public:
  explicit house(const house_options& o = {}) : pool(o.pool_bytes, o.page_min, o.secret), pause_(o.pause) {
    if (o.unix_ms)
      pool.env->unix_ms = o.unix_ms;
    pool.env->shards = o.shards;
    pool.env->options.reserve_pages = o.reserve_pages;
    pool.env->options.lease_ms = o.lease_ms;
    pool.env->options.resume_grace_ms = o.resume_grace_ms;
    start();
  }
  ~house() { stop(); }
  house(const house&) = delete;

  // marud is killed and starts again; the workers of before are left with dead handles. With an `image`, it was killed at
  // the moment of that image.
  void restart(const pool_environment::image* at = nullptr) {
    stop();
    if (at)
      pool.restart_at(*at);
    else
      pool.restart();
    start();
  }

  // -- time and order
  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system->scheduler());
  }
  // Until no message is left.
  void run() { scheduler().run(); }
  // One message of this actor.
  template <class Handle>
  void step(const Handle& who) {
    ASSERT_TRUE(scheduler().prioritize(who)) << "no message waits for it";
    scheduler().run_once();
  }
  // Everybody but this actor, until nobody else has a message.
  template <class Handle>
  void run_without(const Handle& who) {
    auto* held = dynamic_cast<caf::resumable*>(caf::actor_cast<caf::abstract_actor*>(who));
    scheduler().run_jobs_filtered([held](caf::resumable* job) { return job != held; });
  }
  void advance(std::chrono::milliseconds time) {
    for (; time > 0ms; time -= 50ms) {
      scheduler().advance_time(50ms);
      run();
    }
  }

  // -- what there is
  key_hash hash(std::string_view key) const { return pool.hash(key); }
  std::size_t shard_index(std::string_view key) const { return shard_of(hash(key), shards.size()); }
  index& index_of(std::string_view key) { return *indexes[shard_index(key)]; }
  bool visible(std::string_view key) { return index_of(key).contains(hash(key)); }
  page_state state_of(page_ref page) const { return *table->state_of(page); }
  std::uint64_t pins() const {
    std::uint64_t n = 0;
    for (const auto& i : indexes)
      n += i->pins();
    return n;
  }
  template <class Reply, class Handle, class Request>
  Reply ask(const Handle& to, Request request) {
    auto out = request_as<Reply>(others.front(), to, std::move(request));
    run();
    EXPECT_TRUE(out->has_value()) << "no answer";
    return out->value_or(Reply{});
  }
  std::vector<session_status> sessions() { return ask<session_list>(door, ask_sessions{}).sessions; }

  // Page table, descriptors, store and index agree on every page. REQUIRES: nothing is under way.
  void expect_sound() {
    run();  // a session that is dead at a restart ends at once
    std::uint64_t committed = 0, records = 0;
    for (const auto& row : table->rows())
      for (std::uint32_t i = 0; i < row.page_count(); ++i) {
        page_ref page{row.id, page_index{i}};
        SCOPED_TRACE("page " + to_string(page));
        auto d = pool.descriptor(page);
        ASSERT_TRUE(d);
        ASSERT_EQ(cxl::to_string(d->state), cxl::to_string(state_of(page)));
        if (d->state != page_state::committed)
          continue;
        ++committed;
        auto entry = indexes[shard_of(d->hash, indexes.size())]->find(d->hash);
        ASSERT_TRUE(entry) << "committed, but not in the index";
        EXPECT_FALSE(entry->evicting);
        EXPECT_EQ(entry->where.page, page);
        EXPECT_EQ(entry->where.gen, d->gen);
        auto record = pool.store->entry(d->hash);
        ASSERT_TRUE(record && *record) << "committed, but not durable";
        EXPECT_EQ((*record)->where, entry->where);
      }
    EXPECT_TRUE(
      pool.store->scan_entries({}, [&](const key_hash&, const storage::entry_record&) { return ++records > 0; }));
    EXPECT_EQ(records, committed);
    std::uint64_t entries = 0;
    for (const auto& i : indexes)
      entries += i->size() + i->evicting();
    EXPECT_EQ(entries, committed);
    std::uint64_t detached = 0;
    for (const auto& i : indexes)
      detached += i->detached();
    EXPECT_EQ(table->counts().evicting, detached);
    EXPECT_EQ(ask<pin_counts>(ledger, ask_pins{}).pins, pins());
  }

  pool_environment pool;
  std::unique_ptr<caf::actor_system_config> config;
  std::unique_ptr<caf::actor_system> system;
  std::shared_ptr<page_table> table;
  std::vector<std::shared_ptr<index>> indexes;
  std::vector<index_shard_actor> shards;
  std::vector<store_worker_actor> workers;
  region_preparer_actor preparer;
  pool_manager_actor manager;
  pin_ledger_actor ledger;
  door_actor door;
  std::vector<caf::actor> others;  // the first asks for the house, the others are workers' ends

  // An end of a worker's connection; it begins to live with the next message that runs.
  caf::actor new_end() {
    others.push_back(system->spawn([](int) -> caf::behavior { return {[](int) {}}; }, 0));
    return others.back();
  }

private:
  template <class Actor, class... Ts>
  auto spawn(Ts&&... xs) {
    return pause_ ? system->spawn<interrupting<Actor>>(pause_, std::forward<Ts>(xs)...)
                  : system->spawn<Actor>(std::forward<Ts>(xs)...);
  }

  void start() {
    auto state = pool.must_recover();
    table = state.table;
    indexes = state.shards;
    config = std::make_unique<caf::actor_system_config>();
    config->set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(*config);
    environment_ptr env = pool.env;
    bool grace = !state.sessions.empty();
    for (auto& i : indexes)
      shards.push_back(spawn<index_shard>(env, shards.size(), i, grace));
    preparer = spawn<region_preparer>(env);
    manager = spawn<pool_manager>(env, table, std::move(state.shown), shards, preparer, grace, std::move(state.held));
    for (auto& shard : shards) {
      workers.push_back(spawn<store_worker>(env, shard, manager));
      caf::anon_send(shard, wire_shard{workers.back(), manager});
    }
    ledger = spawn<pin_ledger>(env, shards);
    session_neighbours neighbours{shards, workers, manager, ledger, {}};
    door = spawn<actors::door>(env, neighbours, admin_actor{}, std::move(state.sessions));
    new_end();
  }

  // As a kill does: nobody gets to tidy up. The pool can be opened again after it.
  void stop() {
    auto kill = [](const auto& who) { caf::anon_send_exit(who, caf::exit_reason::kill); };
    kill(door);
    kill(ledger);
    kill(manager);
    kill(preparer);
    for (auto& w : workers)
      kill(w);
    for (auto& s : shards)
      kill(s);
    for (auto& o : others)
      kill(o);
    run();
    door = nullptr;
    ledger = nullptr;
    manager = nullptr;
    preparer = nullptr;
    workers.clear();
    shards.clear();
    others.clear();
    system.reset();
  }

  std::function<void()> pause_;
};

// A worker process as marud sees it: who sends the requests, a session, and the lock that says that it lives.
class worker {
public:
  struct options {
    std::uint64_t page_bytes = 0;
    std::uint64_t resume = 0;  // a session to go on with
    std::string secret, pinned, viewed, grants;
    std::string boot_id = {}, host = {};  // empty: of this host
  };
  explicit worker(house& in) : worker(in, options{}) {}
  worker(house& in, const options& o) : in_(&in), end(in.new_end()) {
    hello = ask_of<net::hello_reply>(in.door, hello_of(o));
    session = caf::actor_cast<session_actor>(hello.handle);
    take_lock();
  }

  static net::hello hello_of(const options& o) {
    net::hello m;
    m.instance = "worker";
    auto boot = host_boot_id();
    m.boot_id.assign(boot.bytes.begin(), boot.bytes.end());
    if (!o.boot_id.empty())
      m.boot_id = o.boot_id;
    m.host = o.host;
    m.page_bytes = o.page_bytes;
    m.resume_session = o.resume;
    m.resume_secret = o.secret;
    m.pinned = o.pinned;
    m.viewed = o.viewed;
    m.grants = o.grants;
    return m;
  }
  void take_lock() {
    if (hello.lock_path.empty())
      return;
    if (auto taken = file_lock::acquire(hello.lock_path))
      lock = std::move(*taken);
  }
  options to_resume() const { return {0, hello.session, hello.resume_secret, {}, {}, {}}; }
  session_id id() const { return session_id{hello.session}; }

  // The connection is lost, the process lives; and the process ends.
  void disconnect() { caf::anon_send_exit(end, caf::exit_reason::kill); }
  void die() {
    lock.release();
    disconnect();
  }

  // -- requests: begin_x sends, x waits for the answer
  template <class Reply, class Handle, class Request>
  pending<Reply> begin_with(const Handle& to, Request request) {
    return request_as<Reply>(end, to, std::move(request));
  }
  template <class Reply, class Handle, class Request>
  Reply ask_of(const Handle& to, Request request) {
    auto out = begin_with<Reply>(to, std::move(request));
    in_->run();
    EXPECT_TRUE(out->has_value()) << "no answer";
    return out->value_or(Reply{});
  }

  pending<net::grant_reply> begin_grant(std::uint32_t n) {
    return begin_with<net::grant_reply>(session, net::grant_request{n});
  }
  // Exactly `n` pages, however few come at a time.
  std::vector<page_grant> grant(std::size_t n = 1) {
    std::vector<page_grant> out;
    while (out.size() < n) {
      auto reply = ask_of<net::grant_reply>(session, net::grant_request{static_cast<std::uint32_t>(n - out.size())});
      auto pages = net::decode_grants(reply.grants);
      if (pages->empty())
        break;
      out.insert(out.end(), pages->begin(), pages->end());
    }
    EXPECT_EQ(out.size(), n);
    out.resize(n);
    return out;
  }

  using items = std::vector<std::pair<std::string, page_grant>>;
  static net::commit_request commit_of(const items& wanted) {
    std::vector<net::commit_item> out;
    for (const auto& [key, g] : wanted)
      out.push_back({key, {g.page, 100, g.gen, 0}});
    return {net::encode_commits(out)};
  }
  pending<net::codes_reply> begin_commit(const items& wanted) {
    return begin_with<net::codes_reply>(session, commit_of(wanted));
  }
  std::vector<ec> commit(const items& wanted) { return codes(ask_of<net::codes_reply>(session, commit_of(wanted))); }
  // Grants a page for each key, commits them one by one; the pages.
  std::vector<page_grant> put(const std::vector<std::string>& keys) {
    std::vector<page_grant> out;
    for (const auto& key : keys) {
      out.push_back(grant(1)[0]);
      EXPECT_EQ(commit({{key, out.back()}}), std::vector{ec::ok}) << key;
    }
    return out;
  }

  std::string blob(const std::vector<std::string>& keys) const {
    std::vector<key_hash> out;
    for (const auto& key : keys)
      out.push_back(in_->hash(key));
    return net::encode_hashes(out);
  }
  std::vector<net::found> lookup(const std::vector<std::string>& keys, std::uint8_t flags = 0) {
    return *net::decode_found(ask_of<net::found_reply>(session, net::lookup_request{flags, blob(keys)}).items);
  }
  void pin(const std::vector<std::string>& keys) {
    for (const auto& found : lookup(keys, net::flag_pin))
      EXPECT_EQ(found.code, ec::ok);
  }
  std::vector<ec> unpin(const std::vector<std::string>& keys) {
    return codes(ask_of<net::codes_reply>(session, net::unpin_request{blob(keys)}));
  }
  // A view of each key: what it holds.
  std::vector<pin_id> view(const std::vector<std::string>& keys) {
    std::vector<pin_id> out;
    for (const auto& found : lookup(keys, net::flag_view)) {
      EXPECT_EQ(found.code, ec::ok);
      out.push_back(pin_of(holding::view, in_->hash(keys[out.size()]), found.where));
    }
    return out;
  }
  std::vector<ec> end_views(const std::vector<pin_id>& views) {
    return codes(ask_of<net::codes_reply>(session, net::unpin_request{{}, net::encode_view_pins(views)}));
  }
  pending<net::codes_reply> begin_remove(const std::vector<std::string>& keys) {
    return begin_with<net::codes_reply>(session, net::remove_request{blob(keys)});
  }
  std::vector<ec> remove(const std::vector<std::string>& keys) {
    return codes(ask_of<net::codes_reply>(session, net::remove_request{blob(keys)}));
  }
  ec renew() { return static_cast<ec>(ask_of<net::renew_reply>(session, net::renew_request{}).code); }
  ec close() { return static_cast<ec>(ask_of<net::close_reply>(session, net::close_request{}).code); }

  // The codes of a reply as a whole: one code where it was refused as such.
  static std::vector<ec> codes(const net::codes_reply& r) {
    if (r.code != 0)
      return {static_cast<ec>(r.code)};
    return *net::decode_codes(r.codes);
  }

private:
  house* in_;

public:
  caf::actor end;
  net::hello_reply hello;
  session_actor session;
  file_lock lock;
};

}  // namespace maru::actors::test
