// CAF's BASP broker behind a gate.
//
// What it is: a subclass that takes CAF's place under the name "BASP". It cuts the byte stream of every connection
// into frames itself, has each judged by a basp_gate, and hands CAF only what passed.
// Operation: buffers grow with the bytes that arrived, never with a length that a header claims. A peer that is
// refused is shut down at once (::shutdown, because CAF's close waits until the peer has read everything).
// Concurrency: lives on the multiplexer's thread, except peer_text, and make_proxy, which CAF's deserialization workers
// call.
// Limits: what an accepted peer may still do is in docs/architecture.md, "The transport".
#pragma once

#include <caf/actor_clock.hpp>
#include <caf/io/basp_broker.hpp>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "net/basp_gate.hpp"
#include "net/transport.hpp"

namespace maru::net {

// The options of the transport that is loaded into `system`.
const transport_options& transport_options_of(caf::actor_system& system);

// Actors of one peer that this process may know at the same time; a client needs one a thread that asks.
inline constexpr std::size_t actors_per_peer_max = 4096;
// CAF keeps published actors by port: this number is that of the door, whatever it listens on.
inline constexpr std::uint16_t door_port = 1;
// How long a request counts at least for which no answer passes.
inline constexpr auto request_counts_for = std::chrono::seconds{30};
// What may wait to be read by a peer that nobody vouched for.
inline constexpr std::size_t stranger_buffer_bytes_max = 256 * bounds::KiB;

class hardened_broker final : public caf::io::basp_broker {
public:
  explicit hardened_broker(caf::actor_config& cfg);

  void on_exit() override;
  caf::behavior make_behavior() override;
  caf::strong_actor_ptr make_proxy(caf::node_id node, caf::actor_id actor) override;
  void purge_state(const caf::node_id& node) override;
  void learned_new_node_directly(const caf::node_id& node, bool was_indirect) override;
  void learned_new_node_indirectly(const caf::node_id& node) override;
  void flush(caf::io::connection_handle hdl) override;
  // See peer_at().
  std::string peer_text(const caf::node_id& node);

private:
  using time_point = caf::actor_clock::time_point;

  struct peer {
    peer(basp_gate g, time_point now) : gate(std::move(g)), opened(now), last_seen(now), frame_since(now) {}
    basp_gate gate;
    time_point opened;
    time_point last_seen;
    time_point frame_since;  // when the first byte of `partial` came
    std::string partial;     // bytes of a frame that is not complete
    bool cut = false;        // shut down; CAF tells when the socket is gone
    bool admitted = false;   // somebody vouched for it

    std::size_t held() const { return partial.size() + gate.unanswered_bytes(); }
  };

  void pass_on();
  void open(caf::io::connection_handle hdl, basp_gate::role role);
  void greet(const caf::io::scribe_ptr& scribe);
  void read(const caf::io::new_data_msg& msg);
  // Handles all complete frames of `bytes`; returns how many bytes that were, or npos when the peer was refused.
  std::size_t take_frames(caf::io::connection_handle hdl, basp_gate& gate, std::string_view bytes);
  // Hands a frame to CAF; false when CAF could not read it and the peer was refused.
  bool deliver(caf::io::connection_handle hdl, const basp_frame_header& header, std::string_view payload);
  void keep_partial(peer& who, std::string_view rest, bool same_frame);
  // Shuts the peer down and forgets it. `code` is what a pending connect gets.
  void refuse(caf::io::connection_handle hdl, refusal why, caf::sec code = caf::sec::malformed_basp_message);
  void forget(caf::io::connection_handle hdl, caf::sec code);
  // A response goes to an actor of a peer.
  void answered(const caf::strong_actor_ptr& asker, caf::message_id id);
  peer* peer_at(const caf::node_id& node);
  // Too much is held for all peers: the one that holds most goes, a stranger first.
  void shed();
  bool is_stranger(const peer& who) const { return options_.admission_timeout.count() > 0 && !who.admitted; }
  void reap();
  void schedule_reap();
  void report(refusal why) const;
  void refuse_proxy(const caf::node_id& node, caf::actor_id actor, bool too_many);

  const transport_options options_;
  const std::size_t connections_max_;
  const std::string own_node_;
  caf::behavior stock_;
  std::unordered_map<caf::io::connection_handle, peer> peers_;
  std::vector<char> payload_;                                // of the frame in hand
  time_point expired_{};                                     // when old requests were last dropped from the count
  std::size_t incomplete_bytes_ = 0, unanswered_bytes_ = 0;  // of all peers
  bool asking_ = false;                                      // the message being written is a request
  caf::io::connection_handle reading_;                       // whose frame is in hand

  std::mutex known_mutex_;
  struct known_node {
    std::string from;  // who it is
    std::unordered_set<caf::actor_id> actors;
  };
  std::unordered_map<caf::node_id, known_node> known_;  // connected ones
};

}  // namespace maru::net
