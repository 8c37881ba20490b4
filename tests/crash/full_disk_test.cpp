// Goal: a full disk costs nothing that was acknowledged, kills nobody, and ends with the space that is made. Method: the
// state directory and the pool lie on small tmpfs of the test's own (mounted in a mount namespace that nobody else sees;
// skipped where the host forbids that); a file fills them up while marud serves.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iostream>

#include "tests/system/process.hpp"

namespace maru::test {
namespace {

namespace fs = std::filesystem;

class full_disk : public ::testing::Test {
protected:
  void SetUp() override {
    // Before the first client: only a process of one thread may take a user namespace, which needs no privilege.
    bool own = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!own || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      GTEST_SKIP() << "this host forbids to mount: " << std::strerror(errno);
  }
  void TearDown() override {
    for (auto at = mounted_.rbegin(); at != mounted_.rend(); ++at)
      ::umount2(at->c_str(), MNT_DETACH);
    for (const auto& at : mounted_) {  // what marud's folder could not remove while it was mounted
      fs::path path{at};
      fs::remove_all(path.filename() == "state" ? path.parent_path() : path);
    }
  }

  void mount_tmpfs(const std::string& at, int MiB) {
    fs::create_directories(at);
    auto size = "size=" + std::to_string(MiB) + "m";
    ASSERT_EQ(::mount("none", at.c_str(), "tmpfs", 0, size.c_str()), 0) << std::strerror(errno);
    mounted_.push_back(at);
  }
  // Takes all space that is left there.
  static void fill_up(const std::string& folder) {
    int fd = ::open((folder + "/filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::string block(1 << 16, 'x');
    for (std::size_t size = block.size(); size > 0;)
      if (::write(fd, block.data(), size) < 0)
        size /= 2;
    ::close(fd);
  }
  static void make_room(const std::string& folder) { fs::remove(folder + "/filler"); }

  static void expect_all_there(client& c, int keys) {
    for (int i = 0; i < keys; ++i)
      EXPECT_EQ(read_back(c, "k" + std::to_string(i)), "ok");
  }
  static void expect_all_there(marud& m, int keys) {
    auto c = m.open();
    ASSERT_TRUE(c);
    expect_all_there(*c, keys);
  }

  std::vector<std::string> mounted_;
};

TEST_F(full_disk, OfTheStateFailsCommitsAndLosesNothing) {
  marud m{{"--pool-size=128MiB", "--rocksdb-write-buffer=1MiB"}};
  m.stop();
  mount_tmpfs(m.state(), 16);
  ASSERT_TRUE(m.start()) << m.log();
  auto c = m.open();
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(c && put(*c, "k" + std::to_string(i)));
  fill_up(m.state());
  worker w{m.address()};
  w.body().say("fill full 25000");
  auto refused = w.body().hear(60s);
  std::cout << "a commit on a full state disk: " << refused << "\n";
  EXPECT_TRUE(refused == "no_space" || refused == "storage_failed") << refused;
  ASSERT_EQ(m.body().wait(1s), -1) << "marud serves on";
  expect_all_there(*c, 100);
  make_room(m.state());
  std::string answer;
  int n = 0;
  auto put_and_drain = [&] {
    while (!m.body().hear(20ms).empty()) {}  // a line for each refusal: the pipe must not fill up
    answer = w.ask("put later" + std::to_string(n++));
    return answer == "ok";
  };
  EXPECT_TRUE(eventually(put_and_drain, 20s)) << "commits go on by themselves: " << answer << " to try " << n;
  m.kill_hard();
  ASSERT_TRUE(m.start()) << m.log();
  expect_all_there(m, 100);
  EXPECT_EQ(m.audit(), "");
}

TEST_F(full_disk, OfTheStateAtTheStartIsTold) {
  marud m;
  {
    auto c = m.open();
    for (int i = 0; i < 100; ++i)
      ASSERT_TRUE(c && put(*c, "k" + std::to_string(i)));
  }
  m.kill_hard();
  auto kept = m.state() + "-kept";
  fs::rename(m.state(), kept);
  mount_tmpfs(m.state(), 8);
  fs::copy(kept, m.state(), fs::copy_options::recursive);
  fill_up(m.state());
  ASSERT_FALSE(m.start());
  EXPECT_EQ(m.body().wait(), 5) << m.log();
  EXPECT_NE(m.log().find(m.state()), std::string::npos) << "names the place: " << m.log();
  make_room(m.state());
  ASSERT_TRUE(m.start()) << m.log();
  expect_all_there(m, 100);
}

TEST_F(full_disk, OfThePoolEvictsOrRefusesAndKillsNoWorker) {
  marud m{{"--pool-size=16MiB"}};
  m.stop();
  auto folder = fs::path{m.pool()}.parent_path().string();
  mount_tmpfs(folder, 28);  // metadata takes 8 MiB, and a pool that would not fit is refused at the start
  mount_tmpfs(m.state(), 64);
  ASSERT_TRUE(m.start()) << m.log();
  worker w{m.address()};
  ASSERT_EQ(w.ask("fill first 100"), "ok");
  fill_up(folder);
  w.body().say("fill second 3000");  // more than the regions that have storage
  auto answer = w.body().hear(60s);
  std::cout << "puts into a pool without room: " << answer << "\n";
  EXPECT_TRUE(answer == "ok" || answer == "no_space" || answer == "out_of_memory") << answer;
  {
    auto c = m.open();
    ASSERT_TRUE(c && put(*c, "k0"));
    EXPECT_EQ(read_back(*c, "k0"), "ok");
  }
  make_room(folder);
  int more = 0;
  EXPECT_TRUE(eventually(
    [&] {
      EXPECT_EQ(w.ask("fill more" + std::to_string(more++) + " 200"), "ok");
      return m.ask("status")["pages"]["committed"] > 3000;
    },
    20s))
    << m.ask("status").dump();
  EXPECT_EQ(m.audit(), "");
}

}  // namespace
}  // namespace maru::test
