// maructl: an operator's view of a pool and the marud that serves it. `maructl --help` tells the commands and exit
// codes.
#include <signal.h>

#include <cstdio>
#include <exception>

#include "app/maructl/ask.hpp"
#include "app/maructl/command_line.hpp"
#include "app/maructl/device/devices.hpp"
#include "app/maructl/top/top.hpp"
#include "app/maructl/work.hpp"

namespace {

using namespace maru;

// Before any thread is made, so that the signals come to whoever waits for them.
void block_signals() {
  sigset_t ours;
  sigemptyset(&ours);
  for (int s : {SIGINT, SIGTERM, SIGUSR1})
    sigaddset(&ours, s);
  ::pthread_sigmask(SIG_BLOCK, &ours, nullptr);
}

result<ctl::exit_code> run(const ctl::command& c) {
  switch (c.what) {
    case ctl::verb::pin: block_signals(); return ctl::work(c);
    case ctl::verb::get:
    case ctl::verb::put:
    case ctl::verb::rm:
    case ctl::verb::unpin: return ctl::work(c);
    case ctl::verb::top: return ctl::top(c);
    case ctl::verb::device_list:
    case ctl::verb::device_probe:
    case ctl::verb::device_format: return ctl::devices(c);
    default: return ctl::ask(c);
  }
}

int fail(const error& e) {
  std::fprintf(stderr, "maructl: %s\n", e.message.c_str());
  return static_cast<int>(ctl::exit_code_of(e.code));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto parsed = ctl::parse_command(argc, argv);
    if (!parsed)
      return fail(parsed.error());
    if (parsed->show_only) {
      std::printf("%s", parsed->text.c_str());
      return 0;
    }
    auto done = run(parsed->what);
    if (!done)
      return fail(done.error());
    return static_cast<int>(*done);
  } catch (const std::exception& e) {
    return fail({ec::io, std::string{"failed to run: "} + e.what()});
  }
}
