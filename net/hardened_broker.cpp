#include "net/hardened_broker.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/multiplexer.hpp>
#include <caf/message_handler.hpp>
#include <chrono>
#include <utility>

namespace maru::net {

namespace {

using caf::io::connection_handle;

constexpr std::size_t read_bytes = 16 * 1024;       // most of a read; a typical batch fits
constexpr std::size_t keep_bytes_max = 256 * 1024;  // a larger idle buffer is given back

std::string wire_form(caf::actor_system& system, const caf::node_id& node) {
  std::vector<char> bytes;
  caf::binary_serializer sink(system, bytes);
  if (sink(node))
    return {};
  return {bytes.begin(), bytes.end()};
}

// A connection handle is its socket (CAF: conn_hdl_from_socket).
int socket_of(connection_handle hdl) { return static_cast<int>(hdl.id()); }

// What the kernel has taken still goes out.
void shut_down(connection_handle hdl) { ::shutdown(socket_of(hdl), SHUT_RDWR); }

// The peer gets a reset, and the kernel drops at once what it does not read.
void reset(connection_handle hdl) {
  linger none{1, 0};
  ::setsockopt(socket_of(hdl), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  shut_down(hdl);
}

}  // namespace

hardened_broker::hardened_broker(caf::actor_config& cfg)
    : basp_broker(cfg),
      options_(transport_options_of(system())),
      // CAF busy-loops when accept fails for want of a descriptor, so some are kept.
      connections_max_(connections_within_limits(options_.connections_max)),
      own_node_(wire_form(system(), this_node())) {}

void hardened_broker::on_exit() {
  // CAF's multiplexer ends only when every peer has read all that is written to it, or its socket is shut.
  for (auto& entry : peers_)
    shut_down(entry.first);
  peers_.clear();
  basp_broker::on_exit();
}

caf::behavior hardened_broker::make_behavior() {
  stock_ = basp_broker::make_behavior();
  schedule_reap();
  caf::message_handler gate{
    [this](const caf::io::new_data_msg& msg) { read(msg); },
    [this](const caf::io::new_connection_msg& msg) {
      if (peers_.size() >= connections_max_) {
        report(refusal::connections);
        close(msg.handle);  // not in the event loop yet: this frees the socket
        return;
      }
      pass_on();
      open(msg.handle, basp_gate::role::accepted);
    },
    [this](caf::publish_atom, const caf::strong_actor_ptr& door, std::set<std::string>& interface) {
      system().registry().put(door->id(), door);
      instance.add_published_actor(door_port, door, std::move(interface));
    },
    [this](caf::unpublish_atom) { instance.remove_published_actor(door_port); },
    [this](caf::ok_atom, const caf::io::scribe_ptr& scribe) { greet(scribe); },
    [this](caf::connect_atom, const caf::io::scribe_ptr& scribe, std::uint16_t) {
      auto hdl = scribe->hdl();
      pass_on();
      open(hdl, basp_gate::role::connected);
    },
    [this](const caf::io::connection_closed_msg& msg) {
      // At once, where CAF first waits for its workers: by then the descriptor, and with it the handle, may belong to
      // another connection. A message that is still being read then comes without a sender, after the peer's down.
      shut_down(msg.handle);
      forget(msg.handle, caf::sec::none);
    },
    [this](caf::ok_atom, const caf::node_id& node) {
      if (auto* who = peer_at(node))
        who->admitted = true;
    },
    [this](caf::forward_atom, const caf::strong_actor_ptr&, const std::vector<caf::strong_actor_ptr>&,
           const caf::strong_actor_ptr& to, caf::message_id id, const caf::message&) {
      if (id.is_response())
        answered(to, id);
      asking_ = id.is_request();
      pass_on();
      asking_ = false;
    },
    [this](caf::tick_atom) {
      reap();
      schedule_reap();
    }};
  return gate.or_else(stock_);
}

// Runs CAF's handler for the message in hand.
void hardened_broker::pass_on() { stock_(current_mailbox_element()->content()); }

void hardened_broker::open(connection_handle hdl, basp_gate::role role) {
  set_context(hdl);  // CAF would leave the time of the last sign of life at the epoch
  peers_.try_emplace(hdl, basp_gate(role, own_node_, options_.payload_bytes_max), clock().now());
  configure_read(hdl, caf::io::receive_policy::at_most(read_bytes));
}

// What CAF does for a connection of its own doorman.
void hardened_broker::greet(const caf::io::scribe_ptr& scribe) {
  if (peers_.size() >= connections_max_) {
    report(refusal::connections);
    return;  // the last owner frees the socket
  }
  auto hdl = scribe->hdl();
  add_scribe(scribe);
  open(hdl, basp_gate::role::accepted);
  instance.write_server_handshake(context(), get_buffer(hdl), door_port);
  flush(hdl);
}

void hardened_broker::read(const caf::io::new_data_msg& msg) {
  auto it = peers_.find(msg.handle);
  if (it == peers_.end() || it->second.cut)
    return;
  peer& who = it->second;
  who.last_seen = clock().now();
  std::string_view fresh(msg.buf.data(), msg.buf.size());
  bool had_partial = !who.partial.empty();
  if (had_partial) {
    who.partial += fresh;
    incomplete_bytes_ += fresh.size();
    fresh = who.partial;
  }
  auto taken = take_frames(msg.handle, who.gate, fresh);
  if (taken == std::string_view::npos)
    return;  // `who` is gone
  keep_partial(who, fresh.substr(taken), had_partial && taken == 0);
  if (incomplete_bytes_ + unanswered_bytes_ > options_.held_bytes_max)
    shed();
}

void hardened_broker::keep_partial(peer& who, std::string_view rest, bool same_frame) {
  if (same_frame)
    return;
  who.frame_since = who.last_seen;
  incomplete_bytes_ -= who.partial.size();
  incomplete_bytes_ += rest.size();
  if (rest.empty()) {
    who.partial.clear();
    if (who.partial.capacity() > keep_bytes_max)
      who.partial.shrink_to_fit();
  } else if (who.partial.empty()) {
    who.partial = rest;
  } else {
    who.partial.erase(0, who.partial.size() - rest.size());
  }
}

std::size_t hardened_broker::take_frames(connection_handle hdl, basp_gate& gate, std::string_view bytes) {
  std::size_t taken = 0;
  while (bytes.size() - taken >= basp_header_bytes) {
    auto header = parse_basp_header(bytes.substr(taken));
    auto verdict = gate.check(header);
    bool complete = bytes.size() - taken - basp_header_bytes >= header.payload_bytes;
    auto payload = bytes.substr(taken + basp_header_bytes, complete ? header.payload_bytes : 0);
    if (verdict == refusal::none && complete) {
      auto before = gate.unanswered_bytes();
      verdict = gate.admit(header, payload);
      unanswered_bytes_ += gate.unanswered_bytes() - before;
    }
    if (verdict != refusal::none && verdict != refusal::ignore) {
      refuse(hdl, verdict);
      return std::string_view::npos;
    }
    if (!complete)
      break;
    if (verdict == refusal::none && !deliver(hdl, header, payload))
      return std::string_view::npos;
    taken += basp_header_bytes + header.payload_bytes;
  }
  return taken;
}

bool hardened_broker::deliver(connection_handle hdl, const basp_frame_header& header, std::string_view payload) {
  namespace basp = caf::io::basp;
  payload_.assign(payload.begin(), payload.end());
  basp::header frame{static_cast<basp::message_type>(header.operation),
                     header.flags,
                     header.payload_bytes,
                     header.operation_data,
                     header.source_actor,
                     header.dest_actor};
  if (header.operation == basp_operation::down_message) {
    std::lock_guard guard(known_mutex_);
    if (auto it = known_.find(instance.tbl().lookup_direct(hdl)); it != known_.end())
      it->second.actors.erase(header.source_actor);
  }
  reading_ = hdl;
  set_context(hdl);  // once a frame: CAF keeps pointers to what the last one left
  auto next = instance.handle(context(), hdl, frame, payload.empty() ? nullptr : &payload_);
  if (payload_.capacity() > keep_bytes_max)
    payload_ = {};
  if (!basp::requires_shutdown(next))
    return true;
  // A second connection to the same node is closed by CAF's design and is no fault of the peer.
  auto why = next == basp::redundant_connection ? refusal::none : refusal::malformed;
  refuse(hdl, why, basp::to_sec(next));
  return false;
}

void hardened_broker::refuse(connection_handle hdl, refusal why, caf::sec code) {
  if (why != refusal::none)
    report(why);
  forget(hdl, code);
  why == refusal::none ? shut_down(hdl) : reset(hdl);
  close(hdl);
}

void hardened_broker::forget(connection_handle hdl, caf::sec code) {
  auto it = peers_.find(hdl);
  if (it != peers_.end()) {
    incomplete_bytes_ -= it->second.partial.size();
    unanswered_bytes_ -= it->second.gate.unanswered_bytes();
    peers_.erase(it);
  }
  connection_cleanup(hdl, code);
}

void hardened_broker::answered(const caf::strong_actor_ptr& asker, caf::message_id id) {
  if (auto* who = asker ? peer_at(asker->node()) : nullptr)
    unanswered_bytes_ -= who->gate.answered(asker->id(), id.request_id().integer_value());
}

hardened_broker::peer* hardened_broker::peer_at(const caf::node_id& node) {
  auto hdl = instance.tbl().lookup_direct(node);
  auto at = hdl ? peers_.find(*hdl) : peers_.end();
  return at == peers_.end() ? nullptr : &at->second;
}

void hardened_broker::shed() {
  auto rank = [this](const peer& who) { return std::pair{is_stranger(who) && who.held() > 0, who.held()}; };
  auto it = std::max_element(peers_.begin(), peers_.end(),
                             [&](const auto& a, const auto& b) { return rank(a.second) < rank(b.second); });
  if (it != peers_.end())
    refuse(it->first, refusal::too_large);
}

void hardened_broker::flush(connection_handle hdl) {
  basp_broker::flush(hdl);
  if (asking_) {
    asking_ = false;
    if (auto it = peers_.find(hdl); it != peers_.end())
      it->second.gate.asked();
  }
  auto it = peers_.find(hdl);
  if (it == peers_.end() || it->second.cut)
    return;
  auto bound = is_stranger(it->second) ? stranger_buffer_bytes_max : options_.write_buffer_bytes_max;
  // CAF writes from a second buffer that was swapped out of this one: each may take half of the bound.
  if (wr_buf(hdl).size() <= bound / 2)
    return;
  // CAF may be walking its routing table: the rest follows when it notices that the socket is shut.
  it->second.cut = true;
  report(refusal::slow_reader);
  reset(hdl);
}

void hardened_broker::schedule_reap() {
  auto period =
    std::clamp(options_.handshake_timeout / 4, std::chrono::milliseconds(10), std::chrono::milliseconds(500));
  delayed_send(this, period, caf::tick_atom_v);
}

void hardened_broker::reap() {
  auto now = clock().now();
  if (now - expired_ > request_counts_for) {
    expired_ = now;
    for (auto& [hdl, who] : peers_)
      unanswered_bytes_ -= who.gate.expire();
  }
  auto timeout = options_.connection_timeout;
  std::vector<std::pair<connection_handle, refusal>> late;
  for (auto& [hdl, who] : peers_) {
    if (!who.gate.established()) {
      if (now - who.opened > options_.handshake_timeout)
        late.emplace_back(hdl, refusal::silent);
    } else if (is_stranger(who) && now - who.opened > options_.admission_timeout) {
      late.emplace_back(hdl, refusal::stranger);
    } else if (timeout.count() > 0) {
      bool stuck = !who.partial.empty() && now - who.frame_since > timeout;
      if (stuck || now - who.last_seen > timeout)
        late.emplace_back(hdl, refusal::timeout);
    }
  }
  for (auto& [hdl, why] : late)
    refuse(hdl, why, caf::sec::connection_timeout);
}

void hardened_broker::report(refusal why) const {
  if (options_.on_reject)
    options_.on_reject(to_string(why));
}

void hardened_broker::learned_new_node_directly(const caf::node_id& node, bool) {
  // CAF would start a helper actor here and ask for the peer's spawn server, and keep the helper for ever.
  std::lock_guard guard(known_mutex_);
  known_[node].from = remote_addr(reading_);
}

std::string hardened_broker::peer_text(const caf::node_id& node) {
  std::lock_guard guard(known_mutex_);
  auto at = known_.find(node);
  return at == known_.end() ? std::string{} : at->second.from;
}

void hardened_broker::learned_new_node_indirectly(const caf::node_id&) {}

void hardened_broker::purge_state(const caf::node_id& node) {
  {
    std::lock_guard guard(known_mutex_);
    known_.erase(node);
  }
  basp_broker::purge_state(node);
}

caf::strong_actor_ptr hardened_broker::make_proxy(caf::node_id node, caf::actor_id actor) {
  bool too_many = false;
  {
    std::lock_guard guard(known_mutex_);
    auto it = known_.find(node);
    // A node that is not connected: CAF would take its mention for the offer of a route.
    if (it == known_.end() || actor == caf::invalid_actor_id) {
      refuse_proxy(node, actor, false);
      return nullptr;
    }
    auto& actors = it->second.actors;
    if (actors.size() >= actors_per_peer_max && actors.count(actor) == 0)
      too_many = true;
    else
      actors.insert(actor);
  }
  if (!too_many)
    return basp_broker::make_proxy(std::move(node), actor);
  refuse_proxy(node, actor, true);
  return nullptr;
}

// CAF's registry has made an entry for the proxy that it did not get: it must go, but not under the registry's lock,
// which the caller holds.
void hardened_broker::refuse_proxy(const caf::node_id& node, caf::actor_id actor, bool too_many) {
  caf::strong_actor_ptr self(ctrl());
  system().middleman().backend().post([this, self, node, actor, too_many] {
    if (getf(caf::abstract_actor::is_terminated_flag))
      return;
    if (proxies().get(node, actor) == nullptr)
      proxies().erase(node, actor);
    if (!too_many)
      return;
    if (auto hdl = instance.tbl().lookup_direct(node))
      refuse(*hdl, refusal::actors);
  });
}

}  // namespace maru::net
