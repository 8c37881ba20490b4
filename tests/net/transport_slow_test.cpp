// Goal: the transport stands long abuse: many idle connections, noise, and recorded sessions of a real client with
// bytes changed. Method: raw sockets against one server that must serve a real client all the while and grow little.
// The seed is printed and can be given in MARU_SEED.
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "tests/support/random_run.hpp"
#include "transport_fixture.hpp"

namespace maru::test {
namespace {

TEST(TransportSlow, FiveHundredIdleConnectionsLeaveAClientWorking) {
  net::transport_options options;
  options.handshake_timeout = 3s;
  auto server = endpoint::server(options);
  endpoint client;
  auto remote = client.connect(server->port());
  ASSERT_TRUE(remote);
  std::vector<raw_peer> idle;
  for (std::uint32_t i = 0; i < 500; ++i) {
    if (i % 2 == 0)
      idle.emplace_back(server->port());
    else
      idle.push_back(greeted(*server, node_bytes(1000 + i)));
    ASSERT_TRUE(idle.back().open());
  }
  for (std::int32_t i = 0; i < 2000; ++i)
    ASSERT_EQ(client.ask(*remote, i), i + 1);
  EXPECT_TRUE(serves(*server));
  EXPECT_TRUE(eventually([&] { return server->refused("silent") == 250; }, 10s));
  EXPECT_EQ(client.ask(*remote, 7), 8);
}

TEST(TransportSlow, NoiseStopsNothing) {
  std::mt19937_64 random(test_seed());
  net::transport_options options;
  options.handshake_timeout = 1s;
  auto server = endpoint::server(options);
  ASSERT_TRUE(serves(*server));
  auto before = resident_bytes();
  for (int round = 0; round < 2000; ++round) {
    std::string noise(random() % 512, '\0');
    for (auto& c : noise)
      c = static_cast<char>(random());
    auto peer = round % 2 == 0 ? raw_peer(server->port())
                               : greeted(*server, node_bytes(1 + static_cast<std::uint32_t>(random() % 50)));
    peer.send(noise);
    if (round % 500 == 0) {
      ASSERT_TRUE(serves(*server));
    }
  }
  EXPECT_TRUE(serves(*server));
  EXPECT_LT(resident_bytes(), before + growth_max(32 << 20));
}

// What a real client sends to `server` in a session of a few requests: a relay stands between and writes it down.
std::string record_session(endpoint& server) {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(listener, 1) != 0)
    return {};
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  std::string said;
  std::atomic<bool> done{false};
  std::thread relay([&] {
    raw_peer client(::accept(listener, nullptr, nullptr), nullptr), target(server.port());
    while (!done) {
      auto there = client.receive(65536, 1ms);
      said += there;
      target.send(there);
      client.send(target.receive(65536, 1ms));
    }
  });
  {
    net::transport_options options;
    options.heartbeat = 20ms;
    endpoint client(options);
    auto remote = client.connect(ntohs(at.sin_port));
    if (remote) {
      for (std::int32_t i = 0; i < 4; ++i)
        EXPECT_EQ(client.ask(*remote, i), i + 1);
      caf::scoped_actor self(client.system());
      self->request(*remote, std::chrono::seconds(5), std::string(300, 'm'))
        .receive([](std::string&) {}, [](caf::error&) {});
      std::this_thread::sleep_for(60ms);  // a heartbeat or two belong to the record
    }
    remote = caf::sec::none;
  }
  done = true;
  relay.join();
  ::close(listener);
  return said;
}

void mutate(std::string& bytes, std::mt19937_64& random) {
  static constexpr char extremes[] = {0, 1, 2, 127, -128, -1};
  for (auto n = 1 + random() % 4; n > 0 && !bytes.empty(); --n) {
    auto at = random() % bytes.size();
    auto span = std::min<std::size_t>(1 + random() % 40, bytes.size() - at);
    switch (random() % 6) {
      case 0: bytes[at] = static_cast<char>(random()); break;
      case 1: bytes[at] = extremes[random() % sizeof extremes]; break;
      case 2: bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8)); break;
      case 3: bytes.erase(at, span); break;
      case 4: bytes.insert(at, bytes.substr(random() % bytes.size(), span)); break;
      case 5: bytes.resize(at); break;
    }
  }
}

TEST(TransportSlow, MutatedSessionsStopNothing) {
  std::mt19937_64 random(test_seed());
  net::transport_options options;
  options.handshake_timeout = 1s;
  options.connection_timeout = 4s;
  auto server = endpoint::server(options);
  auto session = record_session(*server);
  ASSERT_GT(session.size(), 500u);
  raw_peer(server->port()).send(session);
  auto before = resident_bytes();
  std::vector<raw_peer> open;
  for (int round = 0; round < 4000; ++round) {
    auto bytes = session;
    mutate(bytes, random);
    open.emplace_back(server->port());
    open.back().send(bytes);
    if (open.size() > 64)
      open.clear();
    if (round % 1000 == 0) {
      ASSERT_TRUE(serves(*server));
    }
  }
  open.clear();
  EXPECT_TRUE(serves(*server));
  EXPECT_LT(resident_bytes(), before + growth_max(64 << 20));
  std::printf("refused: %s\n", ::testing::PrintToString(server->refused()).c_str());
}

}  // namespace
}  // namespace maru::test
