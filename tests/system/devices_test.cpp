// Goal: a pool of several devices loses nothing but what is drained: a device is added, emptied and taken away under
// workers, across restarts and kills in the middle. Method: marud with files on tmpfs as devices, and clients that read
// with and without messages.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/kill_point.hpp"
#include "cxl/layout.hpp"
#include "net/admin.hpp"
#include "tests/support/environment_variable.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

class devices : public ::testing::Test {
protected:
  // A marud whose first device has room for 512 chunks.
  devices() : m{{"--pool-size=2MiB"}}, second_(folder_ / "second") {}

  nlohmann::json rows() { return m.ask("devices")["devices"]; }
  nlohmann::json row_of(const std::string& path) {
    for (const auto& row : rows())
      if (row["path"] == path)
        return row;
    return {};
  }
  nlohmann::json change(const std::string& verb, const std::string& device) {
    return m.ask("device-" + verb, {{"device", device}});
  }
  std::string refusal(const std::string& verb, const std::string& device) {
    auto answer = net::ask_admin(m.address(), "device-" + verb, nlohmann::json{{"device", device}}.dump(), 10s);
    return answer ? "" : answer.error().message;
  }
  std::string spec(std::uint64_t mib = 2) { return second_ + ",size=" + std::to_string(mib) + "MiB"; }
  // A client that came before the second device.
  std::shared_ptr<client> open_and_add() {
    auto c = m.open();
    change("add", spec());
    return c;
  }
  std::uint64_t chunks_on_first() { return row_of(m.pool())["committed"].get<std::uint64_t>() / 4096; }
  // Puts until the second device holds chunks too; how many keys that took.
  int fill(client& c, const std::string& prefix = "k") {
    int n = 0;
    for (; n < 2000 && row_of(second_)["committed"].get<std::uint64_t>() < 40 * 4096; ++n)
      EXPECT_TRUE(put(c, prefix + std::to_string(n)));
    return n;
  }
  int there(client& c, int keys, const std::string& prefix = "k") {
    int n = 0;
    for (int i = 0; i < keys; ++i) {
      auto how = read_back(c, prefix + std::to_string(i));
      EXPECT_TRUE(how == "ok" || how == "missing") << how;
      n += how == "ok" ? 1 : 0;
    }
    return n;
  }
  // All that lay on the first device is there, but for a few that made room meanwhile.
  static void expect_about(int left, std::uint64_t on_first) {
    EXPECT_LE(static_cast<std::uint64_t>(left), on_first);
    EXPECT_GT(static_cast<std::uint64_t>(left) + 100, on_first);
  }
  // All that a marud said which has ended.
  std::string last_words() {
    auto all = m.log();
    for (auto line = m.body().hear(); !line.empty(); line = m.body().hear())
      all += line + "\n";
    return all;
  }
  bool drained() {
    bool done = eventually([this] { return row_of(second_)["state"] == "drained"; });
    EXPECT_TRUE(done) << rows().dump();
    return done;
  }

  temp_folder folder_;
  marud m;
  std::string second_;
};

TEST_F(devices, OneThatIsAddedHoldsMoreChunksAndWorkersReadThemWithoutMessages) {
  auto before = m.open();
  ASSERT_TRUE(before && put(*before, "old"));
  EXPECT_EQ(change("add", spec()), nlohmann::json::object());
  EXPECT_EQ(row_of(second_)["state"], "serving");
  auto n = fill(*before);
  EXPECT_GT(n, 450) << "the first device is filled before";
  EXPECT_EQ(there(*before, n), n) << "both devices' keys, by a worker that came before the second one";
  auto c = m.open();
  ASSERT_TRUE(c);
  for (auto* client : {before.get(), c.get()})
    ASSERT_TRUE(eventually([&] { return client->info().local_reads; })) << "the session knows both devices by then";
  auto asked = m.metric("maru_request_seconds_count{op=\"lookup\"}");
  EXPECT_EQ(there(*c, n), n);
  EXPECT_EQ(there(*before, n), n);
  EXPECT_EQ(read_back(*c, "old"), "ok");
  EXPECT_EQ(m.metric("maru_request_seconds_count{op=\"lookup\"}"), asked);
  EXPECT_EQ(m.audit(), "");
}

