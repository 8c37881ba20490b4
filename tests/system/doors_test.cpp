// Goal: workers, maructl and operators come in through every kind of door with the right, and nobody without it;
// rotation of tokens and certificates costs no session. Method: a real marud, clients in this process, maructl, and
// another user where the test may become one.
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "net/admin.hpp"
#include "tests/support/certificates.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

namespace fs = std::filesystem;

client_options options_for(const std::string& server) {
  client_options o;
  o.server = server;
  o.chunk_bytes = 4096;
  o.timeout = 10s;
  return o;
}

std::string trouble(const client_options& o) {
  auto c = client::open(o);
  return c ? "connected" : to_string(c.error());
}

// What maructl prints, and its exit code in front.
std::string maructl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), MARUCTL_PATH);
  process p{arguments};
  std::string said;
  for (auto line = p.hear(20s); !line.empty(); line = p.hear(20s))
    said += line + "\n";
  return std::to_string(p.wait(20s)) + " " + said;
}

bool says(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }

// marud's own lines until one holds `what`; false when none does.
bool logs(marud& m, const std::string& what) {
  for (auto line = m.body().hear(20s); !line.empty(); line = m.body().hear(20s))
    if (says(line, what))
      return true;
  return false;
}

tls_options tls_with(const std::string& name) {
  auto f = certificates::made().of(name);
  return {f.ca, f.cert, f.key, {}};
}

std::vector<std::string> tls_arguments() {
  auto f = certificates::made().of("server");
  return {"--tls-cert", f.cert, "--tls-key", f.key, "--tls-ca", f.ca};
}

TEST(SocketDoor, WorkersOfBothDoorsShareOnePool) {
  temp_folder folder;
  auto socket = "unix:" + folder / "m.sock";
  marud m{{"--listen", socket}};
  auto local = client::open(options_for("unix://" + folder / "m.sock"));
  ASSERT_TRUE(local) << to_string(local.error());
  EXPECT_TRUE(put(**local, "a"));
  auto other = m.open();
  ASSERT_TRUE(other);
  EXPECT_EQ(read_back(*other, "a"), "ok");
  EXPECT_TRUE(says(maructl({"--server", socket, "status"}), "0 ")) << maructl({"--server", socket, "status"});
  EXPECT_TRUE(logs(m, "it is pid " + std::to_string(::getpid())));
  EXPECT_EQ(m.stop(), 0);
  EXPECT_FALSE(fs::exists(folder / "m.sock"));
}

TEST(SocketDoor, SessionsOutliveARestartAndAKill) {
  temp_folder folder;
  marud m{{"--listen", "unix:" + folder / "m.sock"}};
  auto c = client::open(options_for("unix:" + folder / "m.sock"));
  ASSERT_TRUE(c);
  ASSERT_TRUE(put(**c, "a"));
  auto v = (*c)->retrieve("a");
  auto session = (*c)->info().session;
  m.kill_hard();
  ASSERT_TRUE(fs::exists(folder / "m.sock")) << "a killed marud leaves its socket";
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_TRUE(put(**c, "b"));
  EXPECT_EQ((*c)->info().session, session);
  EXPECT_EQ(read_back(**c, "a"), "ok");
}

TEST(SocketDoor, ASecondMarudDoesNotTakeTheSocket) {
  temp_folder folder;
  marud m{{"--listen", "unix:" + folder / "m.sock"}};
  auto command = m.command();
  for (auto& word : command)
    if (word == m.address())
      word = "127.0.0.1:0";
    else if (word == m.state() || word == m.pool())
      word += "-other";
  process second{command};
  std::string said;
  for (auto line = second.hear(20s); !line.empty(); line = second.hear(20s))
    said += line;
  EXPECT_EQ(second.wait(), 3) << said;
  EXPECT_TRUE(says(said, "another marud listens there")) << said;
  EXPECT_TRUE(client::open(options_for("unix:" + folder / "m.sock")));
}

