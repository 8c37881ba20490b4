// Goal: the judge of frames lets pass what a client needs and nothing else. Method: frames built by hand, no sockets;
// each refusal has a frame that differs from an accepted one in the one thing that is refused.
#include "net/basp_gate.hpp"

#include <gtest/gtest.h>

#include <random>

#include "raw_peer.hpp"
#include "tests/support/random_run.hpp"

namespace maru::net {
namespace {

using namespace maru::test;

const std::string own = node_bytes(1, 'o'), other = node_bytes(2, 'p');

refusal judge(basp_gate& gate, const frame& f) {
  auto bytes = to_bytes(f);
  auto header = parse_basp_header(bytes);
  auto verdict = gate.check(header);
  return verdict == refusal::none ? gate.admit(header, std::string_view(bytes).substr(basp_header_bytes)) : verdict;
}

basp_gate accepted() {
  basp_gate gate(basp_gate::role::accepted, own, 1024);
  EXPECT_EQ(judge(gate, {client_handshake, other}), refusal::none);
  return gate;
}

frame plain(std::uint64_t id = request_id(1)) {
  return {direct_message, message_bytes("@i32", std::string(4, '\1')), id, 5, 6};
}

TEST(BaspGate, HandshakeComesFirst) {
  basp_gate gate(basp_gate::role::accepted, own, 1024);
  for (std::uint8_t op : {server_handshake, direct_message, routed_message, monitor_message, down_message, heartbeat})
    EXPECT_EQ(judge(gate, {op, other}), refusal::handshake) << int{op};
  EXPECT_FALSE(gate.established());
  EXPECT_EQ(judge(gate, {client_handshake, other}), refusal::none);
  EXPECT_TRUE(gate.established());
}

TEST(BaspGate, HandshakeOfAServerNeedsItsVersion) {
  basp_gate gate(basp_gate::role::connected, own, 1024);
  auto hello = other + std::string(20, '\0');
  for (std::uint64_t version : {0, 1, 2, 4})
    EXPECT_EQ(judge(gate, {server_handshake, hello, version}), refusal::handshake);
  EXPECT_EQ(judge(gate, {client_handshake, other}), refusal::handshake);
  EXPECT_EQ(judge(gate, {server_handshake, hello, 3}), refusal::none);
  EXPECT_EQ(judge(gate, {server_handshake, hello, 3}), refusal::forbidden);
}

TEST(BaspGate, HandshakeNamesAWholeNode) {
  for (std::size_t size : {0u, 1u, 31u, 33u, 64u}) {
    basp_gate gate(basp_gate::role::accepted, own, 1024);
    auto node = (other + other).substr(0, size);
    EXPECT_EQ(judge(gate, {client_handshake, node}), refusal::handshake) << size;
  }
}

TEST(BaspGate, PlainMessagesPass) {
  auto gate = accepted();
  EXPECT_EQ(judge(gate, plain()), refusal::none);
  EXPECT_EQ(judge(gate, {heartbeat}), refusal::none);
  EXPECT_EQ(judge(gate, {monitor_message, other + own, 0, 0, 6}), refusal::none);
  auto gone = std::string(1, '\4') + big_endian(atom_of("exit")) + message_within("", "");
  EXPECT_EQ(judge(gate, {down_message, other + own + gone, 0, 5, 0}), refusal::none);
  auto f = plain(request_id(2));
  f.payload = message_bytes("hello", "whatever it holds");
  EXPECT_EQ(judge(gate, f), refusal::none);
}

TEST(BaspGate, RequestsCountUntilTheyAreAnswered) {
  auto gate = accepted();
  for (std::uint64_t id : {1, 2, 3})
    EXPECT_EQ(judge(gate, plain(request_id(id))), refusal::none);
  auto each = plain().payload.size() + request_bytes;
  EXPECT_EQ(gate.unanswered_bytes(), 3 * each);
  EXPECT_EQ(gate.answered(5, 2), each);
  EXPECT_EQ(gate.answered(5, 2), 0u) << "once";
  EXPECT_EQ(gate.answered(6, 1), 0u) << "another actor's";
  EXPECT_EQ(gate.unanswered_bytes(), 2 * each);
  EXPECT_EQ(judge(gate, plain(request_id(1))), refusal::forbidden) << "one that is under way, again";
}

TEST(BaspGate, RequestsWithoutAnAnswerCountNotForEver) {
  auto gate = accepted();
  ASSERT_EQ(judge(gate, plain(request_id(1))), refusal::none);
  auto each = gate.unanswered_bytes();
  EXPECT_EQ(gate.expire(), 0u);
  ASSERT_EQ(judge(gate, plain(request_id(2))), refusal::none);
  EXPECT_EQ(gate.expire(), each) << "the first one";
  EXPECT_EQ(gate.unanswered_bytes(), each);
  EXPECT_EQ(gate.answered(5, 1), 0u);
  EXPECT_EQ(gate.answered(5, 2), each);
}

TEST(BaspGate, WhatNobodyCouldAnswerIsForbidden) {
  auto gate = accepted();
  EXPECT_EQ(judge(gate, plain(async_id)), refusal::forbidden);
  EXPECT_EQ(judge(gate, plain(0)), refusal::forbidden);
  EXPECT_EQ(judge(gate, plain(request_id(1) | 0x4000000000000000)), refusal::forbidden) << "marked as answered";
  auto nobody = plain();
  nobody.source = 0;
  EXPECT_EQ(judge(gate, nobody), refusal::forbidden);
  EXPECT_EQ(gate.unanswered_bytes(), 0u);
}

TEST(BaspGate, PayloadIsBoundedBeforeItArrives) {
  auto gate = accepted();
  auto header = parse_basp_header(to_bytes(plain()));
  header.payload_bytes = 1024;
  EXPECT_EQ(gate.check(header), refusal::none);
  header.payload_bytes = 1025;
  EXPECT_EQ(gate.check(header), refusal::too_large);
}

TEST(BaspGate, CommandingTypesAreForbidden) {
  auto gate = accepted();
  for (const char* types : {"@exit",
                            "@down",
                            "@error",
                            "@timeout",
                            "@message",
                            "@actor",
                            "@strong_actor_ptr",
                            "@group",
                            "@open_stream_msg",
                            "@upstream_msg",
                            "@downstream_msg",
                            "@config_value",
                            "@strvec",
                            "@unknown",
                            "@i32+@exit",
                            "hello+@exit",
                            "float",
                            "hello+double",
                            "bool",
                            ""}) {
    auto f = plain();
    f.payload = std::string(1, '\0') + big_endian(std::uint16_t{0}) + text_bytes(std::string("@<>+") + types);
    EXPECT_EQ(judge(gate, f), refusal::forbidden) << types;
  }
}

TEST(BaspGate, ForwardingStagesAndNamedActorsAreForbidden) {
  auto gate = accepted();
  auto f = plain();
  f.payload[0] = 1;
  EXPECT_EQ(judge(gate, f), refusal::forbidden);
  f = plain();
  f.flags = 1;
  f.dest = atom_of("ConfigServ");
  EXPECT_EQ(judge(gate, f), refusal::forbidden);
  f.dest = atom_of("SpawnServ");
  EXPECT_EQ(judge(gate, f), refusal::forbidden);
  f.data = async_id;
  EXPECT_EQ(judge(gate, f), refusal::ignore);
}

TEST(BaspGate, OneResponseCountsForOneRequest) {
  auto gate = accepted();
  auto response = plain(response_bit | request_id(3));
  EXPECT_EQ(judge(gate, response), refusal::forbidden);
  gate.asked();
  EXPECT_EQ(judge(gate, response), refusal::none);
  EXPECT_EQ(judge(gate, response), refusal::forbidden);
}

TEST(BaspGate, ErrorsPassAsResponsesWithPlainContextOnly) {
  auto gate = accepted();
  auto head = std::string(1, '\1') + big_endian(atom_of("system"));
  auto response = plain(response_bit | request_id(3));
  gate.asked();
  response.payload = message_bytes("@error", head + message_within("@str", text_bytes("why")));
  EXPECT_EQ(judge(gate, response), refusal::none);
  gate.asked();
  for (const char* inner : {"@message", "@error", "@strong_actor_ptr", "hello"}) {
    response.payload = message_bytes("@error", head + message_within(inner, ""));
    EXPECT_EQ(judge(gate, response), refusal::forbidden) << inner;
  }
}

// Whatever the bytes, a verdict comes; the sanitizers watch the reads.
TEST(BaspGate, RandomFramesAreJudged) {
  std::mt19937_64 random{maru::test::test_seed()};
  int passed = 0;
  for (int round = 0; round < 200000; ++round) {
    auto gate = random() % 8 == 0 ? basp_gate(basp_gate::role::connected, own, 1024) : accepted();
    auto bytes = to_bytes(plain());
    for (auto n = random() % 6; n > 0; --n)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    auto header = parse_basp_header(bytes);
    header.payload_bytes %= 128;
    // A payload of exactly its length, on the heap, so that a read past its end is seen.
    std::string payload = bytes.substr(basp_header_bytes);
    payload.resize(header.payload_bytes, '\0');
    payload.shrink_to_fit();
    if (gate.check(header) == refusal::none)
      passed += gate.admit(header, payload) == refusal::none;
  }
  EXPECT_GT(passed, 0);
}

}  // namespace
}  // namespace maru::net