TEST_F(devices, AllKeysOfAllDevicesSurviveARestartAndAKill) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  EXPECT_EQ(m.stop(), 0);
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(there(*c, n), n);
  m.kill_hard();
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(there(*c, n), n);
  EXPECT_EQ(m.audit(), "");
}

TEST_F(devices, AStartThatDoesNotKnowThePoolIsRefusedAndLeavesThemAsTheyWere) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  EXPECT_EQ(m.stop(), 0);
  auto command = m.command();
  std::replace(command.begin(), command.end(), m.state(), m.state() + "-other");
  process other{command};
  EXPECT_EQ(other.wait(), 4);
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(rows().size(), 2u);
  EXPECT_EQ(row_of(second_)["state"], "serving");
  EXPECT_EQ(there(*c, n), n);
}

TEST_F(devices, DrainEmptiesOneAndLeavesTheOthers) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  auto on_first = row_of(m.pool())["committed"].get<std::uint64_t>();
  EXPECT_NE(refusal("remove", second_).find("drain it first"), std::string::npos);
  EXPECT_EQ(change("drain", second_), nlohmann::json::object());
  ASSERT_TRUE(drained()) << rows().dump();
  // What lies on the first device stays, but for a few that make room for the pages that were granted on the other one.
  expect_about(there(*c, n), on_first / 4096);
  EXPECT_EQ(change("remove", second_), nlohmann::json::object());
  EXPECT_EQ(rows().size(), 1u);
  EXPECT_TRUE(put(*c, "after"));
  EXPECT_EQ(m.audit(), "");
  EXPECT_EQ(m.stop(), 0);
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(rows().size(), 1u);
  EXPECT_EQ(read_back(*c, "after"), "ok");
}

TEST_F(devices, WhatIsHeldStaysOnADrainedDeviceUntilItIsLetGo) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  std::vector<view> held;
  for (int i = n - 20; i < n; ++i)
    if (auto v = c->retrieve("k" + std::to_string(i)))
      held.push_back(*std::move(v));
  change("drain", second_);
  ASSERT_TRUE(eventually([&] { return row_of(second_)["committed"].get<std::uint64_t>() <= 20 * 4096; }))
    << rows().dump();
  EXPECT_EQ(row_of(second_)["state"], "draining");
  EXPECT_FALSE(refusal("remove", second_).empty());
  for (std::size_t i = 0; i < held.size(); ++i) {
    auto wanted = content_of("k" + std::to_string(n - 20 + static_cast<int>(i)), 4096);
    EXPECT_EQ(std::memcmp(held[i].bytes().data(), wanted.data(), wanted.size()), 0);
  }
  held.clear();
  EXPECT_TRUE(drained()) << rows().dump();
}

TEST_F(devices, ADrainGoesOnAfterARestartAndIsTakenBackByAnAdd) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  fill(*c);
  auto held = c->retrieve("k" + std::to_string(0));
  change("drain", second_);
  EXPECT_EQ(m.stop(), 0);
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_NE(row_of(second_)["state"], "serving");
  EXPECT_EQ(change("add", second_), nlohmann::json::object());
  EXPECT_EQ(row_of(second_)["state"], "serving");
  EXPECT_EQ(m.audit(), "");
}

TEST_F(devices, BadOnesAreRefusedWithTheReasonAndChangeNothing) {
  std::ofstream{second_} << std::string(1 << 20, 'x');
  EXPECT_NE(refusal("add", spec()).find("device format"), std::string::npos) << "it holds something";
  EXPECT_NE(refusal("add", folder_ / "none").find("size"), std::string::npos);
  EXPECT_NE(refusal("add", m.pool()).find("has it"), std::string::npos);
  EXPECT_NE(refusal("drain", m.pool()).find("first device"), std::string::npos);
  EXPECT_NE(refusal("drain", folder_ / "none").find("no such device"), std::string::npos);
  EXPECT_NE(refusal("add", ",size=1MiB").find("no path"), std::string::npos);
  EXPECT_EQ(rows().size(), 1u);
  std::ifstream in{second_};
  EXPECT_EQ(in.get(), 'x');
}

