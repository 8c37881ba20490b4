// marud: serves one pool. Reads its options, starts the service, waits for SIGTERM, stops it. SIGHUP: see app/marud/reload.hpp.
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "actors/service.hpp"
#include "app/marud/last_words.hpp"
#include "app/marud/reload.hpp"
#include "app/marud/service_manager.hpp"
#include "app/marud/signs_of_life.hpp"
#include "base/kill_point.hpp"
#include "base/log.hpp"
#include "base/options.hpp"
#include "base/version.hpp"

namespace {

using maru::daemon::service_manager;

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

// Said at any level: it is the last line.
int fail(const maru::error& e) {
  maru::log::write(maru::log::severity::error, "start_failed", e.message);
  return exit_code(e.code);
}

// Before any thread exists: all of them inherit it, and signals arrive where they are waited for only.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int s : {SIGINT, SIGTERM, SIGHUP})
    sigaddset(&signals, s);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

maru::status arm_kill_point() {
  const char* point = std::getenv("MARU_KILL_POINT");
  if (auto armed = maru::arm_kill_point(point); !armed)
    return armed;
  if (point && *point != '\0')
    maru::log::warn("kill_point", "MARU_KILL_POINT={}: this marud kills itself", point);
  return {};
}

// Until SIGINT or SIGTERM. Once a second, what the log withheld is told.
void serve(const sigset_t& signals, const service_manager& manager, int argc, char** argv,
           maru::marud_options& running) {
  for (;;) {
    timespec second{.tv_sec = 1, .tv_nsec = 0};
    int signal = sigtimedwait(&signals, nullptr, &second);
    maru::log::tell_withheld();
    if (signal == SIGHUP) {
      manager.tell(maru::daemon::reloading_lines());
      maru::daemon::reload(argc, argv, running);
      manager.tell("READY=1");
    } else if (signal > 0) {
      return;
    }
  }
}

// A worker takes two descriptors; shells and service managers give few by default, and let a program take more.
void take_all_descriptors() {
  rlimit files = {};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

// Recovery copes with an end at any instant; this is for whoever cannot wait.
void end_at_second_signal(sigset_t signals) {
  sigdelset(&signals, SIGHUP);
  std::thread{[signals] {
    int again = 0;
    sigwait(&signals, &again);
    ::_exit(1);
  }}.detach();
}

}  // namespace

int main(int argc, char** argv) {
  auto signals = block_signals();
  maru::daemon::prepare_last_words();
  maru::log::set_up(maru::log::format::text);
  auto parsed = maru::parse_marud_options(argc, argv);
  if (!parsed)
    return fail(parsed.error());
  if (parsed->show_only) {
    std::fputs(parsed->text.c_str(), stdout);
    return 0;
  }
  auto& options = parsed->options;
  maru::daemon::set_up_log(options);
  if (auto armed = arm_kill_point(); !armed)
    return fail(armed.error());

  maru::log::info("starting", "marud {} opens {}, its metadata in {}", maru::version(), options.pool,
                  options.state_dir);
  take_all_descriptors();
  auto manager = service_manager::from_environment();
  auto signs = std::make_unique<maru::daemon::start_signs>(manager);
  auto service = maru::actors::service::start(options);
  signs.reset();
  if (!service) {
    manager.tell("STATUS=" + service.error().message);
    return fail(service.error());
  }
  maru::log::info("ready", "serving {} {}, metrics on port {}", (*service)->serves(), (*service)->listens_at(),
                  (*service)->http_port());
  manager.tell("READY=1\nSTATUS=serving " + (*service)->serves());
  {
    maru::daemon::watchdog alive{manager, [&] { return (*service)->silent_actor(maru::bounds::answer_max); }};
    serve(signals, manager, argc, argv, options);
    manager.tell("STOPPING=1\nSTATUS=requests in flight finish");
    maru::log::info("stopping", "requests in flight finish, a second signal ends at once");
    end_at_second_signal(signals);
  }
  (*service)->stop();
  maru::log::tell_withheld(true);
  maru::log::info("stopped", "the pool and its keys stay");
  return 0;
}
