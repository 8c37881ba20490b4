// Goal: children start with what they were given, end when they are told, and never outlive their starter. Method: real
// processes (the shell and sleep of the system), each wait with a deadline.
#include "app/bench/child_process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "app/bench/shared_memory.hpp"

namespace maru::bench {
namespace {

using namespace std::chrono_literals;

child_options shell(const std::string& script) {
  return {.program = "/bin/sh", .arguments = {"-c", script}, .log_path = {}};
}

TEST(ChildProcess, ExitCodesAndSignalsAreReported) {
  auto seven = child_process::start(shell("exit 7"));
  ASSERT_TRUE(seven) << seven.error().message;
  EXPECT_EQ(seven->wait(10s), 7);
  auto killed = child_process::start(shell("kill -9 $$"));
  ASSERT_TRUE(killed);
  EXPECT_EQ(killed->wait(10s), 128 + SIGKILL);
}

TEST(ChildProcess, MissingProgramIsAnErrorAtOnce) {
  auto none = child_process::start({.program = "/nowhere/marud", .arguments = {}, .log_path = {}});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.code(), ec::io);
  EXPECT_NE(none.error().message.find("/nowhere/marud"), std::string::npos) << none.error().message;
}

TEST(ChildProcess, OutputGoesToTheLog) {
  auto path = (std::filesystem::temp_directory_path() / ("maru-child-" + std::to_string(::getpid()))).string();
  auto options = shell("echo out; echo err >&2");
  options.log_path = path;
  auto child = child_process::start(options);
  ASSERT_TRUE(child);
  EXPECT_EQ(child->wait(10s), 0);
  std::ifstream log(path);
  EXPECT_EQ((std::string{std::istreambuf_iterator<char>(log), {}}), "out\nerr\n");
  std::filesystem::remove(path);
}

TEST(ChildProcess, StopEndsAChildThatIgnoresTheSignal) {
  auto stubborn = child_process::start(shell("trap '' TERM; while :; do sleep 0.05; done"));
  ASSERT_TRUE(stubborn);
  EXPECT_FALSE(stubborn->wait(200ms));  // long enough for the trap to be set, in all but the slowest runs
  auto code = stubborn->stop(300ms);
  EXPECT_TRUE(code == 128 + SIGKILL || code == 128 + SIGTERM) << code;
}

TEST(ChildProcess, SharedMemoryIsHandedOn) {
  auto memory = shared_memory::create(4096);
  ASSERT_TRUE(memory);
  auto options = shell("printf x >&3");
  options.hand_on_fd = memory->fd();
  auto child = child_process::start(options);
  ASSERT_TRUE(child);
  EXPECT_EQ(child->wait(10s), 0);
  EXPECT_EQ(memory->at<char>(0), 'x');
  EXPECT_EQ(shared_memory::attach(memory->fd(), 4097).code(), ec::invalid);
}

TEST(ChildProcess, DiesWithItsStarter) {
  auto memory = shared_memory::create(4096);
  ASSERT_TRUE(memory);
  auto& grandchild = memory->at<std::atomic<pid_t>>(0);
  pid_t starter = ::fork();
  if (starter == 0) {
    auto child = child_process::start(shell("exec sleep 60"));
    grandchild = child ? child->pid() : -1;
    for (;;)
      ::pause();
  }
  auto deadline = std::chrono::steady_clock::now() + 10s;
  while (grandchild == 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(1ms);
  ASSERT_GT(grandchild, 0);
  ASSERT_EQ(::kill(grandchild, 0), 0);
  ::kill(starter, SIGKILL);
  ::waitpid(starter, nullptr, 0);
  // It is the init process's to reap, which may take its time: a zombie has no memory left.
  auto gone = [&] {
    std::ifstream stat("/proc/" + std::to_string(grandchild) + "/stat");
    std::string text{std::istreambuf_iterator<char>(stat), {}};
    return text.empty() || text.find(") Z ") != text.npos || text.find(") X ") != text.npos;
  };
  while (!gone() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(gone());
}

TEST(ProcessUsage, CountsOwnMemoryAndTime) {
  auto usage = usage_of(::getpid());
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_GT(usage->rss_anon_bytes, 100'000u);
  EXPECT_EQ(usage_of(0x7ffffffe).code(), ec::missing);
}

}  // namespace
}  // namespace maru::bench
