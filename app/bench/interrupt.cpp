#include "app/bench/interrupt.hpp"

#include <signal.h>

#include <algorithm>
#include <thread>

namespace maru::bench {

namespace {

volatile sig_atomic_t signalled = 0;

void note_signal(int number) {
  if (signalled) {
    ::signal(number, SIG_DFL);
    ::raise(number);
  }
  signalled = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return signalled != 0; }

void pause_for(std::chrono::milliseconds time) {
  using namespace std::chrono_literals;
  auto deadline = std::chrono::steady_clock::now() + time;
  for (auto now = std::chrono::steady_clock::now(); now < deadline && !interrupted();
       now = std::chrono::steady_clock::now())
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(deadline - now, 50ms));
}

}  // namespace maru::bench
