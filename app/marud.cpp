// marud: serves one pool. Reads its options, starts the service, waits for SIGTERM, stops it.
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <thread>

#include "actors/service.hpp"
#include "base/kill_point.hpp"
#include "base/options.hpp"

namespace {

// What a start that failed says to whoever runs marud; --help lists them too.
int exit_code(maru::ec code) {
  switch (code) {
    case maru::ec::bad_option: return 2;
    case maru::ec::in_use: return 3;
    case maru::ec::unknown_contents: return 4;
    case maru::ec::no_space: return 5;
    case maru::ec::corrupt: return 6;
    default: return 1;
  }
}

int fail(const maru::error& e) {
  std::fprintf(stderr, "marud: %s\n", e.message.c_str());
  return exit_code(e.code);
}

}  // namespace

int main(int argc, char** argv) {
  // Before any thread exists: all of them inherit it, and signals arrive in sigwait only.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  auto parsed = maru::parse_marud_options(argc, argv);
  if (!parsed)
    return fail(parsed.error());
  if (parsed->show_only) {
    std::fputs(parsed->text.c_str(), stdout);
    return 0;
  }
  const auto& options = parsed->options;
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  spdlog::flush_on(spdlog::level::info);
  const char* point = std::getenv("MARU_KILL_POINT");
  if (auto armed = maru::arm_kill_point(point); !armed)
    return fail(armed.error());
  if (point && *point != '\0')
    spdlog::warn("MARU_KILL_POINT={}: this marud kills itself", point);

  auto service = maru::actors::service::start(options);
  if (!service)
    return fail(service.error());
  spdlog::info("ready: serving {} {}, metrics on port {}", options.pool, (*service)->listens_at(),
               (*service)->http_port());

  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping: requests in flight finish, a second signal ends at once");
  // Recovery copes with an end at any instant; this is for whoever cannot wait.
  std::thread{[signals] {
    int again = 0;
    sigwait(&signals, &again);
    ::_exit(1);
  }}.detach();
  (*service)->stop();
  spdlog::info("stopped");
  return 0;
}
