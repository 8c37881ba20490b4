// Goal: no peer without a handshake, and no peer with one, can stop, command or grow the process through the
// transport. Method: raw sockets on loopback send what CAF itself never would; then the peer must be closed with the
// right word, the published actor must not have seen a message, and a real client must still be served.
#include <algorithm>
#include <string>
#include <vector>

#include "transport_fixture.hpp"

namespace maru::test {
namespace {

net::transport_options quick() {
  net::transport_options options;
  options.handshake_timeout = 500ms;
  return options;
}

// Sends `bytes` after a handshake and expects the peer to be closed for `why` before the actor sees anything.
void expect_refused(const std::string& bytes, const std::string& why) {
  auto server = endpoint::server();
  auto peer = greeted(*server);
  ASSERT_TRUE(peer.send(bytes));
  EXPECT_TRUE(peer.closes()) << why;
  EXPECT_EQ(server->refused(why), 1) << ::testing::PrintToString(server->refused());
  EXPECT_EQ(server->seen().messages, 0);
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, HandshakeWithoutPayloadDoesNotStopTheServer) {
  auto server = endpoint::server();
  for (auto op : {client_handshake, server_handshake}) {
    raw_peer peer(server->port());
    peer.send(to_bytes({op, "", op == server_handshake ? 3u : 0u}));
    EXPECT_TRUE(peer.closes());
  }
  EXPECT_EQ(server->refused("handshake"), 2);
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, HugeLengthDoesNotGrowTheServer) {
  auto server = endpoint::server();
  ASSERT_TRUE(serves(*server));
  auto before = resident_bytes();
  std::vector<raw_peer> peers;
  for (int i = 0; i < 16; ++i) {
    raw_peer fresh(server->port());
    fresh.send(to_bytes({client_handshake, "", 0, 0, 0, 0, 0, 0xffffffff}));
    EXPECT_TRUE(fresh.closes());
    auto known = greeted(*server, node_bytes(100));
    known.send(to_bytes({direct_message, "", request_id(1), 1, server->actor().id(), 0, 0, 0xffffffff}));
    EXPECT_TRUE(known.closes());
    // The largest allowed length costs nothing before its bytes arrive.
    peers.push_back(greeted(*server, node_bytes(200 + static_cast<std::uint32_t>(i))));
    peers.back().send(to_bytes({direct_message, "", request_id(1), 1, server->actor().id(), 0, 0, 8 << 20}));
  }
  EXPECT_TRUE(serves(*server));
  EXPECT_LT(resident_bytes(), before + growth_max(8 << 20));
  EXPECT_EQ(server->refused("too_large"), 16);
}

TEST(TransportAbuse, IncompleteFramesOfAllPeersTogetherAreBounded) {
  net::transport_options options;
  options.payload_bytes_max = 64 * 1024;
  options.held_bytes_max = 16 * options.payload_bytes_max;
  auto server = endpoint::server(options);
  std::vector<raw_peer> peers;
  for (std::uint32_t i = 0; i < 40; ++i) {
    peers.push_back(greeted(*server, node_bytes(200 + i)));
    peers.back().send(
      to_bytes({direct_message, std::string(60 * 1024, 'x'), request_id(1), 1, server->actor().id(), 0, 0, 64 * 1024}));
  }
  EXPECT_TRUE(eventually([&] { return server->refused("too_large") >= 20; }));
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, MessagesBeforeAHandshakeAreRefused) {
  auto server = endpoint::server();
  auto self = node_bytes(77), own = server_node(*server);
  for (const auto& bytes : {ask_frame(server->actor(), 1), to_bytes({heartbeat}),
                            to_bytes({monitor_message, self + own, 0, 0, server->actor().id()}),
                            to_bytes({down_message, self + own + std::string(9, '\1'), 0, 1, 0})}) {
    raw_peer peer(server->port());
    peer.send(bytes);
    EXPECT_TRUE(peer.closes());
  }
  EXPECT_EQ(server->refused("handshake"), 4);
  EXPECT_EQ(server->seen().messages, 0);
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, ExitLinkAndErrorMessagesEndNoActor) {
  auto server = endpoint::server();
  auto kill = std::string(1, '\4') + big_endian(atom_of("exit")) + message_within("", "");
  auto nobody = big_endian(std::uint64_t{9}) + node_bytes(77);
  const std::pair<std::string, std::string> commands[] = {
    {"@exit", nobody + kill},
    {"@error", kill},
    {"@down", nobody + kill},
    {"@atom+@strong_actor_ptr", big_endian(atom_of("link")) + nobody},
    {"@atom+@strong_actor_ptr", big_endian(atom_of("unlink")) + nobody},
    {"@timeout", big_endian(atom_of("receive")) + big_endian(std::uint64_t{1})},
    {"@i32+@exit", big_endian(std::uint32_t{1}) + nobody + kill},
  };
  for (const auto& [types, values] : commands) {
    for (std::uint64_t id = 1; id <= 40; ++id) {
      auto peer = greeted(*server);
      peer.send(to_bytes({direct_message, message_bytes(types, values), request_id(1), 9, id}));
      EXPECT_TRUE(peer.closes()) << types;
    }
  }
  EXPECT_TRUE(eventually([&] { return server->refused("forbidden") == 280; }));
  EXPECT_EQ(server->seen().messages, 0);
  EXPECT_EQ(server->seen().downs, 0);
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, ConfigAndSpawnServersAreNotReached) {
  auto server = endpoint::server();
  auto put = message_bytes("@atom+@str+@str", big_endian(atom_of("put")) + text_bytes("key") + text_bytes("value"));
  auto info =
    message_bytes("@atom+@atom+@str", big_endian(atom_of("sys")) + big_endian(atom_of("get")) + text_bytes("info"));
  for (const char* name : {"ConfigServ", "SpawnServ", "StreamServ", "BASP"}) {
    for (auto id : {async_id, request_id(5)}) {
      auto peer = greeted(*server);
      peer.send(to_bytes({direct_message, put, id, 1, atom_of(name), 1})
                + to_bytes({direct_message, info, request_id(6), 1, atom_of(name), 1}));
      EXPECT_TRUE(peer.closes()) << name;
    }
  }
  EXPECT_EQ(server->refused("forbidden"), 8);
  // What a stock CAF client sends on connecting is dropped, and no reason to close.
  auto peer = greeted(*server);
  peer.send(to_bytes({direct_message, info, async_id, 1, atom_of("SpawnServ"), 1}) + ask_frame(server->actor(), 7));
  auto monitor = peer.receive_frame(), answer = peer.receive_frame();
  EXPECT_EQ(monitor.substr(0, 1), std::string(1, monitor_message));
  EXPECT_EQ(answer.substr(answer.size() - 4), big_endian(std::uint32_t{8}));
  // Nothing was stored.
  caf::scoped_actor self(server->system());
  auto config = caf::actor_cast<caf::actor>(server->system().config_serv());
  bool found = true;
  self->request(config, std::chrono::seconds(5), caf::get_atom_v, "key")
    .receive([&](std::string&, caf::message& value) { found = !value.empty(); }, [&](caf::error&) {});
  EXPECT_FALSE(found);
}

TEST(TransportAbuse, RoutingByThirdNodesIsRefused) {
  auto payload = node_bytes(5) + node_bytes(6) + message_bytes("@i32", big_endian(std::uint32_t{1}));
  expect_refused(to_bytes({routed_message, payload, async_id, 1, 4}), "forbidden");
}

TEST(TransportAbuse, NestedMessagesAndHandlesAreRefused) {
  std::string nested;
  for (int depth = 0; depth < 50000; ++depth)
    nested += message_within("@message", "");
  nested += message_within("", "");
  expect_refused(to_bytes({direct_message, message_bytes("@message", nested), request_id(1), 1, 4}), "forbidden");
  auto handle = big_endian(std::uint64_t{3}) + node_bytes(1234);
  for (const char* type : {"@actor", "@addr", "@strong_actor_ptr", "@weak_actor_ptr", "@actorvec"})
    expect_refused(to_bytes({direct_message, message_bytes(type, handle), request_id(1), 1, 4}), "forbidden");
}

TEST(TransportAbuse, StreamCategoriesAreRefused) {
  auto payload = message_bytes("@i32", big_endian(std::uint32_t{1}));
  for (std::uint64_t category : {2, 3})
    expect_refused(to_bytes({direct_message, payload, category << 60 | 1, 1, 4}), "forbidden");
}

TEST(TransportAbuse, ResponsesNobodyAskedForAreRefused) {
  auto payload = message_bytes("@i32", big_endian(std::uint32_t{1}));
  expect_refused(to_bytes({direct_message, payload, response_bit | request_id(1), 1, 4}), "forbidden");
}

TEST(TransportAbuse, OnePeerCannotSpeakForAnother) {
  auto server = endpoint::server();
  auto own = server_node(*server);
  auto first = greeted(*server, node_bytes(1));
  first.send(ask_frame(server->actor(), 1));
  first.receive_frame();
  first.receive_frame();
  auto gone = std::string(1, '\4') + big_endian(atom_of("exit")) + message_within("", "");
  for (const auto& bytes : {to_bytes({down_message, node_bytes(1) + own + gone, 0, 1, 0}),
                            to_bytes({monitor_message, node_bytes(1) + own, 0, 0, server->actor().id()}),
                            to_bytes({monitor_message, node_bytes(2) + node_bytes(1), 0, 0, 1})}) {
    auto second = greeted(*server, node_bytes(2));
    second.send(bytes);
    EXPECT_TRUE(second.closes());
  }
  EXPECT_EQ(server->refused("forbidden"), 3);
  first.send(ask_frame(server->actor(), 8, 2));
  auto answer = first.receive_frame();
  ASSERT_GT(answer.size(), 32u);
  EXPECT_EQ(answer.substr(answer.size() - 4), big_endian(std::uint32_t{9}));
}

TEST(TransportAbuse, OneConnectionIsOneNode) {
  auto server = endpoint::server();
  auto own = server_node(*server);
  // CAF's client says its handshake twice.
  auto twice = greeted(*server, node_bytes(3));
  twice.send(to_bytes({client_handshake, node_bytes(3), 0, 0, 0, 2}) + ask_frame(server->actor(), 1));
  EXPECT_FALSE(twice.receive_frame().empty());
  twice.send(client_hello(node_bytes(4)));
  EXPECT_TRUE(twice.closes());
  // Not the server's own id, and not the id of nobody.
  for (const auto& node : {own, std::string(32, '\0'), node_bytes(0), node_bytes(1, '\0')}) {
    raw_peer peer(server->port());
    peer.send(client_hello(node));
    EXPECT_TRUE(peer.closes());
  }
  EXPECT_EQ(server->refused("handshake"), 5);
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, ActorsOfOnePeerAreBounded) {
  auto server = endpoint::server();
  auto peer = greeted(*server);
  std::string burst;
  bool sent = true;
  for (std::uint64_t source = 1; source < 20000 && sent; ++source) {
    burst += ask_frame(server->actor(), 1, source, source);
    if (burst.size() < 60000)
      continue;
    sent = peer.send(burst);
    peer.receive(1 << 20, 0ms);
    burst.clear();
  }
  EXPECT_TRUE(peer.closes());
  EXPECT_EQ(server->refused("actors"), 1);
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, HalfOpenConnectionsAreClosedInTime) {
  auto server = endpoint::server(quick());
  auto start = test_clock::now();
  raw_peer silent(server->port()), slow(server->port());
  slow.send(client_hello(node_bytes(1)).substr(0, 40));
  EXPECT_TRUE(silent.closes());
  EXPECT_TRUE(slow.closes());
  auto took = test_clock::now() - start;
  EXPECT_GE(took, 400ms);
  EXPECT_LT(took, 4s);
  EXPECT_EQ(server->refused("silent"), 2);
}

TEST(TransportAbuse, PeerThatFallsSilentOrStopsInAFrameIsClosed) {
  auto options = quick();
  options.heartbeat = 50ms;
  options.connection_timeout = 300ms;
  auto server = endpoint::server(options);
  auto silent = greeted(*server, node_bytes(1)), trickle = greeted(*server, node_bytes(2));
  trickle.send(to_bytes({direct_message, "", request_id(1), 1, 4, 0, 0, 1 << 20}));
  auto deadline = test_clock::now() + 5s;
  while (test_clock::now() < deadline && trickle.send("x"))
    std::this_thread::sleep_for(10ms);
  EXPECT_LT(test_clock::now(), deadline);
  EXPECT_TRUE(silent.closes());
  EXPECT_EQ(server->refused("timeout"), 2);
}

TEST(TransportAbuse, ConnectionsOverTheBoundAreClosedAtOnce) {
  net::transport_options options;
  options.connections_max = 8;
  auto server = endpoint::server(options);
  std::vector<raw_peer> peers;
  for (int i = 0; i < 8; ++i)
    peers.emplace_back(server->port());
  for (auto& peer : peers)
    EXPECT_FALSE(peer.receive_frame().empty());
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(raw_peer(server->port()).closes());
  EXPECT_EQ(server->refused("connections"), 20);
  peers.clear();
  EXPECT_TRUE(eventually([&] { return bool(serves(*server)); }));
}

TEST(TransportAbuse, ReaderThatNeverReadsIsShutDown) {
  net::transport_options options;
  options.write_buffer_bytes_max = 1 << 20;
  auto server = endpoint::server(options);
  auto peer = greeted(*server);
  auto text = message_bytes("@str", text_bytes(std::string(64 * 1024, 't')));
  auto before = resident_bytes();
  std::uint64_t id = 1;
  while (id < 2000 && peer.send(to_bytes({direct_message, text, request_id(id), 1, server->actor().id()})))
    ++id;
  EXPECT_LT(id, 2000u);
  EXPECT_TRUE(eventually([&] { return server->refused("slow_reader") == 1; }));
  EXPECT_LT(resident_bytes(), before + growth_max(48 << 20));
  EXPECT_TRUE(serves(*server));
}

// Takes requests and answers none.
caf::behavior hoarder(caf::event_based_actor* self, std::shared_ptr<std::atomic<int>> taken) {
  auto kept = std::make_shared<std::vector<caf::response_promise>>();
  return {[=](const std::string&) {
    ++*taken;
    kept->push_back(self->make_response_promise());
  }};
}

TEST(TransportAbuse, RequestsThatWaitForAnswersAreBounded) {
  net::transport_options options;
  options.held_bytes_max = 4 << 20;
  auto server = endpoint::server(options);
  auto taken = std::make_shared<std::atomic<int>>(0);
  auto slow = server->system().spawn(hoarder, taken);
  server->keep(slow);
  server->system().registry().put(slow->id(), slow);
  auto modest = greeted(*server, node_bytes(1)), greedy = greeted(*server, node_bytes(2));
  auto ask = [&](raw_peer& by, std::uint64_t id, std::size_t size) {
    auto text = message_bytes("@str", text_bytes(std::string(size, 't')));
    return by.send(to_bytes({direct_message, text, request_id(id), 1, slow->id()}));
  };
  ASSERT_TRUE(ask(modest, 1, 100 << 10));
  ASSERT_TRUE(eventually([&] { return taken->load() == 1; }));
  for (std::uint64_t id = 1; id <= 4 << 10 && ask(greedy, id, 1 << 10); ++id)
    ;  // small ones count for more than their bytes
  EXPECT_TRUE(greedy.closes());
  EXPECT_LE(taken->load(), 2100);
  EXPECT_EQ(server->refused("too_large"), 1);
  ASSERT_TRUE(modest.send(ask_frame(server->actor(), 1, 9, 9))) << "who holds less stays";
  EXPECT_TRUE(eventually([&] { return server->seen().messages == 1; }));
  auto again = greeted(*server, node_bytes(3));
  EXPECT_TRUE(ask(again, 1, 3 << 20)) << "what the greedy one held is free again";
  EXPECT_TRUE(eventually([&] { return taken->load() > 2; }));
  EXPECT_FALSE(again.closes(200ms));
  server->system().registry().erase(slow->id());
}

TEST(TransportAbuse, AnsweredRequestsCountNoMore) {
  net::transport_options options;
  options.held_bytes_max = 64 << 10;
  auto server = endpoint::server(options);
  auto peer = greeted(*server);
  for (std::uint64_t id = 1; id <= 1000; ++id) {
    ASSERT_TRUE(peer.send(ask_frame(server->actor(), 1, id)));
    while (server->seen().messages < static_cast<int>(id) && !peer.receive_frame(20s).empty())
      ;
  }
  EXPECT_EQ(server->seen().messages, 1000);
  EXPECT_TRUE(serves(*server));
  EXPECT_EQ(server->refused("too_large"), 0);
}

TEST(TransportAbuse, WhomNobodyVouchesForIsClosed) {
  auto options = quick();
  options.admission_timeout = 500ms;
  auto server = endpoint::server(options);
  auto stranger = greeted(*server, node_bytes(1)), guest = greeted(*server, node_bytes(2));
  ASSERT_TRUE(guest.send(ask_frame(server->actor(), 1)));
  ASSERT_TRUE(eventually([&] { return server->seen().messages == 1; }));
  caf::node_id::default_data::host_id_type host;
  host.fill('n');
  net::admit(server->system(), caf::make_node_id(2, host));
  EXPECT_EQ(net::peer_at(server->system(), caf::make_node_id(2, host)), "127.0.0.1");
  EXPECT_EQ(net::peer_at(server->system(), caf::make_node_id(3, host)), "");
  auto end = test_clock::now() + 5s;
  while (test_clock::now() < end && stranger.send(to_bytes({heartbeat})))
    std::this_thread::sleep_for(10ms);
  EXPECT_LT(test_clock::now(), end) << "signs of life alone keep nobody in";
  EXPECT_EQ(server->refused("stranger"), 1);
  EXPECT_FALSE(guest.closes(200ms));
}

TEST(TransportAbuse, StrangersGiveWayToThoseWhoMayStay) {
  net::transport_options options;
  options.held_bytes_max = 256 << 10;
  options.admission_timeout = 20s;
  auto server = endpoint::server(options);
  auto guest = greeted(*server, node_bytes(1));
  ASSERT_TRUE(guest.send(ask_frame(server->actor(), 1)));
  ASSERT_TRUE(eventually([&] { return server->seen().messages == 1; }));
  caf::node_id::default_data::host_id_type host;
  host.fill('n');
  net::admit(server->system(), caf::make_node_id(1, host));
  auto text = message_bytes("@str", text_bytes(std::string(200 << 10, 't')));
  auto whole = to_bytes({direct_message, text, request_id(2), 1, server->actor().id()});
  std::vector<raw_peer> strangers;
  for (std::uint32_t i = 0; i < 8; ++i) {
    strangers.push_back(greeted(*server, node_bytes(10 + i)));
    ASSERT_TRUE(strangers.back().send(whole.substr(0, 30 << 10)));
  }
  ASSERT_TRUE(guest.send(whole));
  EXPECT_TRUE(eventually([&] { return server->seen().messages == 2; })) << ::testing::PrintToString(server->refused());
  EXPECT_GE(server->refused("too_large"), 1);
}

TEST(TransportAbuse, OtherProtocolsAreRefused) {
  auto server = endpoint::server(quick());
  const std::string tls("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  const std::string bytes[] = {"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\n\r\n",
                               tls + std::string(506, '\x5a'),
                               "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
                               std::string(4096, '\0'),
                               std::string(4096, '\xff'),
                               "SSH-2.0-test\r\n"};
  for (const auto& some : bytes) {
    raw_peer peer(server->port());
    peer.send(some);
    EXPECT_TRUE(peer.closes());
  }
  EXPECT_EQ(server->refused("handshake") + server->refused("silent"), 6);
  EXPECT_TRUE(serves(*server));
}

TEST(TransportAbuse, HeaderFieldsAtTheirExtremesStopNothing) {
  auto server = endpoint::server();
  auto own = server_node(*server);
  const std::uint64_t wide[] = {0, 1, 2, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff};
  const std::int64_t lengths[] = {0, 1, 31, 32, 64, 65, 0x7fffffff, 0xffffffff};
  std::vector<std::string> frames;
  for (int op = 0; op < 256; op += op < 8 ? 1 : 31) {
    frame f{static_cast<std::uint8_t>(op), node_bytes(9) + own, 0, 0, 0};
    for (auto value : wide) {
      for (auto field : {&frame::data, &frame::source, &frame::dest}) {
        auto g = f;
        g.*field = value;
        frames.push_back(to_bytes(g));
      }
    }
    for (auto length : lengths) {
      auto g = f;
      g.length = length;
      frames.push_back(to_bytes(g));
    }
    for (int flags : {1, 2, 3, 128, 255}) {
      auto g = f;
      g.flags = static_cast<std::uint8_t>(flags);
      frames.push_back(to_bytes(g));
    }
    f.padding = 0xffff;
    frames.push_back(to_bytes(f));
  }
  auto before = resident_bytes();
  for (const auto& bytes : frames) {
    raw_peer fresh(server->port());
    fresh.send(bytes);
    auto known = greeted(*server, node_bytes(9));
    known.send(bytes);
  }
  EXPECT_TRUE(serves(*server));
  EXPECT_LT(resident_bytes(), before + growth_max(32 << 20));
  EXPECT_EQ(server->seen().messages, 1);  // the one of the real client
}

}  // namespace
}  // namespace maru::test