TEST(SocketDoor, AnotherUserIsLetInByModeAndListOnly) {
  if (::getuid() != 0)
    GTEST_SKIP() << "only root can become another user";
  // A folder that the other user can enter.
  temp_folder folder;
  fs::permissions(folder.path(), fs::perms{0711});
  constexpr uid_t nobody = 65534;
  auto as_nobody = [&](const std::string& socket) {
    auto child = ::fork();
    if (child == 0) {
      bool ok = ::setgroups(0, nullptr) == 0 && ::setgid(nobody) == 0 && ::setuid(nobody) == 0;
      ::execl(MARUCTL_PATH, "maructl", "--server", ("unix:" + folder / socket).c_str(), "status",
              static_cast<char*>(nullptr));
      ::_exit(ok ? 99 : 98);
    }
    int how = 0;
    ::waitpid(child, &how, 0);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
  };
  {
    marud m{{"--listen", "unix:" + folder / "closed.sock"}};
    int code = as_nobody("closed.sock");
    if (code == 99 || code == 98)
      GTEST_SKIP() << "the other user cannot run the programs of this build";
    EXPECT_EQ(code, 4) << "the mode is 0600";
  }
  {
    marud m{{"--listen", "unix:" + folder / "open.sock", "--socket-mode=0666", "--log-level=debug"}};
    EXPECT_EQ(as_nobody("open.sock"), 0);
    EXPECT_TRUE(logs(m, "uid 65534, gid 65534"));
  }
  marud m{{"--listen", "unix:" + folder / "listed.sock", "--socket-mode=0666", "--allow-uids=root,12345"}};
  EXPECT_EQ(as_nobody("listed.sock"), 3);
  EXPECT_TRUE(logs(m, "uid 65534, gid 65534: it is not among --allow-uids"));
  EXPECT_TRUE(says(maructl({"--server", "unix:" + folder / "listed.sock", "status"}), "0 "));
}

TEST(SocketDoor, ANameThatNobodyHasStopsTheStart) {
  temp_folder folder;
  process p{{MARUD_PATH, "--pool", folder / "pool", "--state-dir", folder / "state", "--listen", "127.0.0.1:0",
             "--http", "127.0.0.1:0", "--allow-uids", "no-such-user-here"}};
  std::string said;
  for (auto line = p.hear(20s); !line.empty(); line = p.hear(20s))
    said += line;
  EXPECT_EQ(p.wait(), 2);
  EXPECT_TRUE(says(said, "no-such-user-here")) << said;
}

TEST(TokenDoor, TokensRotateWithoutARestart) {
  temp_folder folder;
  auto file = folder / "tokens";
  auto put_tokens = [&](const std::string& text) {
    std::ofstream{file + ".new"} << text;
    fs::rename(file + ".new", file);
  };
  put_tokens("old\n");
  marud m{{"--token-file", file}};
  auto with = [&](const std::string& token) {
    auto o = options_for(m.address());
    o.token = token;
    return trouble(o);
  };
  EXPECT_EQ(with("old"), "connected");
  for (auto wrong : {"", "ol", "oldd", "Old", "new"})
    EXPECT_TRUE(says(with(wrong), "refused: ")) << wrong;
  put_tokens("old\nnew\n");
  EXPECT_EQ(with("new"), "connected");
  EXPECT_EQ(with("old"), "connected");
  put_tokens("new\n");
  EXPECT_EQ(with("new"), "connected");
  EXPECT_TRUE(says(with("old"), "refused: "));
  put_tokens("");
  EXPECT_EQ(with("new"), "connected") << "the tokens of before";
  EXPECT_TRUE(says(with(""), "refused: ")) << "an empty file opens no door";
  fs::remove(file);
  EXPECT_TRUE(says(with(""), "refused: "));
}

TEST(TokenDoor, AClientComesBackWithTheNewToken) {
  temp_folder folder;
  auto mine = folder / "mine";
  std::ofstream{mine} << "old\n";
  std::ofstream{folder / "tokens"} << "old\n";
  marud m{{"--token-file", folder / "tokens"}};
  auto o = options_for(m.address());
  o.token_file = mine;
  auto c = client::open(o);
  ASSERT_TRUE(c) << to_string(c.error());
  ASSERT_TRUE(put(**c, "a"));
  auto session = (*c)->info().session;
  std::ofstream{folder / "tokens", std::ios::trunc} << "new\n";
  std::ofstream{mine, std::ios::trunc} << "new\n";
  m.kill_hard();
  ASSERT_TRUE(m.start());
  EXPECT_TRUE(put(**c, "b"));
  EXPECT_EQ((*c)->info().session, session);
}

