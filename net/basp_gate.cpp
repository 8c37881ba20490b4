#include "net/basp_gate.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <caf/atom.hpp>
#include <caf/io/basp/version.hpp>
#include <caf/message_id.hpp>
#include <cstring>
#include <optional>
#include <utility>

namespace maru::net {

namespace {

constexpr std::uint8_t flag_named_receiver = 1;
constexpr std::uint8_t flag_select_connection = 2;
constexpr auto spawn_server = static_cast<std::uint64_t>(caf::atom("SpawnServ"));
constexpr auto node_kind = static_cast<std::uint64_t>(caf::atom("default"));

// Takes big-endian numbers and length-prefixed names off a payload. After a read past the end everything is absent.
class wire_reader {
public:
  explicit wire_reader(std::string_view in) : in_(in) {}

  template <class T>
  std::optional<T> number() {
    if (in_.size() < sizeof(T))
      return fail<T>();
    T value;
    std::memcpy(&value, in_.data(), sizeof value);
    in_.remove_prefix(sizeof value);
    if constexpr (sizeof(T) == 2)
      value = static_cast<T>(__builtin_bswap16(value));
    if constexpr (sizeof(T) == 4)
      value = static_cast<T>(__builtin_bswap32(value));
    if constexpr (sizeof(T) == 8)
      value = static_cast<T>(__builtin_bswap64(value));
    return value;
  }

  // A length in groups of seven bits, low ones first; at most five groups.
  std::optional<std::uint32_t> length() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      auto byte = number<std::uint8_t>();
      if (!byte)
        return std::nullopt;
      value |= std::uint64_t{*byte & 0x7fu} << shift;
      if (*byte < 0x80)
        return value <= UINT32_MAX ? std::optional{static_cast<std::uint32_t>(value)} : std::nullopt;
    }
    return std::nullopt;
  }

  // What starts every message: a type number that is zero, and the names of the element types.
  std::optional<std::string_view> type_list() {
    auto number_of_type = number<std::uint16_t>();
    if (!number_of_type || *number_of_type != 0)
      return std::nullopt;
    auto size = length();
    if (!size || *size > in_.size() || *size > basp_type_list_bytes_max)
      return std::nullopt;
    auto names = in_.substr(0, *size);
    in_.remove_prefix(*size);
    return names;
  }

private:
  template <class T>
  std::optional<T> fail() {
    in_ = {};
    return std::nullopt;
  }

  std::string_view in_;
};

// CAF's own types start with '@', but for three. No message of ours has those, and CAF never ends writing an infinite
// float or double.
bool is_own_type(std::string_view name) {
  return !name.empty() && name[0] != '@' && name != "bool" && name != "float" && name != "double";
}

// Of CAF's types only plain values may come from a peer. Of the others, @exit, @down, @timeout and the stream messages
// command any actor; handles and groups make this process open routes and connections; @message and what contains one
// recurses as deep as the peer likes; lists of strings grow forty-fold in memory.
bool is_plain_type(std::string_view name) {
  static constexpr std::array<std::string_view, 15> plain = {"@atom", "@charbuf",  "@duration", "@i16", "@i32", "@i64",
                                                             "@i8",   "@str",      "@u16",      "@u32", "@u64", "@u8",
                                                             "@unit", "@timespan", "@timestamp"};
  return std::find(plain.begin(), plain.end(), name) != plain.end();
}

// True when every type of the list may come from a peer. `own_types`: also those the program added.
bool are_plain_types(std::string_view list, bool own_types) {
  if (list == "@<>")
    return true;
  if (!list.starts_with("@<>+"))
    return false;
  list.remove_prefix(4);
  for (std::size_t count = 1; count <= basp_elements_max; ++count) {
    auto end = list.find('+');
    auto name = list.substr(0, end);
    if (!(own_types && is_own_type(name)) && !is_plain_type(name))
      return false;
    if (end == std::string_view::npos)
      return true;
    list.remove_prefix(end + 1);
  }
  return false;
}

