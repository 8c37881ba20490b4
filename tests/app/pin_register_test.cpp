// Goal: `maructl unpin` reaches the process that holds a pin, and only that one. Method: a child process holds notes
// the way `maructl pin` does, in a directory of the test; the parent asks for them.
#include "app/maructl/pin_register.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

namespace maru::ctl {
namespace {

namespace fs = std::filesystem;

class PinRegister : public testing::Test {
protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "maru-pins-XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path;
    ::setenv("XDG_RUNTIME_DIR", path.c_str(), 1);
  }
  void TearDown() override {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::unsetenv("XDG_RUNTIME_DIR");
    fs::remove_all(folder_);
  }

  // A process that holds `keys` at "a:1" until all were let go (it exits with 0), `stubborn` or killed.
  void start_holder(const std::vector<std::string>& keys, bool stubborn = false) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    child_ = ::fork();
    if (child_ == 0) {
      ::pthread_sigmask(SIG_BLOCK, &ours, nullptr);
      auto notes = pin_register::open();
      for (const auto& key : keys)
        if (!notes || !notes->add("a:1", key))
          ::_exit(9);
      if (::write(ready[1], "r", 1) != 1)
        ::_exit(9);
      while (stubborn || !notes->empty()) {
        int signal = 0;
        ::sigwait(&ours, &signal);
        for (const auto& key : notes->asked_for())
          notes->ended(key);
      }
      ::_exit(0);
    }
    char got = 0;
    ::close(ready[1]);
    EXPECT_EQ(::read(ready[0], &got, 1), 1);
    ::close(ready[0]);
  }
  int holder_ended_with() {
    int status = -1;
    ::waitpid(child_, &status, 0);
    child_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::size_t notes_left() const {
    auto files = fs::directory_iterator{folder_ / "maructl"};
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
  }

  fs::path folder_;
  pid_t child_ = 0;
};

TEST_F(PinRegister, LettingTheLastKeyGoEndsTheHolder) {
  start_holder({"k", "other"});
  auto notes = pin_register::open();
  ASSERT_TRUE(notes) << notes.error().message;
  EXPECT_TRUE(notes->let_go("a:1", "k"));
  EXPECT_EQ(notes->let_go("a:1", "k").code(), ec::not_pinned);
  EXPECT_TRUE(notes->let_go("a:1", "other"));
  EXPECT_EQ(holder_ended_with(), 0);
  EXPECT_EQ(notes_left(), 0u);
}

TEST_F(PinRegister, UnpinOfWhatNobodyHoldsIsNotPinned) {
  auto notes = pin_register::open();
  ASSERT_TRUE(notes);
  EXPECT_EQ(notes->let_go("a:1", "k").code(), ec::not_pinned);
}

TEST_F(PinRegister, PinsAtAnotherServerStay) {
  start_holder({"k"});
  auto notes = pin_register::open();
  ASSERT_TRUE(notes);
  EXPECT_EQ(notes->let_go("b:1", "k").code(), ec::not_pinned);
  EXPECT_TRUE(notes->let_go("a:1", "k"));
}

TEST_F(PinRegister, NotesOfAKilledHolderAreLeftovers) {
  start_holder({"k"}, true);
  ::kill(child_, SIGKILL);
  holder_ended_with();
  EXPECT_EQ(notes_left(), 1u);
  auto notes = pin_register::open();
  ASSERT_TRUE(notes);
  EXPECT_EQ(notes->let_go("a:1", "k").code(), ec::not_pinned);
  EXPECT_EQ(notes_left(), 0u);
}

TEST_F(PinRegister, FolderThatOthersCanEnterIsRefused) {
  fs::create_directory(folder_ / "maructl");
  fs::permissions(folder_ / "maructl", fs::perms::all);
  EXPECT_EQ(pin_register::open().code(), ec::io);
  fs::remove(folder_ / "maructl");
  fs::create_symlink("/tmp", folder_ / "maructl");
  EXPECT_EQ(pin_register::open().code(), ec::io);
}

}  // namespace
}  // namespace maru::ctl
