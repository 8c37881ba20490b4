// What one peer may say over CAF's wire protocol (BASP version 3): a plain class that judges frames by their bytes,
// before CAF allocates or deserializes anything for them. No sockets and no actors in it.
//
// A frame is a header of 32 bytes (numbers are big-endian) and a payload of the length that the header names:
//   operation 1, padding 2, flags 1, payload length 4, operation data 8, source actor 8, destination actor 8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace maru::net {

inline constexpr std::size_t basp_header_bytes = 32;
inline constexpr std::size_t basp_node_bytes = 32;  // atom "default" 8, process id 4, host id 20
inline constexpr std::size_t basp_handshake_bytes_max = 64 * 1024;
inline constexpr std::size_t basp_error_bytes_max = 4096;
inline constexpr std::size_t basp_type_list_bytes_max = 512;
inline constexpr std::size_t basp_elements_max = 16;  // of one message
inline constexpr std::size_t request_bytes = 1024;    // what a request costs beside its payload until it is answered

enum class basp_operation : std::uint8_t {
  server_handshake,
  client_handshake,
  direct_message,
  routed_message,
  monitor_message,
  down_message,
  heartbeat,
};

struct basp_frame_header {
  basp_operation operation{};
  std::uint16_t padding = 0;
  std::uint8_t flags = 0;
  std::uint32_t payload_bytes = 0;
  std::uint64_t operation_data = 0;
  std::uint64_t source_actor = 0;
  std::uint64_t dest_actor = 0;
};

// REQUIRES: bytes.size() >= basp_header_bytes.
basp_frame_header parse_basp_header(std::string_view bytes);

// Why a peer is closed. These are the words that transport_options::on_reject gets (a label of a metric).
enum class refusal : std::uint8_t {
  none,
  ignore,       // not closed: this one frame is read and dropped
  connections,  // over the bound on connections
  silent,       // no handshake in time
  timeout,      // nothing heard for the connection timeout, or a frame not finished in it
  handshake,    // the first frame is no handshake that fits, or a later one claims another node
  malformed,    // a header or payload that makes no sense
  too_large,    // a payload over its bound, or of all peers the one that holds most when that is too much
  forbidden,    // well-formed, but nothing a client needs: routing, named actors, exit, link, unasked responses ...
  stranger,     // came to no session, and asked nothing with a token that fits, in time
  actors,       // more actors of one peer than the bound
  slow_reader,  // too much waits to be read by the peer
};
std::string_view to_string(refusal why);

class basp_gate {
public:
  // accepted: the peer came to us, and speaks the client's part. connected: we went to it.
  enum class role : std::uint8_t { accepted, connected };

  // `own_node` is this process's node id in wire form, basp_node_bytes long.
  basp_gate(role peer_role, std::string_view own_node, std::size_t payload_bytes_max)
      : role_(peer_role), own_node_(own_node), payload_bytes_max_(payload_bytes_max) {}

  // Judges a header before room is made for its payload. May be asked again while the payload arrives.
  refusal check(const basp_frame_header& header) const;
  // Judges a whole frame whose header passed, and notes what it changes. Once a frame.
  refusal admit(const basp_frame_header& header, std::string_view payload);

  // A request went out to this peer: one more response may come.
  void asked() { ++responses_due_; }
  // The response to the peer's request is on its way: `actor` is whose request it was. Returns the bytes let go.
  std::size_t answered(std::uint64_t actor, std::uint64_t request);
  // Drops what was there at the last call already, and returns the bytes let go: where the asker ended meanwhile, no
  // answer passes any more.
  std::size_t expire();
  // Bytes of the peer's requests that are not answered yet.
  std::size_t unanswered_bytes() const { return unanswered_bytes_; }

  bool established() const { return !node_.empty(); }

private:
  refusal check_handshake(const basp_frame_header& header) const;
  refusal check_direct(const basp_frame_header& header) const;
  refusal admit_handshake(const basp_frame_header& header, std::string_view payload);
  refusal admit_direct(const basp_frame_header& header, std::string_view payload);

  role role_;
  std::string own_node_;
  std::string node_;  // of the peer, empty until its handshake
  std::size_t payload_bytes_max_;
  std::uint64_t responses_due_ = 0;

  struct asker {
    std::uint64_t actor, request;
    friend bool operator==(const asker&, const asker&) = default;
  };
  struct asker_hash {
    std::size_t operator()(const asker& a) const { return a.actor * 0x9e3779b97f4a7c15u ^ a.request; }
  };
  struct unanswered {
    std::size_t bytes = 0;
    bool old = false;  // expire() has seen it
  };
  std::unordered_map<asker, unanswered, asker_hash> unanswered_;
  std::size_t unanswered_bytes_ = 0;
};

}  // namespace maru::net
