// Goal: what marud tells a service manager: to its socket, as often as it wants to hear it, and not while something hangs.
// Method: a datagram socket of the test's as the manager.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "app/marud/reload.hpp"
#include "app/marud/service_manager.hpp"
#include "app/marud/signs_of_life.hpp"
#include "base/log.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::daemon {
namespace {

using namespace std::chrono_literals;

class manager_socket {
public:
  // `name` as in NOTIFY_SOCKET.
  explicit manager_socket(const std::string& name) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::memcpy(a.sun_path, name.data(), name.size());
    auto size = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] == '@' ? 0 : 1);
    if (name[0] == '@')
      a.sun_path[0] = '\0';
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&a), static_cast<socklen_t>(size)), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~manager_socket() {
    for (auto name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
      ::unsetenv(name);
    ::close(fd_);
  }
  // The next message; empty where there is none in time.
  std::string hear(std::chrono::milliseconds within = 5s) const {
    pollfd p{fd_, POLLIN, 0};
    char text[1024];
    auto n = ::poll(&p, 1, static_cast<int>(within.count())) == 1 ? ::recv(fd_, text, sizeof text, 0) : 0;
    return {text, static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
  }

private:
  int fd_;
};

TEST(ServiceManager, HearsItAtAPathAndAtAnAbstractName) {
  test::temp_folder folder;
  for (const auto& name : {folder / "notify", "@maru-test-" + std::to_string(::getpid())}) {
    manager_socket socket{name};
    auto manager = service_manager::from_environment();
    manager.tell("READY=1\nSTATUS=serving");
    EXPECT_EQ(socket.hear(), "READY=1\nSTATUS=serving") << name;
    EXPECT_FALSE(manager.watchdog()) << "nobody asked for it";
  }
}

TEST(ServiceManager, NobodyListensAndNothingHappens) {
  service_manager none = service_manager::from_environment();
  none.tell("READY=1");
  for (const auto& name : {std::string{"/nowhere/notify"}, std::string{"relative"}, std::string(500, '/'),
                           std::string{"@"}, std::string{}}) {
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    service_manager::from_environment().tell("READY=1");
  }
  ::unsetenv("NOTIFY_SOCKET");
}

TEST(ServiceManager, AWatchdogOfAnotherProcessIsNotOurs) {
  manager_socket socket{"@maru-test-" + std::to_string(::getpid())};
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  EXPECT_EQ(service_manager::from_environment().watchdog(), 30s);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_FALSE(service_manager::from_environment().watchdog());
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(service_manager::from_environment().watchdog(), 30s);
}

TEST(Watchdog, IsFedWhileAllAnswerAndStarvesWhileOneIsSilent) {
  manager_socket socket{"@maru-test-" + std::to_string(::getpid())};
  ::setenv("WATCHDOG_USEC", "60000", 1);
  auto manager = service_manager::from_environment();
  std::atomic<bool> stuck = false;
  std::atomic<int> asked = 0;
  log::set_level("off");
  watchdog dog{manager, [&] {
                 ++asked;
                 return std::string{stuck ? "pool_manager" : ""};
               }};
  EXPECT_EQ(socket.hear(), "WATCHDOG=1");
  EXPECT_EQ(socket.hear(), "WATCHDOG=1");
  stuck = true;
  auto begun = asked.load();
  while (asked < begun + 2)  // what was under way is over
    std::this_thread::yield();
  while (!socket.hear(0ms).empty()) {}
  EXPECT_EQ(socket.hear(200ms), "") << "ten times its interval";
  stuck = false;
  EXPECT_EQ(socket.hear(), "WATCHDOG=1");
  log::set_level("info");
}

TEST(StartSigns, AskForTimeAsLongAsTheStartIsAtWork) {
  manager_socket socket{"@maru-test-" + std::to_string(::getpid())};
  auto manager = service_manager::from_environment();
  std::atomic<long> blocks = 0;
  std::atomic<int> looked = 0;
  start_signs signs{manager, 5ms, [&] {
                      ++looked;
                      return work_done{0us, blocks};
                    }};
  auto first = socket.hear();
  EXPECT_EQ(first.find("EXTEND_TIMEOUT_USEC=30000000"), 0u) << first;
  auto seen = looked.load();
  while (looked < seen + 3)
    std::this_thread::yield();
  EXPECT_EQ(socket.hear(0ms), "") << "it stands still";
  ++blocks;
  EXPECT_EQ(socket.hear(), first) << "it goes on";
}

TEST(StartSigns, AProcessThatComputesIsAtWork) {
  auto before = work_done::now();
  EXPECT_FALSE(before.beyond(before));
  volatile double x = 1;
  auto end = std::chrono::steady_clock::now() + 10s;
  while (!work_done::now().beyond(before) && std::chrono::steady_clock::now() < end)
    for (int i = 0; i < 100000; ++i)
      x = x * 1.0000001;
  EXPECT_TRUE(work_done::now().beyond(before));
}

TEST(Reload, TakesUpTheLogAndNamesWhatWaits) {
  test::temp_folder folder;
  auto path = folder / "marud.toml";
  auto write = [&](const std::string& text) { std::ofstream{path} << text; };
  std::string flag = "--config=" + path;
  const char* argv[] = {"marud", flag.c_str()};
  write("log-level = \"warn\"\n");
  auto running = parse_marud_options(2, argv)->options;
  set_up_log(running);
  EXPECT_EQ(log::level_word(), "warn");

  write("log-level = \"error\"\nlog-format = \"json\"\npins-max = 5\n");
  reload(2, argv, running);
  EXPECT_EQ(log::level_word(), "error");
  EXPECT_EQ(running.log_format, "json");
  EXPECT_NE(running.pins_max, 5u) << "waits for the next start";
  auto wanted = parse_marud_options(2, argv)->options;
  EXPECT_EQ(differing_options(running, wanted), std::vector<std::string>{"pins-max"});

  write("log-level = \"loud\"\n");
  reload(2, argv, running);
  EXPECT_EQ(log::level_word(), "error") << "a file that cannot be used changes nothing";
  log::set_level("info");
  log::set_up(log::format::text);
}

}  // namespace
}  // namespace maru::daemon
