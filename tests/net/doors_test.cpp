// Goal: nobody comes through a door without the right: no user who is not on the list, and no more connections than one
// peer may have. And a socket of a server that lives is never taken away. Method: doors without a transport behind them;
// peers over dial().
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "doors_fixture.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::test {
namespace {

namespace fs = std::filesystem;

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
  auto held = flood(h.address(), 100);
  EXPECT_TRUE(eventually([&] { return h.refused("peer") == 97; })) << h.refused("peer");
  EXPECT_EQ(h.inside(), 3u);
  EXPECT_TRUE(dial(h.address(1)) && eventually([&] { return h.inside() == 4; })) << "others still come in";
  h.show_out();
  EXPECT_TRUE(dial(h.address()) && eventually([&] { return h.inside() == 1; })) << "room again";
}

TEST(Doors, LoopbackIsOnePeer) {
  auto options = at("127.0.0.1:0");
  options.per_peer_max = 1;
  house h(std::move(options));
  auto first = dial(h.address());
  ASSERT_TRUE(first && eventually([&] { return h.inside() == 1; }));
  unique_fd other{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in from = {}, to = {};
  from.sin_family = to.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(h.address().tcp.port);
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<sockaddr*>(&from), sizeof from), 0);
  ASSERT_EQ(::connect(other.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  EXPECT_TRUE(eventually([&] { return h.refused("peer") == 1; })) << "127.0.0.2 is no other peer";
}

TEST(Doors, TcpLeavesRoomForUnixSockets) {
  temp_folder folder;
  auto options = at("127.0.0.1:0,unix:" + folder / "m.sock");
  options.connections_max = 8;
  house h(std::move(options));
  auto held = flood(h.address(), 20);
  EXPECT_TRUE(eventually([&] { return h.refused("connections") == 13; })) << h.refused("connections");
  EXPECT_TRUE(dial(h.address(1)) && eventually([&] { return h.inside() == 8; }));
}

TEST(Doors, AllTogetherHaveOnlySoManyConnections) {
  auto options = at("127.0.0.1:0");
  options.connections_max = 2;
  house h(std::move(options));
  auto held = flood(h.address(), 10);
  EXPECT_TRUE(eventually([&] { return h.refused("connections") == 8; }));
  EXPECT_EQ(h.inside(), 2u);
}

}  // namespace
}  // namespace maru::test
