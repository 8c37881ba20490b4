// Goal: what the product needs of CAF works through the hardened transport: requests in both directions, heartbeats,
// monitors, clear failures. Method: two actor systems on loopback, and real processes (this program started again
// with an argument) where one has to die or to have few file descriptors.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "net/protocol.hpp"
#include "transport_fixture.hpp"

extern char** environ;

namespace maru::test {
namespace {

// This program in another role, with its standard output to read.
class child {
public:
  explicit child(std::vector<std::string> arguments) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      return;
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    std::vector<char*> argv{const_cast<char*>("/proc/self/exe")};
    for (auto& a : arguments)
      argv.push_back(a.data());
    argv.push_back(nullptr);
    if (::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ) != 0)
      pid_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    out_ = ::fdopen(ends[0], "r");
  }
  child(const child&) = delete;
  ~child() {
    end(SIGKILL);
    if (out_ != nullptr)
      std::fclose(out_);
  }
  std::string line() {
    char text[256] = "";
    if (std::fgets(text, sizeof text, out_) == nullptr)
      return {};
    text[std::strcspn(text, "\n")] = 0;
    return text;
  }
  void signal(int number) {
    if (pid_ > 0)
      ::kill(pid_, number);
  }
  void end(int number) {
    if (pid_ <= 0)
      return;
    ::kill(pid_, number);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

private:
  pid_t pid_ = -1;
  std::FILE* out_ = nullptr;
};

net::transport_options with_heartbeats() {
  net::transport_options options;
  options.heartbeat = 50ms;
  options.connection_timeout = 800ms;
  return options;
}

TEST(Transport, RequestsPassInBothDirectionsWithHeartbeats) {
  auto server = endpoint::server(with_heartbeats());
  endpoint client(with_heartbeats());
  auto remote = client.connect(server->port());
  ASSERT_TRUE(remote);
  EXPECT_EQ(client.ask(*remote, 1), 2);

  // Twice the connection timeout without a message: only heartbeats keep it.
  std::this_thread::sleep_for(1600ms);
  EXPECT_EQ(client.ask(*remote, 2), 3);
  EXPECT_TRUE(server->refused().empty());
  EXPECT_TRUE(client.refused().empty());
}

// Asks n * factor of whoever asks it n, and passes the answer on.
caf::behavior ask_back(caf::event_based_actor* self, std::int32_t factor) {
  return {[=](std::int32_t n) {
    auto who = caf::actor_cast<caf::actor>(self->current_sender());
    auto answer = self->make_response_promise<std::int32_t>();
    self->request(who, std::chrono::seconds(20), n * factor)
      .then([=](std::int32_t m) mutable { answer.deliver(m); },
            [=](caf::error& e) mutable { answer.deliver(std::move(e)); });
    return answer;
  }};
}

TEST(Transport, ServerAsksAnActorOfTheClient) {
  auto server = endpoint::server();
  endpoint client;
  auto remote = client.connect(server->port());
  ASSERT_TRUE(remote);
  // It asks whoever asks it: handles do not travel in messages to a server.
  auto asker = server->system().spawn(ask_back, 10);
  auto door = client.connect(server->publish(asker));
  ASSERT_TRUE(door);
  std::atomic<int> result{0};
  auto worker = client.system().spawn(
    [&](caf::event_based_actor* self, const caf::actor& to) -> caf::behavior {
      self->request(to, std::chrono::seconds(20), std::int32_t{4}).then([&](std::int32_t m) { result = m; });
      return {[](std::int32_t n) { return n + 1; }};
    },
    *door);
  client.keep(worker);
  EXPECT_TRUE(eventually([&] { return result == 41; })) << result;
}

TEST(Transport, StockCafClientIsServed) {
  auto server = endpoint::server();
  caf::actor_system_config cfg;
  cfg.set("middleman.app-identifiers", std::vector<std::string>{"maru/" + std::to_string(net::protocol_version)});
  cfg.load<caf::io::middleman>();
  caf::actor_system stock(cfg);
  {
    auto remote = stock.middleman().remote_actor("127.0.0.1", server->port());
    ASSERT_TRUE(remote);
    caf::scoped_actor self(stock);
    std::int32_t answer = 0;
    self->request(*remote, std::chrono::seconds(20), std::int32_t{1})
      .receive([&](std::int32_t m) { answer = m; }, [](caf::error&) {});
    EXPECT_EQ(answer, 2);
  }
  EXPECT_TRUE(server->refused().empty()) << ::testing::PrintToString(server->refused());
}

TEST(Transport, LargeAndManySmallMessagesArriveWhole) {
  auto server = endpoint::server();
  endpoint client;
  auto remote = client.connect(server->port());
  ASSERT_TRUE(remote);
  caf::scoped_actor self(client.system());
  for (std::size_t size : {0ul, 1ul, 16ul * 1024, 16ul * 1024 + 1, 300'000ul, 4ul << 20}) {
    std::string text(size, 'a');
    for (std::size_t i = 0; i < size; i += 997)
      text[i] = static_cast<char>(i);
    std::string back;
    self->request(*remote, std::chrono::seconds(20), text)
      .receive([&](std::string& s) { back = std::move(s); }, [&](caf::error&) { ADD_FAILURE() << size; });
    EXPECT_EQ(back, text);
  }
  std::atomic<int> right{0};
  constexpr int count = 5000;
  // Actors without arguments make CAF dereference a null pointer to nothing, which UBSan reports.
  client.system().spawn(
    [&](caf::event_based_actor* worker, const caf::actor& to) {
      for (std::int32_t i = 0; i < count; ++i)
        worker->request(to, std::chrono::seconds(20), i).then([&, i](std::int32_t m) { right += m == i + 1; });
    },
    *remote);
  EXPECT_TRUE(eventually([&] { return right == count; })) << right;
}

TEST(Transport, RequestToADeadActorFails) {
  auto server = endpoint::server();
  endpoint client;
  auto remote = client.connect(server->port());
  ASSERT_TRUE(remote);
  EXPECT_EQ(client.ask(*remote, 1), 2);
  caf::anon_send_exit(server->actor(), caf::exit_reason::user_shutdown);
  EXPECT_TRUE(eventually([&] { return client.ask(*remote, 1) == -1; }));
}

// Answers n with n + 1 and monitors whoever asks.
caf::behavior watch(caf::event_based_actor* self, std::shared_ptr<counters> seen) {
  self->set_down_handler([seen](caf::down_msg&) { ++seen->downs; });
  return {[=](std::int32_t n) {
    self->monitor(self->current_sender());
    ++seen->messages;
    return n + 1;
  }};
}

TEST(Transport, KilledClientIsNoticedWithin100Milliseconds) {
  auto seen = std::make_shared<counters>();
  auto server = endpoint::server();
  auto watcher = server->system().spawn(watch, seen);
  auto port = server->publish(watcher);
  // The best of five: a loaded machine may be late.
  auto best = test_clock::duration::max();
  for (int round = 1; round <= 5; ++round) {
    child client({"--client", std::to_string(port)});
    ASSERT_EQ(client.line(), "connected");
    ASSERT_EQ(seen->messages, round);
    auto start = test_clock::now();
    client.signal(SIGKILL);
    EXPECT_TRUE(eventually([&] { return seen->downs == round; }));
    best = std::min(best, test_clock::now() - start);
  }
  EXPECT_LT(best, 100ms);
}

TEST(Transport, StoppedClientIsNoticedByItsSilence) {
  auto seen = std::make_shared<counters>();
  auto server = endpoint::server(with_heartbeats());
  auto watcher = server->system().spawn(watch, seen);
  auto port = server->publish(watcher);
  child client({"--client", std::to_string(port)});
  ASSERT_EQ(client.line(), "connected");
  client.signal(SIGSTOP);
  EXPECT_TRUE(eventually([&] { return seen->downs == 1; }));
  EXPECT_EQ(server->refused("timeout"), 1);
}

TEST(Transport, NodeIdsOfTwoProcessesShareNothing) {
  child first({"--node"}), second({"--node"});
  auto a = first.line(), b = second.line();
  ASSERT_EQ(a.find('#'), 40u);
  ASSERT_EQ(b.find('#'), 40u);
  // Before the '#' stands what stock CAF makes of the host alone: the same for both.
  EXPECT_NE(a.substr(0, 40), b.substr(0, 40));
  int same = 0;
  for (std::size_t i = 0; i < 40; ++i)
    same += a[i] == b[i];
  EXPECT_LT(same, 20);
}

TEST(Transport, ConnectToASilentServerFailsInTime) {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  net::transport_options options;
  options.handshake_timeout = 200ms;
  endpoint client(options);
  auto start = test_clock::now();
  EXPECT_FALSE(client.connect(ntohs(at.sin_port)));
  EXPECT_LT(test_clock::now() - start, 4s);
  EXPECT_EQ(client.refused("silent"), 1);
  ::close(listener);
}

TEST(Transport, ConnectToAServerOfAnotherVersionFails) {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  std::thread server([&] {
    // Another version, no payload, another program: for each one connection.
    auto fitting =
      node_bytes(5) + length_bytes(1) + text_bytes("maru/1") + big_endian(std::uint64_t{3}) + length_bytes(0);
    auto foreign =
      node_bytes(5) + length_bytes(1) + text_bytes("other") + big_endian(std::uint64_t{3}) + length_bytes(0);
    for (const auto& hello : {to_bytes({server_handshake, fitting, 4}), to_bytes({server_handshake, "", 3}),
                              to_bytes({server_handshake, foreign, 3})}) {
      raw_peer peer(::accept(listener, nullptr, nullptr), nullptr);
      peer.send(hello);
      peer.closes();
    }
  });
  endpoint client;
  for (int i = 0; i < 3; ++i)
    EXPECT_FALSE(client.connect(ntohs(at.sin_port)));
  server.join();
  ::close(listener);
  EXPECT_EQ(client.refused("handshake"), 2);
}

TEST(Transport, ClientConnectsAgainAfterItsServerDied) {
  auto server = endpoint::server();
  endpoint client;
  for (int round = 0; round < 20; ++round) {
    auto remote = client.connect(server->port());
    ASSERT_TRUE(remote);
    EXPECT_EQ(client.ask(*remote, round), round + 1);
    server = endpoint::server();
  }
}

TEST(Transport, FewFileDescriptorsAreNotUsedUp) {
  child server({"--server", "80"});
  auto port = static_cast<std::uint16_t>(std::atoi(server.line().c_str()));
  ASSERT_GT(port, 0);
  {
    endpoint early;
    auto remote = early.connect(port);
    ASSERT_TRUE(remote);
    std::vector<raw_peer> flood;
    for (int i = 0; i < 200; ++i)
      flood.emplace_back(port);
    int kept = 0;
    for (auto& peer : flood)
      kept += !peer.receive_frame(1s).empty();
    EXPECT_GT(kept, 5);
    EXPECT_LT(kept, 40);
    EXPECT_EQ(early.ask(*remote, 1), 2);
  }
  EXPECT_TRUE(eventually([&] {
    endpoint late;
    auto remote = late.connect(port);
    return remote && late.ask(*remote, 1) == 2;
  }));
}

TEST(Transport, SystemStopsWhilePeersStayConnected) {
  auto server = endpoint::server();
  auto reader = greeted(*server, node_bytes(1));
  auto text = message_bytes("@str", text_bytes(std::string(64 * 1024, 't')));
  // More than the kernel holds waits for a peer that does not read.
  for (std::uint64_t id = 1; id < 200; ++id)
    reader.send(to_bytes({direct_message, text, request_id(id), 1, server->actor().id()}));
  raw_peer idle(server->port());
  auto start = test_clock::now();
  server.reset();
  EXPECT_LT(test_clock::now() - start, 4s);
}

int run_client(std::uint16_t port) {
  net::transport_options options;
  options.heartbeat = 50ms;
  endpoint client(options);
  auto remote = client.connect(port);
  if (!remote)
    return 1;
  caf::scoped_actor self(client.system());
  bool answered = false;
  self->request(*remote, std::chrono::seconds(20), 1)
    .receive([&](std::int32_t) { answered = true; }, [](caf::error&) {});
  std::puts(answered ? "connected" : "failed");
  std::fflush(stdout);
  ::pause();
  return 0;
}

int run_server(rlim_t files) {
  rlimit limit{files, files};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return 1;
  auto server = endpoint::server();
  std::printf("%u\n", static_cast<unsigned>(server->port()));
  std::fflush(stdout);
  ::pause();
  return 0;
}

int run_node() {
  endpoint one;
  std::puts(caf::to_string(one.system().node()).c_str());
  return 0;
}

}  // namespace
}  // namespace maru::test

int main(int argc, char** argv) {
  std::string role = argc > 1 ? argv[1] : "";
  if (role == "--client")
    return maru::test::run_client(static_cast<std::uint16_t>(std::atoi(argv[2])));
  if (role == "--server")
    return maru::test::run_server(static_cast<rlim_t>(std::atoi(argv[2])));
  if (role == "--node")
    return maru::test::run_node();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