TEST(TlsDoor, WorkersAndMaructlComeInWithTheirCertificates) {
  marud m{tls_arguments()};
  auto o = options_for(m.address());
  o.tls = tls_with("client");
  auto c = client::open(o);
  ASSERT_TRUE(c) << to_string(c.error());
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(put(**c, "k" + std::to_string(i)));
  std::vector<std::string> names;
  for (int i = 0; i < 4096; ++i)
    names.push_back(std::string(900, 'x') + std::to_string(i));  // messages of megabytes, many records of TLS
  std::vector<std::string_view> keys{names.begin(), names.end()};
  auto pages = (*c)->alloc_batch(512, 16);
  ASSERT_TRUE(pages) << to_string(pages.error());
  auto codes = (*c)->commit_batch(std::span{keys}.first(512), *pages);
  ASSERT_TRUE(codes) << to_string(codes.error());
  auto found = (*c)->lookup(keys, {});
  ASSERT_TRUE(found);
  EXPECT_EQ(std::count_if(found->begin(), found->end(), [](const auto& f) { return f.has_value(); }), 512);
  auto f = certificates::made().of("client2");
  std::vector<std::string> line = {"--server", m.address(), "--tls-ca", f.ca, "--tls-cert", f.cert, "--tls-key", f.key};
  line.push_back("ls");
  EXPECT_TRUE(says(maructl(line), "0 "));
  EXPECT_EQ(maructl({"--server", m.address(), "ls"}).front(), '3') << "plain text";
}

TEST(TlsDoor, TheWrongOnesAreToldWhy) {
  marud m{tls_arguments()};
  auto with = [&](const tls_options& tls, std::chrono::milliseconds limit = 10s) {
    auto o = options_for(m.address());
    o.tls = tls;
    o.timeout = limit;
    return trouble(o);
  };
  EXPECT_TRUE(says(with(tls_with("expired-client")), "expired")) << with(tls_with("expired-client"));
  EXPECT_TRUE(says(with(tls_with("foreign-client")), "does not know the CA")) << with(tls_with("foreign-client"));
  EXPECT_TRUE(says(with({}, 3s), "asks for TLS")) << with({}, 3s);
  auto partial = tls_with("client");
  partial.key.clear();
  EXPECT_TRUE(says(with(partial), "all three"));
  EXPECT_TRUE(logs(m, "its certificate is no good: certificate has expired"));
  marud plain;
  auto o = options_for(plain.address());
  o.tls = tls_with("client");
  EXPECT_TRUE(says(trouble(o), "it does not speak TLS")) << trouble(o);
}

TEST(TlsDoor, NewCertificatesCostNoSession) {
  temp_folder folder;
  auto put_pair = [&](const std::string& from, const std::string& as) {
    for (std::string end : {".pem", ".key"}) {
      fs::copy_file(certificates::made().path(from + end), folder / "new", fs::copy_options::overwrite_existing);
      fs::rename(folder / "new", folder / as + end);
    }
  };
  put_pair("server", "server");
  put_pair("client", "client");
  auto ca = certificates::made().path("ca.pem");
  marud m{{"--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key", "--tls-ca", ca}};
  auto o = options_for(m.address());
  o.tls = {ca, folder / "client.pem", folder / "client.key", {}};
  auto c = client::open(o);
  ASSERT_TRUE(c) << to_string(c.error());
  auto session = (*c)->info().session;
  put_pair("elsewhere", "server");
  put_pair("client2", "client");
  EXPECT_TRUE(put(**c, "a")) << "a session goes on with what it began with";
  auto o2 = o;
  o2.tls = tls_with("client");
  EXPECT_TRUE(says(trouble(o2), "mismatch")) << trouble(o2);
  put_pair("server", "server");
  m.kill_hard();
  ASSERT_TRUE(m.start());
  EXPECT_TRUE(put(**c, "b"));
  EXPECT_EQ((*c)->info().session, session);
  EXPECT_TRUE(logs(m, "certificate of CN = client2"));
}

TEST(Doors, OnePeerCannotTakeAllConnections) {
  temp_folder folder;
  marud m{{"--listen", "unix:" + folder / "m.sock", "--connections-per-peer=2"}};
  worker one{m.address()}, two{m.address()};
  EXPECT_EQ(one.ask("put a"), "ok");
  EXPECT_EQ(two.ask("put b"), "ok");
  EXPECT_TRUE(says(maructl({"--server", m.address(), "--timeout-ms", "1000", "status"}), "3 "));
  EXPECT_TRUE(says(maructl({"--server", "unix:" + folder / "m.sock", "status"}), "0 ")) << "another peer";
}

}  // namespace
}  // namespace maru::test
