#include "net/doors.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <optional>
#include <thread>
#include <utility>

namespace maru::net {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr int accepts_a_turn = 64;  // so that a flood at one door does not keep the others waiting
constexpr auto pause_without_descriptors = 100ms;

// How many of the connections may be by TCP.
std::size_t tcp_part(const door_options& o) {
  bool both = std::any_of(o.listen.begin(), o.listen.end(), [](const auto& where) { return where.is_unix(); });
  return o.connections_max - (both ? o.connections_max / 8 : 0);
}

}  // namespace

// The doors' thread and what it owns.
class doors::porter {
public:
  porter(door_options options, std::vector<listener> listeners, std::optional<tls_server> tls, unique_fd wake)
      : options_(std::move(options)),
        listeners_(std::move(listeners)),
        tls_(std::move(tls)),
        count_(options_.per_peer_max),
        guests_max_(std::max<std::size_t>(1, options_.connections_max / 4)),
        tcp_max_(tcp_part(options_)),
        wake_(std::move(wake)),
        thread_([this] { run(); }) {}

  ~porter() {
    std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }

  const std::vector<listener>& listeners() const { return listeners_; }

private:
  // A peer that shakes hands.
  struct guest {
    wire connection;
    peer who;
    const listener* at;
    clock::time_point until;
    short events;
  };

  void run();
  void accept_at(const listener& at);
  void meet(const listener& at, unique_fd socket);
  void shake_hands(std::list<guest>::iterator one);
  void welcome(const listener& at, const peer& who, wire connection, const std::string& certificate);
  void refuse(const listener& at, const std::string& who, const char* reason, const std::string& cause);
  void say(door_event what, const std::string& line) const {
    if (options_.on_event)
      options_.on_event(what, line);
  }

  const door_options options_;
  const std::vector<listener> listeners_;
  std::optional<tls_server> tls_;
  connection_count count_;
  const std::size_t guests_max_;  // at the same time
  const std::size_t tcp_max_;     // connections by TCP
  std::list<guest> guests_;       // the oldest first
  clock::time_point paused_until_{};
  unique_fd wake_;
  std::thread thread_;  // last: it uses all of the above
};

void doors::porter::run() {
  for (;;) {
    bool paused = clock::now() < paused_until_;
    std::vector<pollfd> watched = {{wake_.get(), POLLIN, 0}};
    for (const auto& door : listeners_)
      watched.push_back({paused ? -1 : door.fd(), POLLIN, 0});
    auto next = paused ? paused_until_ : clock::time_point::max();
    for (const auto& one : guests_) {
      watched.push_back({one.connection.socket.get(), one.events, 0});
      next = std::min(next, one.until);
    }
    auto wait =
      next == clock::time_point::max()
        ? -1
        : std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(next - clock::now()).count());
    if (::poll(watched.data(), watched.size(), static_cast<int>(wait)) < 0 && errno != EINTR)
      paused_until_ = clock::now() + pause_without_descriptors;
    if (watched.front().revents != 0)
      return;
    auto at = watched.begin() + 1 + static_cast<std::ptrdiff_t>(listeners_.size());
    for (auto one = guests_.begin(); one != guests_.end();) {  // before new ones come
      auto current = one++;
      if ((at++)->revents != 0 || clock::now() >= current->until)
        shake_hands(current);
    }
    for (std::size_t i = 0; i < listeners_.size(); ++i)
      if (watched[i + 1].revents != 0)
        accept_at(listeners_[i]);
  }
}

void doors::porter::accept_at(const listener& at) {
  for (int i = 0; i < accepts_a_turn; ++i) {
    unique_fd socket{::accept4(at.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        refuse(at, "somebody", "connections", std::string{"no descriptor is left: "} + std::strerror(errno));
        paused_until_ = clock::now() + pause_without_descriptors;
      }
      return;
    }
    meet(at, std::move(socket));
  }
}

