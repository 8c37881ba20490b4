// Doors without a transport behind them, which collect whom they let in, and peers that knock.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/dial.hpp"
#include "net/doors.hpp"
#include "tests/support/certificates.hpp"

namespace maru::test {

using namespace std::chrono_literals;

inline bool eventually(const std::function<bool()>& holds) {
  for (auto end = std::chrono::steady_clock::now() + 20s; !holds();) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

// Open doors and what came of them.
class house {
public:
  explicit house(net::door_options options) {
    options.enter = [this](net::wire w) {
      std::lock_guard guard(mutex_);
      inside_.push_back(std::move(w));
    };
    options.on_reject = [this](std::string_view reason) {
      std::lock_guard guard(mutex_);
      ++refused_[std::string{reason}];
    };
    options.on_event = [this](net::door_event, const std::string& line) {
      std::lock_guard guard(mutex_);
      log_ += line + "\n";
    };
    auto opened = net::doors::open(std::move(options));
    if (opened)
      doors_ = *std::move(opened);
    else
      trouble_ = opened.error();
  }

  const error& trouble() const { return trouble_; }
  server_address address(std::size_t i = 0) const { return doors_->addresses().at(i); }
  std::size_t inside() {
    std::lock_guard guard(mutex_);
    return inside_.size();
  }
  int refused(const std::string& why) {
    std::lock_guard guard(mutex_);
    return refused_[why];
  }
  std::string log() {
    std::lock_guard guard(mutex_);
    return log_;
  }
  bool says(const std::string& what) {
    return eventually([&] { return log().find(what) != std::string::npos; });
  }
  void show_out() {
    std::lock_guard guard(mutex_);
    inside_.clear();
  }
  void close() { doors_.reset(); }

private:
  std::mutex mutex_;
  std::vector<net::wire> inside_;
  std::map<std::string, int> refused_;
  std::string log_;
  error trouble_;
  std::unique_ptr<net::doors> doors_;
};

inline net::door_options at(const std::string& where) {
  net::door_options out;
  out.listen = *parse_server_addresses(where);
  return out;
}

inline net::door_options with_tls(const std::string& certificate = "server", const std::string& ca = "ca") {
  auto out = at("127.0.0.1:0");
  out.tls = certificates::made().of(certificate, ca);
  return out;
}

inline tls_options client_with(const std::string& certificate, const std::string& ca = "ca") {
  auto files = certificates::made().of(certificate, ca);
  return {files.ca, files.cert, files.key, {}};
}

inline result<net::wire> dial(const server_address& where, const tls_options& tls = {},
                              std::chrono::milliseconds limit = 10s) {
  return net::dial(where, tls, std::chrono::steady_clock::now() + limit, [] { return false; });
}

// Connects many times and says nothing: the connections that were made.
inline std::vector<net::wire> flood(const server_address& where, int times) {
  std::vector<net::wire> made;
  for (int i = 0; i < times; ++i)
    if (auto one = dial(where))
      made.push_back(*std::move(one));
  return made;
}

inline std::string refusal(const result<net::wire>& dialled) {
  return dialled ? "connected" : to_string(dialled.error());
}

// True when the other side closes it.
inline bool closes(const net::wire& w) {
  return eventually([&] {
    char byte;
    auto n = ::recv(w.socket.get(), &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
  });
}

}  // namespace maru::test
