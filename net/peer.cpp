#include "net/peer.hpp"

#include <arpa/inet.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/text_list.hpp"

namespace maru::net {

namespace {

constexpr auto loopback = "loopback";  // whoever has one address of it has them all

std::string address_text(int family, const void* bytes) {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(family, bytes, text, sizeof text);
  return text;
}

result<peer> user_at(int socket) {
  ucred who = {};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
    return errno_error("ask who is connected", errno);
  peer out;
  out.key = "uid " + std::to_string(who.uid);
  out.text = "pid " + std::to_string(who.pid) + ", uid " + std::to_string(who.uid) + ", gid " + std::to_string(who.gid);
  out.local_user = true;
  out.uid = who.uid;
  out.gids = {who.gid};
  std::vector<gid_t> more(64);
  size = static_cast<socklen_t>(more.size() * sizeof(gid_t));
  int got = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, more.data(), &size);
  if (got != 0 && errno == ERANGE) {  // `size` says how much room they take
    more.resize(size / sizeof(gid_t));
    got = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, more.data(), &size);
  }
  more.resize(got == 0 ? size / sizeof(gid_t) : 0);
  out.gids.insert(out.gids.end(), more.begin(), more.end());
  return out;
}

// `address`: four bytes.
peer ipv4_peer(const void* address, in_port_t port) {
  auto text = address_text(AF_INET, address);
  bool local = *static_cast<const unsigned char*>(address) == 127;
  return {local ? loopback : text, text + " port " + std::to_string(ntohs(port)), false, 0, {}};
}

peer address_of(const sockaddr_in& from) { return ipv4_peer(&from.sin_addr, from.sin_port); }

peer address_of(const sockaddr_in6& from) {
  if (IN6_IS_ADDR_V4MAPPED(&from.sin6_addr))
    return ipv4_peer(&from.sin6_addr.s6_addr[12], from.sin6_port);
  in6_addr network = from.sin6_addr;  // one host may have as many addresses in it as it likes
  std::memset(&network.s6_addr[8], 0, 8);
  auto key = IN6_IS_ADDR_LOOPBACK(&from.sin6_addr) ? loopback : address_text(AF_INET6, &network);
  auto port = " port " + std::to_string(ntohs(from.sin6_port));
  return {key, address_text(AF_INET6, &from.sin6_addr) + port, false, 0, {}};
}

// A number as it is, a name by `find`.
template <class Id, class Find>
result<std::vector<Id>> parse_ids(const std::string& list, const char* what, Find find) {
  std::vector<Id> ids;
  for (auto item : split_list(list)) {
    Id id{};
    auto [end, code] = std::from_chars(item.data(), item.data() + item.size(), id);
    if (code != std::errc{} || end != item.data() + item.size()) {
      auto found = find(std::string{item});
      if (!found)
        return {ec::bad_option, "failed to find " + std::string{what} + " '" + std::string{item} + "' on this system"};
      id = *found;
    }
    ids.push_back(id);
  }
  return ids;
}

}  // namespace

result<peer> peer_of(int socket) {
  sockaddr_storage from = {};
  socklen_t size = sizeof from;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&from), &size) != 0)
    return errno_error("ask who is connected", errno);
  switch (from.ss_family) {
    case AF_INET: return address_of(reinterpret_cast<sockaddr_in&>(from));
    case AF_INET6: return address_of(reinterpret_cast<sockaddr_in6&>(from));
    default: return user_at(socket);
  }
}

bool allowed_users::admits(const peer& who) const {
  if ((uids.empty() && gids.empty()) || std::find(uids.begin(), uids.end(), who.uid) != uids.end())
    return true;
  return std::find_first_of(who.gids.begin(), who.gids.end(), gids.begin(), gids.end()) != who.gids.end();
}

result<std::vector<uid_t>> parse_uids(const std::string& list) {
  return parse_ids<uid_t>(list, "user", [](const std::string& name) -> std::optional<uid_t> {
    auto* found = ::getpwnam(name.c_str());
    return found ? std::optional{found->pw_uid} : std::nullopt;
  });
}

result<std::vector<gid_t>> parse_gids(const std::string& list) {
  return parse_ids<gid_t>(list, "group", [](const std::string& name) -> std::optional<gid_t> {
    auto* found = ::getgrnam(name.c_str());
    return found ? std::optional{found->gr_gid} : std::nullopt;
  });
}

std::shared_ptr<const void> connection_count::enter(const std::string& key, std::size_t all_max, full& why) {
  why = full::no;
  {
    std::lock_guard guard(shared_->mutex);
    auto at = shared_->by_key.find(key);
    if (shared_->all >= all_max)
      why = full::all;
    else if (at != shared_->by_key.end() && at->second >= peer_max_)
      why = full::peer;
    if (why != full::no)
      return nullptr;
    ++shared_->all;
    ++shared_->by_key[key];
  }
  return {this, [counts = shared_, key](const void*) {
            std::lock_guard guard(counts->mutex);
            --counts->all;
            if (auto it = counts->by_key.find(key); --it->second == 0)
              counts->by_key.erase(it);
          }};
}

std::size_t connection_count::of(const std::string& key) const {
  std::lock_guard guard(shared_->mutex);
  auto at = shared_->by_key.find(key);
  return at == shared_->by_key.end() ? 0 : at->second;
}

std::size_t connection_count::all() const {
  std::lock_guard guard(shared_->mutex);
  return shared_->all;
}

}  // namespace maru::net
