// Goal: the HTTP endpoint answers its four routes, is read-only, and cannot be hurt by what a peer sends or fails to
// send. Method: a client on a bare socket, which can say anything; servers on free loopback ports.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "metrics/http_server.hpp"
#include "tests/support/random_run.hpp"

using namespace maru;
using namespace maru::metrics;
using namespace std::chrono_literals;
using test_clock = std::chrono::steady_clock;

namespace {

class peer {
public:
  explicit peer(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  peer(peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  peer& operator=(peer&&) = delete;
  ~peer() {
    if (fd_ >= 0)
      ::close(fd_);
  }

  bool connected() const { return connected_; }

  // False once the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0)
        return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  void half_close() { ::shutdown(fd_, SHUT_WR); }

  // Everything until the server closes, or the limit. `closed()` tells which.
  std::string read_all(std::chrono::milliseconds limit = 10s) {
    std::string got;
    auto deadline = test_clock::now() + limit;
    for (;;) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - test_clock::now()).count();
      pollfd one{fd_, POLLIN, 0};
      if (left <= 0 || ::poll(&one, 1, static_cast<int>(left)) <= 0)
        return got;
      char buffer[65536];
      auto n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) {
        closed_ = true;
        return got;
      }
      got.append(buffer, static_cast<std::size_t>(n));
    }
  }

  bool closed() const { return closed_; }

private:
  int fd_;
  bool connected_ = false;
  bool closed_ = false;
};

struct reply {
  int code = 0;
  std::string head, body;
};

reply parse(const std::string& text) {
  auto end = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.") || end == text.npos)
    return {};
  return {std::atoi(text.c_str() + 9), text.substr(0, end + 2), text.substr(end + 4)};
}

reply ask(std::uint16_t port, const std::string& request) {
  peer client{port};
  client.send(request);
  return parse(client.read_all());
}

