// A process end for tests of the transport: an actor system with the hardened transport, an actor at a port of
// loopback, and what was refused.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net/transport.hpp"
#include "raw_peer.hpp"

namespace maru::test {

inline bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds limit = 20s) {
  auto deadline = test_clock::now() + limit;
  while (!holds()) {
    if (test_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

// What a test's actor saw.
struct counters {
  std::atomic<int> messages{0};
  std::atomic<int> downs{0};
};

// Answers n with n + 1 and texts with themselves.
inline caf::behavior echo(caf::event_based_actor* self, std::shared_ptr<counters> seen) {
  self->set_default_handler([seen](caf::scheduled_actor*, caf::message_view&) -> caf::result<caf::message> {
    ++seen->messages;
    return caf::sec::unexpected_message;
  });
  self->set_down_handler([seen](caf::down_msg&) { ++seen->downs; });
  return {[=](std::int32_t n) {
            ++seen->messages;
            return n + 1;
          },
          [=](std::string& text) {
            ++seen->messages;
            return std::move(text);
          }};
}

class endpoint {
public:
  explicit endpoint(net::transport_options options = {}) {
    options.on_reject = [this](std::string_view why) {
      std::lock_guard guard(mutex_);
      ++refused_[std::string(why)];
    };
    net::configure_transport(cfg_, options);
    system_ = std::make_unique<caf::actor_system>(cfg_);
  }
  ~endpoint() {
    for (auto& actor : kept_)
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    kept_.clear();
    actor_ = nullptr;
    system_.reset();
  }

  // An endpoint with an echo actor at a port.
  static std::unique_ptr<endpoint> server(net::transport_options options = {}) {
    options.server = true;
    auto made = std::make_unique<endpoint>(options);
    made->actor_ = made->system().spawn(echo, made->seen_);
    made->port_ = made->publish(made->actor_);
    return made;
  }

  // The port of loopback where `actor` is now; 0 on failure. It ends with this endpoint.
  std::uint16_t publish(const caf::actor& actor) {
    kept_.push_back(actor);
    auto port = system().middleman().publish(actor, 0, "127.0.0.1");
    return port ? *port : 0;
  }
  // Ends `actor` with this endpoint: the system would wait for it for ever.
  void keep(const caf::actor& actor) { kept_.push_back(actor); }

  caf::actor_system& system() { return *system_; }
  const caf::actor& actor() const { return actor_; }
  std::uint16_t port() const { return port_; }
  counters& seen() { return *seen_; }
  int refused(const std::string& why) {
    std::lock_guard guard(mutex_);
    auto it = refused_.find(why);
    return it == refused_.end() ? 0 : it->second;
  }
  std::map<std::string, int> refused() {
    std::lock_guard guard(mutex_);
    return refused_;
  }

  caf::expected<caf::actor> connect(std::uint16_t port) { return system().middleman().remote_actor("127.0.0.1", port); }

  // n + 1 from the actor; -1 on any error.
  std::int32_t ask(const caf::actor& who, std::int32_t n) {
    caf::scoped_actor self(system());
    std::int32_t answer = -1;
    self->request(who, std::chrono::seconds(20), n).receive([&](std::int32_t m) { answer = m; }, [&](caf::error&) {});
    return answer;
  }

private:
  std::mutex mutex_;
  std::map<std::string, int> refused_;
  std::shared_ptr<counters> seen_ = std::make_shared<counters>();
  caf::actor_system_config cfg_;
  std::unique_ptr<caf::actor_system> system_;
  caf::actor actor_;
  std::vector<caf::actor> kept_;
  std::uint16_t port_ = 0;
};

// A raw peer that has done its handshake with `to`.
inline raw_peer greeted(endpoint& to, const std::string& node = node_bytes(77)) {
  raw_peer peer(to.port());
  peer.receive_frame();
  peer.send(client_hello(node));
  return peer;
}

// The node id that a server tells in its handshake.
inline std::string server_node(endpoint& of) {
  raw_peer peer(of.port());
  return peer.receive_frame().substr(32, 32);
}

// An int32 request; the peer's actor 1 asks.
inline std::string ask_frame(const caf::actor& whom, std::int32_t n, std::uint64_t id = 1, std::uint64_t source = 1) {
  return to_bytes({direct_message, message_bytes("@i32", big_endian(static_cast<std::uint32_t>(n))), request_id(id),
                   source, whom.id()});
}

// The server still serves: a fresh real client gets its answer.
inline ::testing::AssertionResult serves(endpoint& server) {
  endpoint client;
  auto remote = client.connect(server.port());
  if (!remote)
    return ::testing::AssertionFailure() << "no connection: " << client.system().render(remote.error());
  auto answer = client.ask(*remote, 41);
  if (answer != 42)
    return ::testing::AssertionFailure() << "answer " << answer;
  return ::testing::AssertionSuccess();
}

inline std::size_t resident_bytes() {
  std::size_t total = 0, resident = 0;
  if (auto* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%zu %zu", &total, &resident) != 2)
      resident = 0;
    std::fclose(file);
  }
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// A bound on growth; AddressSanitizer holds back freed memory (256 MiB of it).
inline std::size_t growth_max(std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  return bytes + (std::size_t{300} << 20);
#else
  return bytes;
#endif
}

}  // namespace maru::test