void doors::porter::meet(const listener& at, unique_fd socket) {
  auto who = peer_of(socket.get());
  if (!who)
    return;  // gone already
  if (at.address().is_unix() && !options_.users.admits(*who))
    return refuse(at, who->text, "user", "it is not among --allow-uids and --allow-gids");
  connection_count::full full{};
  auto ticket = count_.enter(who->key, at.address().is_unix() ? options_.connections_max : tcp_max_, full);
  if (full == connection_count::full::all)
    return refuse(at, who->text, "connections", "there are as many connections as --connections-max allows here");
  if (full == connection_count::full::peer)
    return refuse(at, who->text, "peer", who->key + " has as many connections as --connections-per-peer allows");
  wire connection{std::move(socket), {}, std::move(ticket)};
  if (at.address().is_unix() || !tls_)
    return welcome(at, *who, std::move(connection), {});
  std::string trouble;
  bool renewed = false;
  const auto& context = tls_->current(trouble, renewed);
  if (!trouble.empty())
    say(door_event::tls_kept, trouble);
  if (renewed) {
    say(door_event::tls_changed, "the certificates of TLS have changed: new connections get the new ones");
    if (options_.on_certificate)
      options_.on_certificate(tls_->not_after());
  }
  auto tls = context.start(connection.socket.get());
  if (!tls)
    return refuse(at, who->text, "tls", tls.error().message);
  connection.tls = *std::move(tls);
  if (guests_.size() >= guests_max_) {  // honest ones take milliseconds: the oldest is the one that dawdles
    auto oldest = std::move(guests_.front());
    guests_.pop_front();
    refuse(*oldest.at, oldest.who.text, "tls", "it did not finish the handshake of TLS before others needed the place");
  }
  guests_.push_back({std::move(connection), *std::move(who), &at, clock::now() + options_.handshake_timeout, POLLIN});
  shake_hands(std::prev(guests_.end()));
}

// Ends with the guest gone from the list, or waiting for its socket.
void doors::porter::shake_hands(std::list<guest>::iterator one) {
  auto now = one->connection.tls.shake_hands();
  bool late = clock::now() >= one->until;
  if (!late && (now == tls_stream::state::reading || now == tls_stream::state::writing)) {
    one->events = now == tls_stream::state::reading ? POLLIN : POLLOUT;
    return;
  }
  auto gone = std::move(*one);
  guests_.erase(one);
  auto& tls = gone.connection.tls;
  if (now == tls_stream::state::failed)
    return refuse(*gone.at, gone.who.text, "tls", tls.failure());
  // A fresh socket takes one byte.
  if (late || tls.write(&tls_welcome, 1).now != tls_stream::state::done)
    return refuse(*gone.at, gone.who.text, "tls", "it did not finish the handshake of TLS in time");
  auto name = tls.peer_name();
  welcome(*gone.at, gone.who, std::move(gone.connection), name);
}

void doors::porter::welcome(const listener& at, const peer& who, wire connection, const std::string& certificate) {
  connection.from =
    who.text + (certificate.empty() ? "" : ", certificate of " + certificate) + " at " + to_string(at.address());
  say(door_event::entered, "connected: " + connection.from);
  options_.enter(std::move(connection));
}

void doors::porter::refuse(const listener& at, const std::string& who, const char* reason, const std::string& cause) {
  if (options_.on_reject)
    options_.on_reject(reason);
  say(door_event::refused, "refused at " + to_string(at.address()) + ": " + who + ": " + cause);
}

doors::doors() = default;
doors::~doors() = default;

result<std::unique_ptr<doors>> doors::open(door_options options) {
  std::optional<tls_server> tls;
  if (options.tls.wanted()) {
    auto loaded = tls_server::load(options.tls);
    if (!loaded)
      return loaded.error();
    tls = *std::move(loaded);
    if (options.on_certificate)
      options.on_certificate(tls->not_after());
  }
  std::vector<listener> listeners;
  for (const auto& where : options.listen) {
    auto one = listener::open(where, options.socket_file);
    if (!one)
      return one.error();
    listeners.push_back(*std::move(one));
  }
  unique_fd wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!wake)
    return errno_error("open the doors", errno);
  std::unique_ptr<doors> made{new doors};
  made->porter_ = std::make_unique<porter>(std::move(options), std::move(listeners), std::move(tls), std::move(wake));
  return made;
}

std::vector<server_address> doors::addresses() const {
  std::vector<server_address> out;
  for (const auto& one : porter_->listeners())
    out.push_back(one.address());
  return out;
}

}  // namespace maru::net
