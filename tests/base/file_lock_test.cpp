// Goal: a file_lock is held by one description at a time and ends with the last process that has it: what proof of
// death rests on. Method: other processes that hold, inherit and are killed; every wait ends with a pipe or waitpid.
#include "base/file_lock.hpp"

#include <gtest/gtest.h>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "tests/support/child_process.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru {
namespace {

class file_lock_test : public ::testing::Test {
protected:
  ec try_lock() { return file_lock::acquire(path).code(); }

  test::temp_folder folder;
  std::string path = folder / "lock";
};

TEST_F(file_lock_test, MakesTheFileWithItsModeAndLeavesIt) {
  {
    auto lock = file_lock::acquire(path, 0640);
    ASSERT_TRUE(lock);
    EXPECT_TRUE(lock->held());
    struct stat now = {};
    ASSERT_EQ(::stat(path.c_str(), &now), 0);
    EXPECT_EQ(now.st_mode & 0777 & ~0640u, 0u);
  }
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
}

TEST_F(file_lock_test, SecondDescriptionIsRefusedInTheSameProcess) {
  auto lock = file_lock::acquire(path);
  auto second = file_lock::acquire(path);
  ASSERT_EQ(second.code(), ec::in_use);
  EXPECT_NE(second.error().message.find(path), std::string::npos);
  EXPECT_EQ(try_lock(), ec::in_use) << "a refusal does not drop the holder's lock, as a POSIX lock would";
}

TEST_F(file_lock_test, OtherProcessIsRefusedAsLongAsItIsHeld) {
  auto lock = file_lock::acquire(path);
  auto in_use = static_cast<int>(ec::in_use);
  EXPECT_EQ(test::in_child([&] { return static_cast<int>(try_lock()); }), in_use);
  lock->release();
  EXPECT_FALSE(lock->held());
  EXPECT_EQ(test::in_child([&] { return static_cast<int>(try_lock()); }), 0);
}

TEST_F(file_lock_test, ALookAtItTakesNothing) {
  EXPECT_FALSE(*file_lock::is_held(path)) << "there is no file";
  auto lock = file_lock::acquire(path);
  EXPECT_TRUE(*file_lock::is_held(path));
  lock->release();
  EXPECT_FALSE(*file_lock::is_held(path));
  EXPECT_EQ(file_lock::is_held(folder / "no/folder").code(), ec::ok) << "nobody can hold what is not there";
  ASSERT_EQ(::symlink("lock", (folder / "link").c_str()), 0);
  EXPECT_EQ(file_lock::is_held(folder / "link").code(), ec::io);
}

TEST_F(file_lock_test, MovesWithItsObject) {
  auto lock = file_lock::acquire(path);
  file_lock other{std::move(*lock)};
  EXPECT_FALSE(lock->held());
  EXPECT_EQ(try_lock(), ec::in_use);
  file_lock third;
  third = std::move(other);
  EXPECT_EQ(try_lock(), ec::in_use);
  auto& self = third;
  third = std::move(self);
  EXPECT_TRUE(third.held());
  third = file_lock{};
  EXPECT_EQ(try_lock(), ec::ok);
}

TEST_F(file_lock_test, EndsWithAProcessThatIsKilled) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  auto pid = ::fork();
  if (pid == 0) {
    auto lock = file_lock::acquire(path);
    char c = lock ? 'y' : 'n';
    if (::write(ready[1], &c, 1) != 1)
      ::_exit(1);
    for (;;)
      ::pause();
  }
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  ASSERT_EQ(c, 'y');
  EXPECT_EQ(try_lock(), ec::in_use);
  ::kill(pid, SIGSTOP);
  EXPECT_EQ(try_lock(), ec::in_use) << "a stopped process may go on";
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  EXPECT_EQ(try_lock(), ec::ok);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(file_lock_test, LastsUntilTheLastForkedProcessThatHasItIsGone) {
  auto lock = file_lock::acquire(path);
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  auto pid = ::fork();
  if (pid == 0) {
    ::close(go[1]);
    char c;
    ::_exit(::read(go[0], &c, 1) == 0 ? 0 : 1);  // until the parent closes its end
  }
  lock->release();
  EXPECT_EQ(try_lock(), ec::in_use) << "the child still has the description";
  ::close(go[1]);
  ::waitpid(pid, nullptr, 0);
  EXPECT_EQ(try_lock(), ec::ok);
  ::close(go[0]);
}

TEST_F(file_lock_test, DoesNotPassToAnotherProgram) {
  auto lock = file_lock::acquire(path);
  int up[2], go[2];
  ASSERT_EQ(::pipe(up), 0);
  ASSERT_EQ(::pipe(go), 0);
  auto pid = ::fork();
  if (pid == 0) {
    ::dup2(go[0], 0);
    ::dup2(up[1], 1);
    ::close(go[1]);
    ::execl("/bin/sh", "sh", "-c", "echo up; read line", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(go[0]);
  char text[3] = {};
  ASSERT_EQ(::read(up[0], text, 3), 3);  // the other program runs
  lock->release();
  EXPECT_EQ(try_lock(), ec::ok);
  for (int fd : {go[1], up[0], up[1]})
    ::close(fd);
  ::waitpid(pid, nullptr, 0);
}

TEST_F(file_lock_test, WhatCannotBeOpenedIsAnIoErrorWithItsPath) {
  for (const auto& bad : {folder / "no/such/folder", folder.path().string(), std::string{}}) {
    auto lock = file_lock::acquire(bad);
    ASSERT_EQ(lock.code(), ec::io) << bad;
    EXPECT_NE(lock.error().message.find("failed to open lock file " + bad), std::string::npos);
  }
}

}  // namespace
}  // namespace maru