// An error is code, category, and a message as its context; that must hold plain values alone.
bool is_plain_error(wire_reader in) {
  if (!in.number<std::uint8_t>() || !in.number<std::uint64_t>())
    return false;
  auto context = in.type_list();
  return context && are_plain_types(*context, false);
}

bool is_node_id(std::string_view node) {
  wire_reader in(node);
  auto kind = in.number<std::uint64_t>();
  auto process = in.number<std::uint32_t>();
  if (!kind || *kind != node_kind || !process || *process == 0)
    return false;
  auto host = node.substr(12, 20);
  return host.find_first_not_of('\0') != std::string_view::npos;
}

}  // namespace

basp_frame_header parse_basp_header(std::string_view bytes) {
  wire_reader in(bytes);
  basp_frame_header header;
  header.operation = static_cast<basp_operation>(*in.number<std::uint8_t>());
  header.padding = *in.number<std::uint16_t>();
  header.flags = *in.number<std::uint8_t>();
  header.payload_bytes = *in.number<std::uint32_t>();
  header.operation_data = *in.number<std::uint64_t>();
  header.source_actor = *in.number<std::uint64_t>();
  header.dest_actor = *in.number<std::uint64_t>();
  return header;
}

std::string_view to_string(refusal why) {
  switch (why) {
    case refusal::none: return "none";
    case refusal::ignore: return "ignore";
    case refusal::connections: return "connections";
    case refusal::silent: return "silent";
    case refusal::timeout: return "timeout";
    case refusal::handshake: return "handshake";
    case refusal::malformed: return "malformed";
    case refusal::too_large: return "too_large";
    case refusal::forbidden: return "forbidden";
    case refusal::stranger: return "stranger";
    case refusal::actors: return "actors";
    case refusal::slow_reader: return "slow_reader";
  }
  return "none";
}

refusal basp_gate::check(const basp_frame_header& header) const {
  if (header.padding != 0 || header.operation > basp_operation::heartbeat)
    return established() ? refusal::malformed : refusal::handshake;
  if (!established())
    return check_handshake(header);
  if (header.payload_bytes > payload_bytes_max_)
    return refusal::too_large;
  switch (header.operation) {
    case basp_operation::server_handshake: return refusal::forbidden;
    case basp_operation::client_handshake: return check_handshake(header);
    case basp_operation::direct_message: return check_direct(header);
    case basp_operation::routed_message: return refusal::forbidden;
    case basp_operation::monitor_message:
      return header.payload_bytes == 2 * basp_node_bytes && header.flags == 0 && header.operation_data == 0
                 && header.source_actor == 0 && header.dest_actor != 0
               ? refusal::none
               : refusal::malformed;
    case basp_operation::down_message:
      return header.payload_bytes > 2 * basp_node_bytes
                 && header.payload_bytes <= 2 * basp_node_bytes + basp_error_bytes_max && header.flags == 0
                 && header.operation_data == 0 && header.source_actor != 0 && header.dest_actor == 0
               ? refusal::none
               : refusal::malformed;
    case basp_operation::heartbeat:
      return header.payload_bytes == 0 && header.flags == 0 && header.operation_data == 0 && header.source_actor == 0
                 && header.dest_actor == 0
               ? refusal::none
               : refusal::malformed;
  }
  return refusal::malformed;
}

refusal basp_gate::check_handshake(const basp_frame_header& header) const {
  if (header.source_actor != 0 || header.dest_actor != 0)
    return refusal::handshake;
  if (role_ == role::accepted) {
    bool fits = header.operation == basp_operation::client_handshake && header.payload_bytes == basp_node_bytes
                && header.operation_data == 0 && (header.flags | flag_select_connection) == flag_select_connection;
    return fits ? refusal::none : refusal::handshake;
  }
  bool fits = header.operation == basp_operation::server_handshake && header.flags == 0
              && header.operation_data == caf::io::basp::version && header.payload_bytes > basp_node_bytes
              && header.payload_bytes <= basp_handshake_bytes_max;
  return fits ? refusal::none : refusal::handshake;
}

