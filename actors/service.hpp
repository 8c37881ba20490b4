// All of marud but its main: opens pool and state, recovers, starts the actors in order, publishes the door, and stops
// everything in the reverse order.
//
// Concurrency: start and stop from one thread; `status_json`, `silent_actor` and `ready` from any.
// Limits: one service per process and pool (the pool's lock sees to the second).
#pragma once

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "actors/actors.hpp"
#include "actors/environment.hpp"
#include "actors/recovery.hpp"
#include "base/repeated.hpp"
#include "metrics/http_server.hpp"
#include "net/doors.hpp"

namespace maru::actors {

class service {
public:
  // Errors carry the sentence for the operator; see exit_code in app/marud.cpp.
  static result<std::unique_ptr<service>> start(const marud_options& options);
  ~service();
  service(const service&) = delete;

  // What is served: "/dev/dax0.0", "/dev/dax0.0 and 1 more device".
  const std::string& serves() const { return serves_; }
  // Where workers connect: "at unix:/run/maru/maru.sock, on port 5555".
  std::string listens_at() const;
  std::uint16_t http_port() const { return http_ ? http_->port() : 0; }
  bool ready() const { return ready_; }
  // Whether all actors have answered lately: a marud that is not healthy only a new start helps.
  bool healthy() const;
  std::string status_json() const;
  // Name of an actor that does not answer within the time, for all of them together; empty: all do. Not once stop() began.
  std::string silent_actor(std::chrono::milliseconds within) const;

  // Refuses new requests, waits at most bounds::drain_max for those in flight, writes RocksDB's buffers, ends the actors.
  void stop();

private:
  explicit service(const marud_options& options);
  status open_state();
  status open_pool();
  status start_actors();
  status publish();

  std::shared_ptr<environment> env_;
  std::string serves_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  bool store_knows_pool_ = false;
  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> system_;
  std::vector<index_shard_actor> shards_;
  std::vector<store_worker_actor> workers_;
  region_preparer_actor preparer_;
  pool_manager_actor pool_manager_;
  pin_ledger_actor ledger_;
  admin_actor admin_;
  door_actor door_;
  std::unique_ptr<net::doors> doors_;
  std::unique_ptr<metrics::http_server> http_;
  std::atomic<std::chrono::steady_clock::time_point> heard_{begun_};  // when all actors answered last
  std::unique_ptr<repeated> pulse_;
  std::atomic<bool> ready_{false};
  bool stopped_ = false;
};

}  // namespace maru::actors
