// A peer that speaks to the transport through a bare socket, and the bytes it needs: frames of CAF's wire protocol
// built by hand, so that tests can send what no CAF process would.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace maru::test {

using namespace std::chrono_literals;
using test_clock = std::chrono::steady_clock;

// -- bytes

template <class T>
std::string big_endian(T value) {
  std::string out;
  for (int shift = 8 * (static_cast<int>(sizeof(T)) - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>((static_cast<std::uint64_t>(value) >> shift) & 0xff));
  return out;
}

// CAF's atoms: six bits a character behind a leading 15.
inline std::uint64_t atom_of(std::string_view text) {
  static constexpr std::string_view alphabet = " 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
  std::uint64_t value = 0xf;
  for (char c : text)
    value = value << 6 | static_cast<std::uint64_t>(alphabet.find(c));
  return value;
}

enum operation : std::uint8_t {
  server_handshake,
  client_handshake,
  direct_message,
  routed_message,
  monitor_message,
  down_message,
  heartbeat,
};

inline constexpr std::uint64_t async_id = 0x1000000000000000;
inline constexpr std::uint64_t response_bit = 0x8000000000000000;
inline std::uint64_t request_id(std::uint64_t n) { return async_id | n; }

struct frame {
  std::uint8_t op = heartbeat;
  std::string payload = {};
  std::uint64_t data = 0, source = 0, dest = 0;
  std::uint8_t flags = 0;
  std::uint16_t padding = 0;
  std::int64_t length = -1;  // -1: the payload's
};

inline std::string to_bytes(const frame& f) {
  auto length = f.length < 0 ? static_cast<std::uint32_t>(f.payload.size()) : static_cast<std::uint32_t>(f.length);
  return big_endian(f.op) + big_endian(f.padding) + big_endian(f.flags) + big_endian(length) + big_endian(f.data)
         + big_endian(f.source) + big_endian(f.dest) + f.payload;
}

inline std::string node_bytes(std::uint32_t process, char fill = 'n') {
  return big_endian(atom_of("default")) + big_endian(process) + std::string(20, fill);
}

inline std::string length_bytes(std::size_t n) {
  std::string out;
  for (; n > 0x7f; n >>= 7)
    out.push_back(static_cast<char>((n & 0x7f) | 0x80));
  out.push_back(static_cast<char>(n));
  return out;
}

inline std::string text_bytes(std::string_view text) { return length_bytes(text.size()) + std::string(text); }

// A message of elements of these types ("@str+@i32") without forwarding stages.
inline std::string message_bytes(std::string_view types, std::string_view values) {
  auto list = types.empty() ? std::string("@<>") : "@<>+" + std::string(types);
  return std::string(1, '\0') + big_endian(std::uint16_t{0}) + text_bytes(list) + std::string(values);
}

inline std::string message_within(std::string_view types, std::string_view values) {
  return message_bytes(types, values).substr(1);
}

inline std::string client_hello(const std::string& node) { return to_bytes({client_handshake, node}); }

// -- socket

class raw_peer {
public:
  explicit raw_peer(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      close();
  }
  explicit raw_peer(int fd, std::nullptr_t) : fd_(fd) {}
  raw_peer(raw_peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  raw_peer& operator=(raw_peer&&) = delete;
  ~raw_peer() { close(); }

  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0)
      ::close(std::exchange(fd_, -1));
  }

  // False when the other side has closed, or takes nothing until the deadline.
  bool send(std::string_view bytes, std::chrono::milliseconds limit = 5s) {
    auto deadline = test_clock::now() + limit;
    while (!bytes.empty()) {
      auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
      } else if (errno == EAGAIN && test_clock::now() < deadline) {
        wait(POLLOUT, deadline);
      } else if (errno != EINTR) {
        return false;
      }
    }
    return true;
  }

  // What comes within the limit, up to `size` bytes.
  std::string receive(std::size_t size, std::chrono::milliseconds limit = 5s) {
    std::string got;
    auto deadline = test_clock::now() + limit;
    while (got.size() < size && !closed_ && wait(POLLIN, deadline)) {
      char buffer[65536];
      auto n = ::recv(fd_, buffer, std::min(sizeof buffer, size - got.size()), MSG_DONTWAIT);
      if (n > 0)
        got.append(buffer, static_cast<std::size_t>(n));
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        closed_ = true;
    }
    return got;
  }

  // One frame: header and payload; empty when none comes whole.
  std::string receive_frame(std::chrono::milliseconds limit = 5s) {
    auto got = receive(32, limit);
    if (got.size() < 32)
      return {};
    std::uint32_t size = 0;
    for (int i = 4; i < 8; ++i)
      size = size << 8 | static_cast<unsigned char>(got[static_cast<std::size_t>(i)]);
    return got + receive(size, limit);
  }

  // True when the other side closes within the limit. Reads and drops what it still sends.
  bool closes(std::chrono::milliseconds limit = 5s) {
    auto deadline = test_clock::now() + limit;
    while (!closed_ && test_clock::now() < deadline)
      receive(1 << 20, 20ms);
    return closed_;
  }

private:
  bool wait(short events, test_clock::time_point deadline) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - test_clock::now()).count();
    pollfd one{fd_, events, 0};
    return left >= 0 && ::poll(&one, 1, static_cast<int>(left)) > 0;
  }

  int fd_;
  bool closed_ = false;
};

}  // namespace maru::test