reply get(std::uint16_t port, const std::string& path, const std::string& method = "GET") {
  return ask(port, method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

class HttpServerTest : public testing::Test {
protected:
  HttpServerTest() {
    auto started = http_server::start("127.0.0.1:0", routes());
    if (!started)
      throw std::runtime_error{started.error().message};
    server = *std::move(started);
    port = server->port();
  }

  http_routes routes() {
    return {.metrics = [this] { return metrics_body; },
            .healthy = [this] { return healthy.load(); },
            .ready = [this] { return ready.load(); },
            .status_json = [] { return std::string{"{\"pages\": 1}"}; }};
  }

  const std::string metrics_body = "maru_sessions 1\n" + std::string(16 << 20, '#') + "\n";
  std::atomic<bool> healthy{true}, ready{false};
  std::unique_ptr<http_server> server;
  std::uint16_t port = 0;
};

}  // namespace

TEST_F(HttpServerTest, MetricsAreServedWholeWithTheirContentType) {
  auto r = get(port, "/metrics");
  EXPECT_EQ(r.code, 200);
  EXPECT_NE(r.head.find("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), r.head.npos) << r.head;
  EXPECT_NE(r.head.find("Content-Length: " + std::to_string(metrics_body.size()) + "\r\n"), r.head.npos) << r.head;
  EXPECT_EQ(r.body, metrics_body);
}

TEST_F(HttpServerTest, StatusIsJson) {
  auto r = get(port, "/status?pretty=1");
  EXPECT_EQ(r.code, 200);
  EXPECT_NE(r.head.find("Content-Type: application/json\r\n"), r.head.npos) << r.head;
  EXPECT_EQ(r.body, "{\"pages\": 1}");
}

TEST_F(HttpServerTest, HealthAndReadinessFollowTheirCallbacks) {
  EXPECT_EQ(get(port, "/healthz").code, 200);
  EXPECT_EQ(get(port, "/readyz").code, 503);
  ready = true;
  healthy = false;
  EXPECT_EQ(get(port, "/healthz").code, 503);
  EXPECT_EQ(get(port, "/readyz").code, 200);
}

TEST_F(HttpServerTest, HeadHasTheHeadersAndNoBody) {
  auto r = get(port, "/status", "HEAD");
  EXPECT_EQ(r.code, 200);
  EXPECT_NE(r.head.find("Content-Length: 12\r\n"), r.head.npos) << r.head;
  EXPECT_EQ(r.body, "");
}

TEST_F(HttpServerTest, UnknownPathListsTheRoutes) {
  for (auto path : {"/", "/metric", "/metrics/", "/metrics/../healthz2", "/etc/passwd", "/%2e%2e/etc/passwd", "//"}) {
    auto r = get(port, path);
    EXPECT_EQ(r.code, 404) << path;
    for (auto route : {"/metrics", "/healthz", "/readyz", "/status"})
      EXPECT_NE(r.body.find(route), r.body.npos) << path;
  }
}

TEST_F(HttpServerTest, OtherMethodsAreRefused) {
  for (auto method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "MKCOL"}) {
    auto r = get(port, "/metrics", method);
    EXPECT_EQ(r.code, 405) << method;
    EXPECT_NE(r.head.find("Allow: GET, HEAD\r\n"), r.head.npos) << method;
    EXPECT_EQ(r.body.find("maru_sessions"), r.body.npos) << method;
  }
  auto with_body = ask(port, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(with_body.code, 405);
}

TEST_F(HttpServerTest, AConnectionCarriesOneRequest) {
  peer client{port};
  client.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n");
  auto r = parse(client.read_all());
  EXPECT_EQ(r.code, 200);
  EXPECT_TRUE(client.closed());
  EXPECT_NE(r.head.find("Connection: close\r\n"), r.head.npos) << r.head;
}

TEST_F(HttpServerTest, GarbageEndsItsConnectionAndTheServerGoesOn) {
  std::mt19937_64 random{maru::test::test_seed()};
  std::vector<std::string> requests = {
    "\r\n\r\n",
    "GET\r\n\r\n",
    "GET /metrics\r\n\r\n",
    "GET /metrics HTTP/9.9\r\n\r\n",
    "GET http://[::1 HTTP/1.1\r\n\r\n",
    "FROB /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "GET /" + std::string(100000, 'a') + " HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\n" + std::string(100000, 'h') + ": x\r\n\r\n",
    std::string(4096, '\0'),
  };
  for (int i = 0; i < 100; ++i) {
    std::string noise(random() % 2000, '\0');
    for (auto& c : noise)
      c = static_cast<char>(random());
    requests.push_back(noise + "\r\n\r\n");
  }
  for (auto& request : requests) {
    peer client{port};
    client.send(request);
    client.half_close();
    client.read_all(5s);
    EXPECT_TRUE(client.closed()) << "still open after: " << request.substr(0, 80);
  }
  EXPECT_EQ(get(port, "/healthz").code, 200);
}

TEST_F(HttpServerTest, SilentConnectionsAreClosedWithinSecondsAndOthersGetThrough) {
  std::vector<peer> silent;
  for (int i = 0; i < 4; ++i)
    silent.emplace_back(port);
  silent[0].send("GET /metr");
  auto start = test_clock::now();
  EXPECT_EQ(get(port, "/healthz").code, 200);
  EXPECT_LT(test_clock::now() - start, 8s);
  for (auto& client : silent) {
    client.read_all(8s);
    EXPECT_TRUE(client.closed());
  }
}

TEST_F(HttpServerTest, APeerThatTricklesBytesDoesNotHoldItsThread) {
  peer slow{port};
  auto start = test_clock::now();
  bool open = slow.send("GET /metrics HTTP/1.1\r\n");
  while (open && test_clock::now() - start < 10s) {
    // A byte every 100 ms would keep any timeout that counts from the last byte from running out.
    slow.read_all(100ms);
    open = !slow.closed() && slow.send("a");
  }
  EXPECT_LT(test_clock::now() - start, 6s);
}

TEST_F(HttpServerTest, APeerThatDoesNotReadHoldsNobodyElse) {
  std::vector<peer> deaf;
  for (int i = 0; i < 2; ++i) {
    deaf.emplace_back(port);
    deaf.back().send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  auto start = test_clock::now();
  EXPECT_EQ(get(port, "/healthz").code, 200);
  EXPECT_LT(test_clock::now() - start, 8s);
}

TEST_F(HttpServerTest, ManyAtOnceAreAllAnswered) {
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> clients;
    for (int t = 0; t < 16; ++t)
      clients.emplace_back([&] {
        for (int i = 0; i < 20; ++i)
          good += get(port, "/healthz").code == 200;
      });
  }
  EXPECT_EQ(good, 16 * 20);
}

TEST_F(HttpServerTest, SecondServerOnThePortIsToldThatItIsTaken) {
  auto second = http_server::start("127.0.0.1:" + std::to_string(port), routes());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.code(), ec::in_use);
  EXPECT_NE(second.error().message.find("127.0.0.1:" + std::to_string(port)), std::string::npos);
  EXPECT_EQ(get(port, "/healthz").code, 200);
}

TEST_F(HttpServerTest, ThePortIsFreeAtOnceWhenTheServerIsGone) {
  EXPECT_EQ(get(port, "/healthz").code, 200);
  server.reset();
  auto again = http_server::start("127.0.0.1:" + std::to_string(port), routes());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ((*again)->port(), port);
}

TEST_F(HttpServerTest, StoppingWaitsForSilentPeersNoLongerThanTheirTimeout) {
  std::vector<peer> silent;
  for (int i = 0; i < 40; ++i) {
    silent.emplace_back(port);
    ASSERT_TRUE(silent.back().connected());
  }
  auto start = test_clock::now();
  server.reset();
  EXPECT_LT(test_clock::now() - start, 4s);
}

TEST_F(HttpServerTest, StoppingAServerThatHasServedIsQuick) {
  EXPECT_EQ(get(port, "/healthz").code, 200);
  auto start = test_clock::now();
  server.reset();
  EXPECT_LT(test_clock::now() - start, 1s);
}

TEST(HttpServerStart, TakesALocalName) {
  auto server = http_server::start("localhost:0", {.healthy = [] { return true; }});
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_NE((*server)->port(), 0);
}

TEST(HttpServerStart, RefusesWhatIsNotHostAndPort) {
  for (auto listen : {"", ":", "9555", ":9555", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000",
                      "127.0.0.1:-1", "127.0.0.1:80 ", "300.1.2.3:80", "[::1]:80", "127.0.0.1:80,81"}) {
    auto server = http_server::start(listen, {});
    ASSERT_FALSE(server) << listen;
    EXPECT_EQ(server.code(), ec::bad_option) << listen;
  }
}

TEST(HttpServerStart, AnAddressThatIsNotOursIsAnIoError) {
  auto server = http_server::start("192.0.2.1:0", {});  // TEST-NET-1, RFC 5737: nobody's
  ASSERT_FALSE(server);
  EXPECT_EQ(server.code(), ec::io);
}