refusal basp_gate::check_direct(const basp_frame_header& header) const {
  caf::message_id id(header.operation_data);
  if (header.payload_bytes == 0 || header.dest_actor == 0)
    return refusal::malformed;
  // CAF reads a message of a stream category as its stream type without looking whether it is one.
  if (id.is_stream_message())
    return refusal::forbidden;
  if (header.flags == flag_named_receiver) {
    // A stock CAF peer asks the spawn server who it is when it connects, and lives without an answer.
    bool greeting = header.dest_actor == spawn_server && id.is_async();
    return greeting ? refusal::ignore : refusal::forbidden;
  }
  if (header.flags != 0)
    return refusal::malformed;
  // What nobody answers nobody counts, and a client has nothing to say that needs no answer.
  if (role_ == role::accepted && !id.is_response()
      && (!id.is_request() || id.is_answered() || header.source_actor == 0))
    return refusal::forbidden;
  // A response nobody waits for: forged, it could answer a request that one of our actors made to another.
  if (id.is_response() && responses_due_ == 0)
    return refusal::forbidden;
  return refusal::none;
}

refusal basp_gate::admit(const basp_frame_header& header, std::string_view payload) {
  switch (header.operation) {
    case basp_operation::server_handshake:
    case basp_operation::client_handshake: return admit_handshake(header, payload);
    case basp_operation::direct_message: return admit_direct(header, payload);
    case basp_operation::monitor_message:
    case basp_operation::down_message: {
      // Only for itself: one peer must not end another's actors or ask us to forward.
      if (payload.substr(0, basp_node_bytes) != node_ || payload.substr(basp_node_bytes, basp_node_bytes) != own_node_)
        return refusal::forbidden;
      if (header.operation == basp_operation::monitor_message)
        return refusal::none;
      return is_plain_error(wire_reader(payload.substr(2 * basp_node_bytes))) ? refusal::none : refusal::malformed;
    }
    case basp_operation::heartbeat: return refusal::none;
    case basp_operation::routed_message: break;
  }
  return refusal::forbidden;
}

refusal basp_gate::admit_handshake(const basp_frame_header&, std::string_view payload) {
  auto node = payload.substr(0, basp_node_bytes);
  if (!is_node_id(node))
    return refusal::handshake;
  if (role_ == role::accepted && node == own_node_)
    return refusal::handshake;
  // CAF's client says it twice; anything else would take over the place of another node.
  if (established() && node != node_)
    return refusal::handshake;
  node_ = node;
  return refusal::none;
}

refusal basp_gate::admit_direct(const basp_frame_header& header, std::string_view payload) {
  wire_reader in(payload);
  auto stages = in.length();
  if (!stages)
    return refusal::malformed;
  if (*stages != 0)
    return refusal::forbidden;
  auto types = in.type_list();
  if (!types)
    return refusal::malformed;
  bool response = caf::message_id(header.operation_data).is_response();
  // Outside of a response an error ends the actor that gets it.
  bool plain = *types == "@<>+@error" ? response && is_plain_error(in) : are_plain_types(*types, true);
  if (!plain)
    return refusal::forbidden;
  if (response) {
    --responses_due_;
  } else if (role_ == role::accepted) {
    auto size = payload.size() + request_bytes;
    auto id = caf::message_id(header.operation_data).request_id().integer_value();
    // CAF's actors number their requests: one that comes twice would be counted once.
    if (!unanswered_.try_emplace({header.source_actor, id}, unanswered{size}).second)
      return refusal::forbidden;
    unanswered_bytes_ += size;
  }
  return refusal::none;
}

std::size_t basp_gate::answered(std::uint64_t actor, std::uint64_t request) {
  auto at = unanswered_.find({actor, request});
  if (at == unanswered_.end())
    return 0;
  auto size = at->second.bytes;
  unanswered_.erase(at);
  unanswered_bytes_ -= size;
  return size;
}

std::size_t basp_gate::expire() {
  std::size_t gone = 0;
  for (auto at = unanswered_.begin(); at != unanswered_.end();) {
    if (!std::exchange(at->second.old, true)) {
      ++at;
      continue;
    }
    gone += at->second.bytes;
    at = unanswered_.erase(at);
  }
  unanswered_bytes_ -= gone;
  return gone;
}

}  // namespace maru::net