TEST_F(devices, RetiredPagesDoNotHoldUpADrain) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  std::filesystem::resize_file(second_, 64 * bounds::KiB);
  std::map<std::string, int> how;
  for (int i = 0; i < n; ++i)
    ++how[read_back(*c, "k" + std::to_string(i))];
  EXPECT_GT(how["memory_failed"], 0);
  EXPECT_EQ(how["ok"] + how["memory_failed"] + how["missing"], n) << nlohmann::json(how);
  EXPECT_TRUE(eventually([&] { return row_of(second_)["retired"] >= how["memory_failed"] * 4096; })) << rows().dump();
  EXPECT_EQ(refusal("drain", second_), "");
  EXPECT_TRUE(drained());
  EXPECT_EQ(refusal("remove", second_), "");
  EXPECT_EQ(rows().size(), 1u);
  EXPECT_TRUE(put(*c, "after"));
  EXPECT_EQ(m.audit(), "");
}

// Memory that fails for good is in tests/vm: here a file is cut, which the next start mends.
TEST_F(devices, OneWhoseMetadataFailsEndsMarudAndTakesOnlyItsOwnChunks) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  auto on_first = chunks_on_first();
  std::filesystem::resize_file(second_ + ".meta", cxl::superblock_b_offset);  // it looks there once a second
  EXPECT_EQ(m.body().wait_signal(), SIGBUS);
  auto said = last_words();
  EXPECT_NE(said.find("keeps its own facts"), std::string::npos) << said;
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(rows().size(), 2u);
  EXPECT_EQ(row_of(second_)["committed"], 0u);
  EXPECT_GT(there(*c, n), 0);
  EXPECT_LE(static_cast<std::uint64_t>(there(*c, n)), on_first);
  EXPECT_EQ(m.audit(), "");
}

TEST_F(devices, AMarudWhosePoolAnotherOneServesEndsAtOnce) {
  for (auto copy : {cxl::superblock_a_offset, cxl::superblock_b_offset}) {
    std::fstream file{m.pool() + ".meta", std::ios::binary | std::ios::in | std::ios::out};
    std::vector<std::byte> bytes(cxl::superblock_bytes);
    file.seekg(static_cast<std::streamoff>(copy));
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    auto sb = cxl::decode_superblock(bytes);
    ASSERT_TRUE(sb);
    ++sb->epoch;
    auto theirs = cxl::encode(*sb);
    file.seekp(static_cast<std::streamoff>(copy));
    file.write(reinterpret_cast<const char*>(theirs.data()), static_cast<std::streamsize>(theirs.size()));
  }
  EXPECT_EQ(m.body().wait(), 1);
  auto said = last_words();
  EXPECT_NE(said.find("another marud serves pool " + m.pool()), std::string::npos) << said;
}

TEST_F(devices, OneThatIsNotThereIsLeftOutUntilItIsBackOrForgotten) {
  auto place = folder_ / "mount", aside = folder_ / "aside";
  std::filesystem::create_directory(place);
  second_ = place + "/second";
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  auto on_first = chunks_on_first();
  auto start_again = [&] {
    EXPECT_EQ(m.stop(), 0);
    ASSERT_TRUE(m.start()) << m.log();
  };
  std::filesystem::rename(place, aside);
  for (int twice = 0; twice < 2; ++twice) {
    start_again();
    EXPECT_EQ(row_of(second_)["state"], "left_out");
    EXPECT_TRUE(eventually([&] { return m.metric("maru_devices{state=\"left_out\"}") == "1"; }));
    expect_about(there(*c, n), on_first);
  }
  EXPECT_NE(m.log().find(second_ + " is left out"), std::string::npos) << m.log();
  std::filesystem::rename(aside, place);
  start_again();
  EXPECT_EQ(row_of(second_)["state"], "left_out") << "workers of before may still write there";
  EXPECT_EQ(change("add", spec()), nlohmann::json::object());
  EXPECT_EQ(row_of(second_)["state"], "serving");
  EXPECT_TRUE(eventually([&] { return m.metric("maru_devices{state=\"left_out\"}") == "0"; }));
  expect_about(there(*c, n), on_first);
  fill(*c, "again");
  EXPECT_EQ(m.audit(), "");
  std::filesystem::rename(place, aside);
  start_again();
  EXPECT_EQ(refusal("remove", second_), "");
  EXPECT_EQ(rows().size(), 1u);
  std::filesystem::rename(aside, place);
  start_again();
  EXPECT_EQ(rows().size(), 1u) << "nobody knows it any more";
}

