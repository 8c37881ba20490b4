// Goal: nobody comes through a door without the right: no user who is not on the list, no certificate that is missing,
// foreign, expired or for something else, no plain text, no half handshake, and no more connections than one peer may
// have. And a socket of a server that lives is never taken away. Method: doors without a transport behind them, which
// collect whom they let in; peers over bare sockets and over dial().
#include "net/doors.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <regex>
#include <thread>

#include "net/dial.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

bool eventually(const std::function<bool()>& holds) {
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
    options.on_event = [this](bool, const std::string& line) {
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

net::door_options at(const std::string& where) {
  net::door_options out;
  out.listen = *parse_server_addresses(where);
  return out;
}

net::door_options with_tls(const std::string& certificate = "server", const std::string& ca = "ca") {
  auto out = at("127.0.0.1:0");
  out.tls = certificates::made().of(certificate, ca);
  return out;
}

tls_options client_with(const std::string& certificate, const std::string& ca = "ca") {
  auto files = certificates::made().of(certificate, ca);
  return {files.ca, files.cert, files.key, {}};
}

result<net::wire> dial(const server_address& where, const tls_options& tls = {},
                       std::chrono::milliseconds limit = 10s) {
  return net::dial(where, tls, std::chrono::steady_clock::now() + limit, [] { return false; });
}

std::string refusal(const result<net::wire>& dialled) { return dialled ? "connected" : to_string(dialled.error()); }

// True when the other side closes it.
bool closes(const net::wire& w) {
  return eventually([&] {
    char byte;
    auto n = ::recv(w.socket.get(), &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
  });
}

unsigned mode_of(const std::string& path) {
  struct stat s = {};
  return ::lstat(path.c_str(), &s) == 0 ? s.st_mode & 0777 : 0;
}

// -- Unix sockets

TEST(Doors, BothKindsAreOpenAtOnce) {
  temp_folder folder;
  house h(at("unix:" + folder / "deep/er/m.sock" + ",127.0.0.1:0"));
  ASSERT_EQ(h.trouble().message, "");
  auto one = dial(h.address(0)), two = dial(h.address(1));
  ASSERT_TRUE(one && two) << refusal(one) << refusal(two);
  EXPECT_TRUE(eventually([&] { return h.inside() == 2; }));
  EXPECT_TRUE(h.says("pid " + std::to_string(::getpid()) + ", uid " + std::to_string(::getuid())));
  EXPECT_TRUE(h.says("127.0.0.1 port "));
}

TEST(Doors, TheSocketHasItsModeAndGroupAndIsGoneAtTheEnd) {
  temp_folder folder;
  auto options = at("unix:" + folder / "m.sock");
  options.socket_file = {0620, ::getgid()};
  house h(std::move(options));
  ASSERT_EQ(h.trouble().message, "");
  EXPECT_EQ(mode_of(folder / "m.sock"), 0620u);
  h.close();
  EXPECT_FALSE(fs::exists(folder / "m.sock"));
}

TEST(Doors, TheSocketOfALivingServerIsNotTakenAway) {
  temp_folder folder;
  house first(at("unix:" + folder / "m.sock"));
  house second(at("unix:" + folder / "m.sock"));
  EXPECT_EQ(second.trouble().code, ec::in_use);
  fs::remove(folder / "m.sock.lock");  // somebody cleans up too much
  house third(at("unix:" + folder / "m.sock"));
  EXPECT_EQ(third.trouble().code, ec::in_use) << third.trouble().message;
  EXPECT_TRUE(dial(first.address())) << "the first one still listens there";
}

TEST(Doors, WhatAKilledServerLeftIsReplaced) {
  temp_folder folder;
  auto path = folder / "m.sock";
  {
    unique_fd left{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_un to = {};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, sizeof to.sun_path - 1);
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    ASSERT_EQ(::listen(left.get(), 1), 0);
  }
  ASSERT_TRUE(fs::exists(path));
  house h(at("unix:" + path));
  EXPECT_EQ(h.trouble().message, "");
  EXPECT_TRUE(dial(h.address()));
}

TEST(Doors, AFileThatIsNoSocketStays) {
  temp_folder folder;
  std::ofstream{folder / "m.sock"} << "precious";
  house h(at("unix:" + folder / "m.sock"));
  EXPECT_EQ(h.trouble().code, ec::unknown_contents);
  EXPECT_EQ(fs::file_size(folder / "m.sock"), 8u);
}

TEST(Doors, AnothersSocketInTheSamePlaceIsNotRemoved) {
  temp_folder folder;
  house first(at("unix:" + folder / "m.sock"));
  fs::rename(folder / "m.sock", folder / "moved.sock");
  fs::remove(folder / "m.sock.lock");
  house second(at("unix:" + folder / "m.sock"));
  ASSERT_EQ(second.trouble().message, "");
  first.close();
  EXPECT_TRUE(dial(second.address()));
}

TEST(Doors, OnlyListedUsersComeThroughASocket) {
  temp_folder folder;
  auto options = at("unix:" + folder / "m.sock");
  options.users.uids = {::getuid() + 1};
  house h(std::move(options));
  auto stranger = dial(h.address());
  ASSERT_TRUE(stranger);
  EXPECT_TRUE(closes(*stranger));
  EXPECT_EQ(h.inside(), 0u);
  EXPECT_EQ(h.refused("user"), 1);
  EXPECT_TRUE(h.says("uid " + std::to_string(::getuid())) && h.says("--allow-uids"));
}

TEST(Doors, AListedUserOrGroupIsEnough) {
  net::peer who;
  who.uid = 1000;
  who.gids = {100, 27};
  EXPECT_TRUE(net::allowed_users{}.admits(who));
  EXPECT_TRUE((net::allowed_users{{1000}, {}}.admits(who)));
  EXPECT_TRUE((net::allowed_users{{5}, {27}}.admits(who))) << "a further group of the process";
  EXPECT_FALSE((net::allowed_users{{5}, {28}}.admits(who)));
  EXPECT_FALSE((net::allowed_users{{}, {28}}.admits(who)));
  EXPECT_EQ(*net::parse_uids("root, 7"), (std::vector<uid_t>{0, 7}));
  EXPECT_EQ(net::parse_gids("no-such-group-here").code(), ec::bad_option);
  EXPECT_EQ(net::parse_uids("-1").code(), ec::bad_option);
}

TEST(Doors, NobodyListensIsSaidWithTheCause) {
  temp_folder folder;
  auto nobody = dial(*parse_server_address("unix:" + folder / "none.sock"));
  EXPECT_EQ(nobody.code(), ec::unavailable);
  EXPECT_NE(refusal(nobody).find("No such file"), std::string::npos) << refusal(nobody);
}

// -- bounds

TEST(Doors, OnePeerHasOnlySoManyConnections) {
  temp_folder folder;
  auto options = at("127.0.0.1:0,unix:" + folder / "m.sock");
  options.per_peer_max = 3;
  house h(std::move(options));
  std::vector<net::wire> flood;
  for (int i = 0; i < 100; ++i)
    if (auto one = dial(h.address()))
      flood.push_back(*std::move(one));
  EXPECT_TRUE(eventually([&] { return h.refused("peer") == 97; })) << h.refused("peer");
  EXPECT_EQ(h.inside(), 3u);
  auto lines = h.log();
  EXPECT_LT(std::count(lines.begin(), lines.end(), '\n'), 20) << "a flood does not fill the log";
  EXPECT_TRUE(dial(h.address(1)) && eventually([&] { return h.inside() == 4; })) << "others still come in";
  h.show_out();
  EXPECT_TRUE(dial(h.address()) && eventually([&] { return h.inside() == 1; })) << "room again";
}

TEST(Doors, AllTogetherHaveOnlySoManyConnections) {
  auto options = at("127.0.0.1:0");
  options.connections_max = 2;
  house h(std::move(options));
  std::vector<net::wire> flood;
  for (int i = 0; i < 10; ++i)
    if (auto one = dial(h.address()))
      flood.push_back(*std::move(one));
  EXPECT_TRUE(eventually([&] { return h.refused("connections") == 8; }));
  EXPECT_EQ(h.inside(), 2u);
}

// -- TLS

TEST(Doors, TheRightCertificateComesIn) {
  house h(with_tls());
  ASSERT_EQ(h.trouble().message, "");
  auto one = dial(h.address(), client_with("client"));
  ASSERT_TRUE(one) << refusal(one);
  EXPECT_TRUE(eventually([&] { return h.inside() == 1; }));
  EXPECT_TRUE(h.says("certificate of CN = client"));
}

TEST(Doors, AWrongCertificateIsRefusedOnBothSides) {
  struct attempt {
    std::string server, server_ca, client, client_ca, server_says, client_says;
  };
  for (const auto& a :
       {attempt{"server", "ca", "expired-client", "ca", "its certificate is no good: certificate has expired",
                "refused: .*shown a certificate that has expired"},
        attempt{"server", "ca", "foreign-client", "ca", "unable to get local issuer certificate",
                "refused: .*does not know the CA"},
        attempt{"server", "ca", "server", "ca", "unsuitable certificate purpose", "refused: .*refuses the cert"},
        attempt{"expired-server", "ca", "client", "ca", "shown a certificate that has expired",
                "refused: .*certificate has expired"},
        attempt{"foreign-server", "ca", "client", "ca", "does not know the CA",
                "refused: .*unable to get local issuer"},
        attempt{"client2", "ca", "client", "ca", "refused at", "refused: .*certificate purpose"},
        attempt{"elsewhere", "ca", "client", "ca", "refuse", "refused: .*mismatch"}}) {
    house h(with_tls(a.server, a.server_ca));
    auto one = dial(h.address(), client_with(a.client, a.client_ca));
    EXPECT_FALSE(one) << a.server << " and " << a.client;
    EXPECT_TRUE(std::regex_search(refusal(one), std::regex{a.client_says})) << refusal(one);
    EXPECT_TRUE(h.says(a.server_says)) << h.log();
    EXPECT_EQ(h.refused("tls"), 1);
    EXPECT_EQ(h.inside(), 0u);
  }
}

TEST(Doors, TheNameInTheCertificateCountsAndCanBeChosen) {
  house h(with_tls("elsewhere"));
  auto options = client_with("client");
  options.server_name = "elsewhere.example";
  EXPECT_TRUE(dial(h.address(), options));
  options.server_name = "nowhere.example";
  EXPECT_EQ(dial(h.address(), options).code(), ec::refused);
}

TEST(Doors, WithoutACertificateNobodyComesIn) {
  house h(with_tls());
  auto address = to_string(h.address());
  auto command = "echo | timeout 5 openssl s_client -connect " + address + " >/dev/null 2>&1";
  EXPECT_EQ(std::system(("sh -c '" + command + "; true'").c_str()), 0);
  EXPECT_TRUE(h.says("it showed no certificate")) << h.log();
  EXPECT_EQ(h.inside(), 0u);
}

TEST(Doors, OlderTlsIsRefused) {
  house h(with_tls());
  auto files = certificates::made().of("client");
  auto command = "echo | timeout 5 openssl s_client -tls1_2 -cert " + files.cert + " -key " + files.key + " -connect "
                 + to_string(h.address()) + " >/dev/null 2>&1";
  EXPECT_EQ(std::system(("sh -c '" + command + "; true'").c_str()), 0);
  EXPECT_TRUE(h.says("it does not speak TLS 1.3")) << h.log();
  EXPECT_EQ(h.inside(), 0u);
}

TEST(Doors, PlainTextAtATlsDoorIsRefused) {
  house h(with_tls());
  for (std::string text : {"GET / HTTP/1.1\r\n\r\n", "\x01\x02\x03\x04 some random bytes that are no record of TLS",
                           std::string(4096, '\0'), "\x16\x03\x01\xff\xff\x01"}) {
    auto one = dial(h.address());
    ASSERT_TRUE(one);
    (void)!::send(one->socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  EXPECT_TRUE(eventually([&] { return h.refused("tls") == 4; })) << h.refused("tls");
  EXPECT_TRUE(h.says("it does not speak TLS"));
  EXPECT_EQ(h.inside(), 0u);
}

TEST(Doors, TlsAtAPlainDoorIsRefusedByTheClient) {
  unique_fd server{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in here = {};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof here;
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&here), size), 0);
  ASSERT_EQ(::listen(server.get(), 1), 0);
  ::getsockname(server.get(), reinterpret_cast<sockaddr*>(&here), &size);
  std::thread greets([&] {
    unique_fd peer{::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    std::string handshake(64, '\0');  // as a plain marud begins
    (void)!::send(peer.get(), handshake.data(), handshake.size(), MSG_NOSIGNAL);
    char gone;
    (void)!::recv(peer.get(), &gone, 1, MSG_WAITALL);
  });
  auto one = dial({{"127.0.0.1", ntohs(here.sin_port)}, {}}, client_with("client"));
  EXPECT_EQ(one.code(), ec::refused);
  EXPECT_NE(refusal(one).find("it does not speak TLS"), std::string::npos) << refusal(one);
  greets.join();
}

TEST(Doors, HalfAHandshakeIsEndedInTime) {
  auto options = with_tls();
  options.handshake_timeout = 300ms;
  house h(std::move(options));
  std::vector<net::wire> silent;
  for (int i = 0; i < 50; ++i) {
    auto one = dial(h.address());
    ASSERT_TRUE(one);
    if (i % 2 == 0)
      (void)!::send(one->socket.get(), "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL);  // begins a record, and waits
    silent.push_back(*std::move(one));
  }
  EXPECT_TRUE(dial(h.address(), client_with("client"))) << "meanwhile others come in";
  for (const auto& one : silent)
    EXPECT_TRUE(closes(one));
  EXPECT_EQ(h.refused("tls"), 50);
  EXPECT_TRUE(h.says("did not finish the handshake"));
}

TEST(Doors, NewCertificatesAreTakenUpAndBrokenOnesAreNot) {
  temp_folder folder;
  auto put = [&](const std::string& from, const std::string& as) {
    fs::copy_file(certificates::made().path(from), folder / "new", fs::copy_options::overwrite_existing);
    fs::rename(folder / "new", folder / as);
  };
  put("expired-server.pem", "cert");
  put("expired-server.key", "key");
  put("ca.pem", "ca");
  auto options = at("127.0.0.1:0");
  options.tls = {folder / "cert", folder / "key", folder / "ca"};
  house h(std::move(options));
  EXPECT_FALSE(dial(h.address(), client_with("client")));
  put("elsewhere.pem", "cert");
  EXPECT_FALSE(dial(h.address(), client_with("client"))) << "its key is not there yet";
  EXPECT_TRUE(h.says("is not that of")) << h.log();
  put("server.pem", "cert");
  put("server.key", "key");
  EXPECT_TRUE(dial(h.address(), client_with("client"))) << h.log();
  std::ofstream{folder / "cert", std::ios::trunc} << "rubbish";
  EXPECT_TRUE(dial(h.address(), client_with("client"))) << "the one of before";
  put("server.pem", "cert");
  put("other-ca.pem", "ca");
  EXPECT_FALSE(dial(h.address(), client_with("client")));
  EXPECT_TRUE(dial(h.address(), client_with("foreign-client")));
}

TEST(Doors, FilesThatCannotBeUsedStopTheStart) {
  auto broken = [](auto change) {
    auto options = with_tls();
    change(options.tls);
    return house(std::move(options)).trouble();
  };
  EXPECT_EQ(broken([](auto& f) { f.cert = "/nonexistent"; }).code, ec::bad_option);
  EXPECT_EQ(broken([](auto& f) { f.key = certificates::made().path("client.key"); }).code, ec::bad_option);
  EXPECT_EQ(broken([](auto& f) { f.ca = f.key; }).code, ec::bad_option);
  EXPECT_EQ(broken([](auto& f) { f.ca.clear(); }).code, ec::bad_option);
}

TEST(Dial, GivesUpAtTheDeadlineAndWhenItIsTold) {
  unique_fd silent{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in here = {};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof here;
  ASSERT_EQ(::bind(silent.get(), reinterpret_cast<sockaddr*>(&here), size), 0);
  ASSERT_EQ(::listen(silent.get(), 8), 0);
  ::getsockname(silent.get(), reinterpret_cast<sockaddr*>(&here), &size);
  server_address where{{"127.0.0.1", ntohs(here.sin_port)}, {}};
  EXPECT_EQ(dial(where, client_with("client"), 200ms).code(), ec::unavailable);
  auto told = net::dial(where, client_with("client"), std::chrono::steady_clock::now() + 1h, [] { return true; });
  EXPECT_EQ(told.code(), ec::unavailable);
}

}  // namespace
}  // namespace maru::test
