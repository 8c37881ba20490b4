#include "app/marud/last_words.hpp"

#include <signal.h>
#include <unistd.h>

#include <string_view>

namespace maru::daemon {

namespace {

constexpr std::string_view words =
  "marud: memory of the pool failed where marud keeps its own facts (SIGBUS): it ends. The next start looks for such "
  "memory "
  "first, and goes on without the device that has it.\n";

// Calls nothing but what a handler of signals may.
void say_and_end(int signal) {
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, words.data(), words.size());
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(signal, &standard, nullptr);
  ::raise(signal);  // also where nothing is touched again: a word of the kernel that some memory is lost
}

}  // namespace

void prepare_last_words() {
  struct sigaction ours = {};
  ours.sa_handler = say_and_end;
  sigemptyset(&ours.sa_mask);
  ::sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace maru::daemon
