// Goal: no peer gets a frame past the gate that commands an actor of ours, takes another's place or answers what nobody
// asked; and CAF reads what passes, or refuses it, without harm (net/basp_gate.hpp). Method: the bytes as a connection:
// which side we are, then frames as on the wire, each behind a byte that says whether we ask the peer something first.
// They are judged as net/hardened_broker.cpp does, held against rules written here once more, and messages that pass
// go through CAF's own deserializer with the protocol's types.
#include "net/basp_gate.hpp"

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/message.hpp>
#include <vector>

#include "net/protocol.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/net/raw_peer.hpp"

namespace maru::fuzz {

namespace {

using namespace net;

constexpr std::size_t payload_bytes_max = 64 * 1024;

// CAF with the types of the protocol, and no actor to talk to. It is never destroyed: CAF's own statics go first.
caf::actor_system& caf_system() {
  struct config : caf::actor_system_config {
    config() {
      set("scheduler.max-threads", 1);
      add_protocol_types(*this);
    }
  };
  static auto& cfg = *new config;
  static auto& system = *new caf::actor_system{cfg};
  return system;
}

// What a message that passed means to CAF; it may still refuse it. What it read it can write and read again.
void read_by_caf(std::string_view payload) {
  std::vector<caf::strong_actor_ptr> stages;
  caf::message message;
  caf::binary_deserializer source{caf_system(), payload.data(), payload.size()};
  if (source(stages, message))
    return;
  must(stages.empty(), "no message is forwarded");
  std::vector<char> bytes, again;
  caf::binary_serializer sink{caf_system(), bytes};
  if (sink(message))
    return;
  caf::message copy;
  caf::binary_deserializer second{caf_system(), bytes};
  must(!second(copy), "what CAF wrote CAF reads");
  caf::binary_serializer third{caf_system(), again};
  must(!third(copy) && again == bytes, "a message survives");
}

// CAF's lengths: groups of seven bits, low ones first.
std::size_t take_length(reader& in) {
  std::size_t length = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    auto byte = in.number<std::uint8_t>();
    length |= std::size_t{byte & 0x7fu} << shift;
    if (byte < 0x80)
      break;
  }
  return length;
}

// The names of a message's types, each with a '+' before it; empty where the payload has no such list.
std::string types_of(std::string_view payload) {
  reader in{payload};
  auto stages = take_length(in);
  auto type_number = in.number<std::uint16_t>();
  std::string names{in.bytes(take_length(in))};
  return in.ok() && stages == 0 && type_number == 0 ? "+" + names : "";
}

void hold_message(const basp_frame_header& h, std::string_view payload, bool response) {
  must(h.dest_actor != 0 && h.flags == 0, "a message goes to a numbered actor");
  must((h.operation_data >> 61 & 1) == 0, "no message belongs to a stream");
  auto types = types_of(payload);
  must(!types.empty(), "a message has a list of types, and nobody to forward it to");
  for (const char* name :
       {"+@exit", "+@down", "+@timeout", "+@message", "+@actor", "+@strong_actor_ptr", "+@group", "+@open_stream_msg",
        "+@upstream_msg", "+@downstream_msg", "+@link", "+@node", "+@addr", "+bool", "+float", "+double"})
    must((types + "+").find(std::string(name) + "+") == std::string::npos, "no message commands an actor");
  must(response || types.find("+@error") == std::string::npos, "an error comes only as a response");
}

struct peer {
  basp_gate::role role;
  basp_gate gate;
  std::string node;  // that the peer said it is
  std::uint64_t open_requests = 0;
};

void hold_passed(peer& p, const basp_frame_header& h, std::string_view payload, const std::string& own) {
  switch (h.operation) {
    case basp_operation::client_handshake:
    case basp_operation::server_handshake: {
      auto node = payload.substr(0, basp_node_bytes);
      must(node.size() == basp_node_bytes, "a handshake names a whole node");
      must(p.node.empty() || p.node == node, "a connection is one node");
      must(p.role == basp_gate::role::connected || node != own, "nobody who comes to us is ourselves");
      p.node = node;
      return;
    }
    case basp_operation::direct_message: {
      bool response = (h.operation_data & test::response_bit) != 0;
      must(!response || p.open_requests > 0, "a response was asked for");
      p.open_requests -= response;
      hold_message(h, payload, response);
      return read_by_caf(payload);
    }
    case basp_operation::monitor_message:
    case basp_operation::down_message:
      must(payload.substr(0, 2 * basp_node_bytes) == p.node + own, "a peer watches or ends in its own name, and to us");
      return;
    case basp_operation::heartbeat: return must(payload.empty(), "a heartbeat is empty");
    case basp_operation::routed_message: return must(false, "nothing is routed");
  }
}

// False when the connection is over.
bool try_frame(peer& p, reader& in, const std::string& own) {
  if (in.number<std::uint8_t>() & 1) {
    p.gate.asked();
    ++p.open_requests;
  }
  auto bytes = in.bytes(basp_header_bytes);
  if (bytes.size() < basp_header_bytes)
    return false;
  auto h = parse_basp_header(bytes);
  test::frame same{static_cast<std::uint8_t>(h.operation),
                   {},
                   h.operation_data,
                   h.source_actor,
                   h.dest_actor,
                   h.flags,
                   h.padding,
                   h.payload_bytes};
  must(test::to_bytes(same) == bytes, "a header is read as it is");
  auto verdict = p.gate.check(h);
  if (verdict != refusal::none && verdict != refusal::ignore)
    return false;
  must(h.payload_bytes <= std::max(payload_bytes_max, basp_handshake_bytes_max),
       "a payload is bounded before it comes");
  must(!p.node.empty() || h.operation <= basp_operation::client_handshake, "a handshake comes first");
  if (h.payload_bytes > in.remaining())
    return false;
  auto payload = in.bytes(h.payload_bytes);
  if (verdict == refusal::ignore)
    return true;
  if (p.gate.admit(h, payload) != refusal::none)
    return false;
  hold_passed(p, h, payload, own);
  must(p.gate.established() == !p.node.empty(), "a peer is known after its handshake, and not before");
  return true;
}

}  // namespace

void try_input(std::string_view bytes) {
  static const std::string own = test::node_bytes(1, 'o');
  reader in{bytes};
  auto role = in.number<std::uint8_t>() & 1 ? basp_gate::role::connected : basp_gate::role::accepted;
  peer p{role, basp_gate{role, own, payload_bytes_max}, {}};
  while (try_frame(p, in, own)) {}
}

}  // namespace maru::fuzz
