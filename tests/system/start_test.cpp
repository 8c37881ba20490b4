// Goal: how marud starts: fast, or with a sentence and an exit code that say why not. Method: real starts that must fail.
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/system/process.hpp"

namespace maru::test {
namespace {

// Starts marud with a command line; its exit code, and what it said in `said`.
int run(const std::vector<std::string>& command, std::string& said) {
  process p{command};
  for (;;) {
    auto line = p.hear(10s);
    if (line.empty() || line.find("ready: serving") != line.npos)
      break;
    said += line + "\n";
  }
  return p.wait(5s);
}

TEST(Start, AnswersWithinHalfASecondOnAnEmptyPool) {
  auto begin = std::chrono::steady_clock::now();
  marud m{{"--pool-size=256MiB", "--page-min=64KiB"}};
  auto c = m.open();
  auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(c);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  EXPECT_LT(took, 5s);
#else
  EXPECT_LT(took, 500ms);
#endif
}

TEST(Start, PrefaultAtStartTakesAllOfThePool) {
  marud m{{"--pool-size=8MiB", "--prefault=start"}}, later{{"--pool-size=8MiB"}};
  auto taken = [](const marud& of) {
    struct stat s = {};
    EXPECT_EQ(::stat(of.pool().c_str(), &s), 0);
    return s.st_blocks * 512;
  };
  EXPECT_GE(taken(m), 8 << 20);
  EXPECT_LT(taken(later), 8 << 20);
  auto c = m.open();
  EXPECT_TRUE(c && put(*c, "a"));
}

TEST(Start, FilesOfThePoolHaveTheGroupThatWasAskedFor) {
  if (::getuid() != 0)
    GTEST_SKIP() << "only root gives files to any group";
  marud m{{"--pool-group=65534", "--pool-mode=0660"}};
  auto c = m.open();
  ASSERT_TRUE(c);
  auto group_of = [](const std::string& path) {
    struct stat s = {};
    EXPECT_EQ(::stat(path.c_str(), &s), 0) << path;
    return s.st_gid;
  };
  EXPECT_EQ(group_of(m.pool()), 65534u);
  EXPECT_EQ(group_of(m.pool() + ".locks"), 65534u);
  for (const auto& file : std::filesystem::directory_iterator{m.pool() + ".locks"})
    EXPECT_EQ(group_of(file.path()), 65534u);
  EXPECT_EQ(group_of(m.pool() + ".meta"), 65534u) << "workers read the index";
}

TEST(Start, ASecondMarudOnThePoolIsRefused) {
  marud m;
  auto command = m.command();
  for (auto& word : command)
    if (word == m.address())
      word = "127.0.0.1:0";
    else if (word == m.state())
      word += "-other";
  std::string said;
  EXPECT_EQ(run(command, said), 3) << said;
  EXPECT_NE(said.find(m.pool()), std::string::npos) << said;
  auto c = m.open();
  EXPECT_TRUE(c && put(*c, "a")) << "the first one notices nothing";
}

// Where two handshakes of one process crossed, each side could keep another connection, and a hello was never answered.
TEST(Start, ClientsOfOneProcessThatComeAtOnceAllGetIn) {
  for (int round = 0; round < 20; ++round) {
    marud m;
    std::atomic<int> open{0};
    std::vector<std::jthread> all;
    for (int i = 0; i < 4; ++i)
      all.emplace_back([&] { open += m.open() != nullptr; });
    all.clear();
    ASSERT_EQ(open, 4) << "in round " << round;
  }
}

TEST(Start, ATakenPortIsNamed) {
  marud m, other;
  auto command = other.command();
  other.stop();
  for (auto& word : command)
    if (word == other.address())
      word = m.address();
  std::string said;
  EXPECT_EQ(run(command, said), 3) << said;
  EXPECT_NE(said.find(m.address()), std::string::npos) << said;
}

TEST(Start, UnknownContentsAreNotTouched) {
  temp_folder folder;
  std::ofstream{folder / "pool.meta"} << std::string(12 << 20, 'x');
  std::ofstream{folder / "pool"} << std::string(4 << 20, 'x');
  std::string said;
  std::vector<std::string> command = {MARUD_PATH,    "--pool",         folder / "pool",        "--pool-size=4MiB",
                                      "--state-dir", folder / "state", "--listen=127.0.0.1:0", "--http=127.0.0.1:0"};
  EXPECT_EQ(run(command, said), 4) << said;
  EXPECT_NE(said.find("--format"), std::string::npos) << said;
  std::ifstream in{folder / "pool"};
  EXPECT_EQ(in.get(), 'x');
}

TEST(Start, APoolThatDoesNotFitNamesBothNumbers) {
  temp_folder folder;
  std::string said;
  std::vector<std::string> command = {MARUD_PATH,    "--pool",         folder / "pool",        "--pool-size=4000TiB",
                                      "--state-dir", folder / "state", "--listen=127.0.0.1:0", "--http=127.0.0.1:0"};
  auto code = run(command, said);
  EXPECT_TRUE(code == 5 || code == 2) << code << said;
  EXPECT_FALSE(said.empty());
}

TEST(Start, ABadOptionIsNamed) {
  std::string said;
  EXPECT_EQ(run({MARUD_PATH, "--page-min=5000"}, said), 2);
  EXPECT_NE(said.find("--page-min"), std::string::npos) << said;
  EXPECT_NE(said.find("5000"), std::string::npos) << said;
}

TEST(Start, AnotherPoolsStateIsRefused) {
  marud a, b;
  a.stop();
  b.stop();
  auto command = a.command();
  for (auto& word : command)
    if (word == a.state())
      word = b.state();
  std::string said;
  EXPECT_EQ(run(command, said), 4) << said;
}

TEST(Start, AMistypedPoolIsRefusedWhileTheRightOneIsThere) {
  marud m;
  {
    auto c = m.open();
    ASSERT_TRUE(c && put(*c, "a"));
  }
  m.stop();
  auto command = m.command();
  for (auto& word : command)
    if (word == m.pool())
      word += "l";
  std::string said;
  EXPECT_EQ(run(command, said), 4);
  EXPECT_NE(said.find(m.pool() + ","), std::string::npos) << said;
  EXPECT_FALSE(std::filesystem::exists(m.pool() + "l"));
  ASSERT_TRUE(m.start());
  auto c = m.open();
  EXPECT_TRUE(c && read_back(*c, "a") == "ok") << "nothing was dropped";
}

TEST(Start, AnExistingPoolKeepsItsSizes) {
  marud m{{"--page-min=128KiB"}};
  m.stop();
  std::vector<std::string> command = {MARUD_PATH, "--pool",    m.pool(), "--state-dir", m.state(),
                                      "--listen", m.address(), "--http", "127.0.0.1:0"};
  {
    process again{command};
    std::string line;
    for (line = again.hear(); !line.empty() && line.find("ready: serving") == line.npos;)
      line = again.hear();
    EXPECT_NE(line.find("ready: serving"), line.npos) << "sizes that are not given are the pool's";
    again.signal(SIGTERM);
    EXPECT_EQ(again.wait(), 0);
  }
  command.push_back("--page-min=64KiB");
  std::string said;
  EXPECT_EQ(run(command, said), 2);
  EXPECT_NE(said.find("128 KiB"), std::string::npos) << said;
}

}  // namespace
}  // namespace maru::test
