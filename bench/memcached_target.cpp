#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>

#include "base/server_address.hpp"
#include "bench/targets.hpp"

namespace maru::bench {

namespace {

constexpr timeval patience{.tv_sec = 10, .tv_usec = 0};
constexpr std::size_t receive_bytes = 64 * 1024;

// memcached's meta text protocol over a socket: one command a key, a batch is one write; the answers come in order.
class memcached_target final : public kv_target {
public:
  memcached_target(int socket, std::size_t value_bytes)
      : socket_(socket), value_(value_bytes, 'v'), received_(receive_bytes, '\0') {}
  ~memcached_target() override { ::close(socket_); }

  // Ends in VA with the value.
  result<std::size_t> lookup(std::span<const std::string_view> keys) override { return ask("mg ", keys, " v\r\n"); }
  // Ends in HD: there, no value asked for.
  result<std::size_t> exists(std::span<const std::string_view> keys) override { return ask("mg ", keys, "\r\n"); }
  result<std::size_t> pin_unpin(std::span<const std::string_view>) override {
    return error{ec::invalid, "failed to pin: memcached has no pins"};
  }
  result<std::size_t> put(std::span<const std::string_view> keys) override {
    return ask("ms ", keys, " " + std::to_string(value_.size()) + "\r\n" + value_ + "\r\n");
  }
  result<std::size_t> remove(std::span<const std::string_view> keys) override { return ask("md ", keys, "\r\n"); }

private:
  result<std::size_t> ask(std::string_view verb, std::span<const std::string_view> keys, std::string_view rest) {
    question_.clear();
    for (auto key : keys)
      question_.append(verb).append(key).append(rest);
    for (std::size_t sent = 0; sent < question_.size();) {
      auto n = ::send(socket_, question_.data() + sent, question_.size() - sent, MSG_NOSIGNAL);
      if (n <= 0)
        return errno_error("send to memcached", errno);
      sent += static_cast<std::size_t>(n);
    }
    std::size_t good = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      auto answer = next_answer();
      if (!answer)
        return answer.error();
      good += *answer;
    }
    return good;
  }

  // True for HD and for VA with a value of the right size; false for EN, NF, NS.
  result<bool> next_answer() {
    auto line = next_line();
    if (!line)
      return line.error();
    if (line->starts_with("HD"))
      return true;
    if (!line->starts_with("VA ")) {
      if (line->starts_with("EN") || line->starts_with("NF") || line->starts_with("NS"))
        return false;
      return error{ec::corrupt, "failed to read from memcached: it answered " + std::string{*line}};
    }
    std::size_t size = 0;
    auto digits = line->substr(3);
    std::from_chars(digits.data(), digits.data() + digits.size(), size);
    while (end_ - begin_ < size + 2)
      if (auto more = receive(); !more)
        return more.error();
    begin_ += size + 2;
    return size == value_.size();
  }

  // Valid until the next call.
  result<std::string_view> next_line() {
    for (;;) {
      auto* start = received_.data() + begin_;
      if (auto* stop = static_cast<char*>(std::memchr(start, '\n', end_ - begin_))) {
        begin_ = static_cast<std::size_t>(stop - received_.data()) + 1;
        return std::string_view{start, static_cast<std::size_t>(stop - start) - 1};
      }
      if (auto more = receive(); !more)
        return more.error();
    }
  }

  // Moves what is left to the front when the room behind it ends, and reads on.
  status receive() {
    if (end_ == received_.size()) {
      std::memmove(received_.data(), received_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
      if (end_ == received_.size())
        return {ec::too_large, "failed to read from memcached: an answer is too long"};
    }
    auto n = ::recv(socket_, received_.data() + end_, received_.size() - end_, 0);
    if (n == 0)
      return {ec::unavailable, "failed to read from memcached: it closed the connection"};
    if (n < 0)
      return errno_error("read from memcached", errno);
    end_ += static_cast<std::size_t>(n);
    return {};
  }

  int socket_;
  std::string value_, question_, received_;
  std::size_t begin_ = 0, end_ = 0;  // what is received and not yet read
};

// The address as the socket calls take it.
struct socket_address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

result<socket_address> address_of(const server_address& where) {
  socket_address out;
  if (where.is_unix()) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    where.path.copy(local.sun_path, sizeof local.sun_path - 1);
    out.size = sizeof local;
    std::memcpy(&out.bytes, &local, out.size);
    return out;
  }
  sockaddr_in remote{};
  remote.sin_family = AF_INET;
  remote.sin_port = htons(where.tcp.port);
  if (::inet_pton(AF_INET, where.tcp.host.c_str(), &remote.sin_addr) != 1)
    return error{ec::bad_option, "failed to use " + to_string(where) + ": not an IPv4 address"};
  out.size = sizeof remote;
  std::memcpy(&out.bytes, &remote, out.size);
  return out;
}

}  // namespace

result<std::unique_ptr<kv_target>> open_memcached(const cell_job& job) {
  auto where = parse_server_address(job.server);
  if (!where)
    return where.error();
  auto address = address_of(*where);
  if (!address)
    return address.error();
  int fd = ::socket(address->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return errno_error("make a socket", errno);
  auto target = std::make_unique<memcached_target>(fd, job.value_bytes);
  int on = 1;
  if (!where->is_unix())
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address->bytes), address->size) != 0)
    return error{ec::unavailable, errno_error("connect to memcached at " + job.server, errno).message};
  return std::unique_ptr<kv_target>{std::move(target)};
}

}  // namespace maru::bench