TEST_F(devices, AKillAsOneThatWasLeftOutIsTakenBackStopsNoStart) {
  auto place = folder_ / "mount", aside = folder_ / "aside";
  std::filesystem::create_directory(place);
  second_ = place + "/second";
  change("add", spec());
  EXPECT_EQ(m.stop(), 0);
  std::filesystem::rename(place, aside);
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(m.stop(), 0);
  std::filesystem::rename(aside, place);
  {
    environment_variable armed{"MARU_KILL_POINT", std::string{to_string(kill_at::device_adopted)} + ":1"};
    ASSERT_TRUE(m.start()) << m.log();
  }
  EXPECT_EQ(row_of(second_)["state"], "left_out");
  change("add", spec());
  EXPECT_EQ(m.body().wait_signal(), SIGKILL);
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(row_of(second_)["state"], "left_out");
  EXPECT_EQ(change("add", spec()), nlohmann::json::object());
  EXPECT_EQ(row_of(second_)["state"], "serving");
  EXPECT_EQ(m.audit(), "");
}

TEST_F(devices, OneThatHoldsSomethingElseStopsTheStartUnlessItIsGivenUp) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  auto on_first = chunks_on_first();
  EXPECT_EQ(m.stop(), 0);
  std::filesystem::rename(second_ + ".meta", second_ + ".aside");
  EXPECT_FALSE(m.start());
  EXPECT_NE(m.log().find("--without-devices=" + second_), std::string::npos) << m.log();
  m.body().wait();
  ASSERT_TRUE(m.start({"--without-devices=" + second_})) << m.log();
  EXPECT_EQ(rows().size(), 1u);
  expect_about(there(*c, n), on_first);
  EXPECT_EQ(m.audit(), "");
}

TEST_F(devices, OneWhoseFileWentWithTheHostsMemoryIsMadeAgainEmpty) {
  auto c = open_and_add();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  auto on_first = chunks_on_first();
  EXPECT_EQ(m.stop(), 0);
  std::filesystem::remove(second_);
  std::filesystem::remove(second_ + ".meta");
  ASSERT_TRUE(m.start()) << m.log();
  EXPECT_EQ(rows().size(), 2u);
  expect_about(there(*c, n), on_first);
  EXPECT_EQ(m.audit(), "");
}

TEST_F(devices, AKillInTheMiddleOfAChangeLeavesOneThatCanBeAddedAgain) {
  for (auto point : {kill_at::device_adopted, kill_at::device_forgotten}) {
    SCOPED_TRACE(std::string{to_string(point)});
    EXPECT_EQ(m.stop(), 0);
    {
      environment_variable armed{"MARU_KILL_POINT", std::string{to_string(point)} + ":1"};
      ASSERT_TRUE(m.start()) << m.log();
    }
    change("add", spec());
    if (point == kill_at::device_forgotten) {
      change("drain", second_);
      ASSERT_TRUE(drained());
      change("remove", second_);
    }
    EXPECT_EQ(m.body().wait_signal(), SIGKILL);
    ASSERT_TRUE(m.start()) << m.log();
    EXPECT_EQ(rows().size(), 1u);
    EXPECT_EQ(change("add", spec()), nlohmann::json::object());
    auto c = m.open();
    ASSERT_TRUE(c);
    auto prefix = std::string{to_string(point)};
    auto n = fill(*c, prefix);
    EXPECT_EQ(read_back(*c, prefix + std::to_string(n - 1)), "ok");
    EXPECT_GT(there(*c, n, prefix), 0);
    EXPECT_EQ(m.audit(), "");
    change("drain", second_);
    ASSERT_TRUE(drained());
    EXPECT_EQ(change("remove", second_), nlohmann::json::object());
  }
}

TEST_F(devices, FurtherOnesAreGivenAtTheStartToo) {
  EXPECT_EQ(m.stop(), 0);
  auto third = folder_ / "third";
  ASSERT_TRUE(m.start({"--devices=" + spec() + ";" + third + ",size=2MiB"})) << m.log();
  EXPECT_EQ(rows().size(), 3u);
  auto c = m.open();
  ASSERT_TRUE(c);
  auto n = fill(*c);
  EXPECT_EQ(m.stop(), 0);
  ASSERT_TRUE(m.start()) << "they are known now\n" << m.log();
  EXPECT_EQ(rows().size(), 3u);
  EXPECT_EQ(there(*c, n), n);
}

}  // namespace
}  // namespace maru::test
