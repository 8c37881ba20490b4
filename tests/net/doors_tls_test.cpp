// Goal: nobody comes through a door of TLS without the right certificate: not with one that is missing, foreign,
// expired or for something else, not in plain text, not by half a handshake; both sides say why; new certificates are
// taken up. Method: doors without a transport behind them; peers over bare sockets, over dial() and of the openssl
// program.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "doors_fixture.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::test {
namespace {

namespace fs = std::filesystem;

TEST(TlsDoors, TheRightCertificateComesIn) {
  house h(with_tls());
  ASSERT_EQ(h.trouble().message, "");
  auto one = dial(h.address(), client_with("client"));
  ASSERT_TRUE(one) << refusal(one);
  EXPECT_TRUE(eventually([&] { return h.inside() == 1; }));
  EXPECT_TRUE(h.says("certificate of CN = client"));
}

TEST(TlsDoors, AWrongCertificateIsRefusedOnBothSides) {
  struct attempt {
    std::string server, server_ca, client, client_ca, server_says, client_says;
  };
  for (const auto& a :
       {attempt{"server", "ca", "expired-client", "ca", "its certificate is no good: certificate has expired",
                "shown a certificate that has expired"},
        attempt{"server", "ca", "foreign-client", "ca", "unable to get local issuer certificate",
                "does not know the CA"},
        attempt{"server", "ca", "server", "ca", "unsuitable certificate purpose", "refuses the cert"},
        attempt{"foreign-server", "ca", "client", "ca", "does not know the CA", "unable to get local issuer"},
        attempt{"client2", "ca", "client", "ca", "refused at", "certificate purpose"},
        attempt{"elsewhere", "ca", "client", "ca", "refuse", "mismatch"}}) {
    house h(with_tls(a.server, a.server_ca));
    auto one = dial(h.address(), client_with(a.client, a.client_ca));
    EXPECT_FALSE(one) << a.server << " and " << a.client;
    EXPECT_TRUE(refusal(one).starts_with("refused: ")) << refusal(one);
    EXPECT_NE(refusal(one).find(a.client_says), std::string::npos) << refusal(one);
    EXPECT_TRUE(h.says(a.server_says)) << h.log();
    EXPECT_EQ(h.refused("tls"), 1);
    EXPECT_EQ(h.inside(), 0u);
  }
}

TEST(TlsDoors, TheNameInTheCertificateCountsAndCanBeChosen) {
  house h(with_tls("elsewhere"));
  auto options = client_with("client");
  options.server_name = "elsewhere.example";
  EXPECT_TRUE(dial(h.address(), options));
  options.server_name = "nowhere.example";
  EXPECT_EQ(dial(h.address(), options).code(), ec::refused);
}

TEST(TlsDoors, WithoutACertificateNobodyComesIn) {
  house h(with_tls());
  auto address = to_string(h.address());
  auto command = "echo | timeout 5 openssl s_client -connect " + address + " >/dev/null 2>&1";
  EXPECT_EQ(std::system(("sh -c '" + command + "; true'").c_str()), 0);
  EXPECT_TRUE(h.says("it showed no certificate")) << h.log();
  EXPECT_EQ(h.inside(), 0u);
}

TEST(TlsDoors, OlderTlsIsRefused) {
  house h(with_tls());
  auto files = certificates::made().of("client");
  auto command = "echo | timeout 5 openssl s_client -tls1_2 -cert " + files.cert + " -key " + files.key + " -connect "
                 + to_string(h.address()) + " >/dev/null 2>&1";
  EXPECT_EQ(std::system(("sh -c '" + command + "; true'").c_str()), 0);
  EXPECT_TRUE(h.says("it does not speak TLS 1.3")) << h.log();
  EXPECT_EQ(h.inside(), 0u);
}

TEST(TlsDoors, PlainTextAtATlsDoorIsRefused) {
  house h(with_tls());
  for (const auto& text : std::vector<std::string>{"GET / HTTP/1.1\r\n\r\n",
                                                   "\x01\x02\x03\x04 some random bytes that are no record of TLS",
                                                   std::string(4096, '\0'), "\x16\x03\x01\xff\xff\x01"}) {
    auto one = dial(h.address());
    ASSERT_TRUE(one);
    (void)!::send(one->socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  EXPECT_TRUE(eventually([&] { return h.refused("tls") == 4; })) << h.refused("tls");
  EXPECT_TRUE(h.says("it does not speak TLS"));
  EXPECT_EQ(h.inside(), 0u);
}

TEST(TlsDoors, TlsAtAPlainDoorIsRefusedByTheClient) {
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

TEST(TlsDoors, HalfAHandshakeIsEndedInTime) {
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

TEST(TlsDoors, StrangersDoNotKeepOthersOut) {
  auto options = with_tls();
  options.connections_max = 8;
  house h(std::move(options));
  auto held = flood(h.address(), 20);
  EXPECT_TRUE(eventually([&] { return h.refused("tls") == 18; })) << "a quarter of the places is theirs";
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(dial(h.address(), client_with("client"))) << h.log();
  EXPECT_TRUE(eventually([&] { return h.inside() == 5; }));
}

TEST(TlsDoors, NewCertificatesAreTakenUpAndBrokenOnesAreNot) {
  temp_folder folder;
  auto put = [&](const std::string& from, const std::string& as) {
    fs::copy_file(certificates::made().path(from), folder / "new", fs::copy_options::overwrite_existing);
    fs::rename(folder / "new", folder / as);
  };
  put("elsewhere.pem", "cert");
  put("elsewhere.key", "key");
  put("ca.pem", "ca");
  auto options = at("127.0.0.1:0");
  options.tls = {folder / "cert", folder / "key", folder / "ca"};
  house h(std::move(options));
  EXPECT_FALSE(dial(h.address(), client_with("client"))) << "it is another marud's";
  put("server.pem", "cert");
  EXPECT_FALSE(dial(h.address(), client_with("client"))) << "its key is not there yet";
  EXPECT_TRUE(h.says("is not that of")) << h.log();
  put("server.key", "key");
  EXPECT_TRUE(dial(h.address(), client_with("client"))) << h.log();
  put("expired-server.pem", "cert");
  put("expired-server.key", "key");
  EXPECT_TRUE(dial(h.address(), client_with("client"))) << "one that is over does not replace one that is not";
  EXPECT_TRUE(h.says("has expired on")) << h.log();
  std::ofstream{folder / "cert", std::ios::trunc} << "rubbish";
  EXPECT_TRUE(dial(h.address(), client_with("client"))) << "the one of before";
  put("server.pem", "cert");
  put("other-ca.pem", "ca");
  EXPECT_FALSE(dial(h.address(), client_with("client")));
  EXPECT_TRUE(dial(h.address(), client_with("foreign-client")));
}

TEST(TlsDoors, FilesThatCannotBeUsedStopTheStart) {
  auto broken = [](auto change) {
    auto options = with_tls();
    change(options.tls);
    return house(std::move(options)).trouble();
  };
  EXPECT_EQ(broken([](auto& f) { f.cert = "/nonexistent"; }).code, ec::bad_option);
  EXPECT_EQ(broken([](auto& f) { f.key = certificates::made().path("client.key"); }).code, ec::bad_option);
  EXPECT_EQ(broken([](auto& f) { f.ca = f.key; }).code, ec::bad_option);
  EXPECT_EQ(broken([](auto& f) { f.ca.clear(); }).code, ec::bad_option);
  EXPECT_EQ(broken([](auto& f) { f = certificates::made().of("expired-server"); }).code, ec::bad_option);
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
