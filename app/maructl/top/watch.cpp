#include "app/maructl/top/watch.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <mutex>
#include <utility>

#include "app/maructl/top/sampler.hpp"
#include "app/maructl/top/screen.hpp"
#include "app/maructl/top/terminal.hpp"

namespace maru::ctl {

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

sigset_t watched_signals() {
  sigset_t out;
  sigemptyset(&out);
  for (int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT})
    sigaddset(&out, s);
  return out;
}

class descriptor {
public:
  explicit descriptor(int fd) : fd_(fd) {}
  ~descriptor() {
    if (fd_ >= 0)
      ::close(fd_);
  }
  descriptor(const descriptor&) = delete;
  int get() const { return fd_; }

private:
  int fd_;
};

std::string time_of_day() {
  auto now = std::time(nullptr);
  std::tm parts{};
  char out[16];
  return ::localtime_r(&now, &parts) && std::strftime(out, sizeof out, "%T", &parts) > 0 ? out : "";
}

// What is known, and what of it is on the screen.
class watcher {
public:
  watcher(const command& c, look l) : look_(l) { view_.server = c.server; }

  void take(result<sample> found) {
    auto now = clock_type::now();
    if (!found) {
      if (view_.trouble.empty())
        silent_since_ = now;
      view_.trouble = found.error().message;
      view_.past.add_gap();
      return;
    }
    view_.trouble.clear();
    view_.since = between(view_.now, *found);
    if (view_.now && view_.since.since_start)
      back_since_ = now;
    view_.past.add(*found, view_.since);
    view_.now = *std::move(found);
  }

  void next_order() {
    view_.order = static_cast<session_order>((static_cast<std::size_t>(view_.order) + 1) % session_order_count);
  }

  status show(terminal& on) {
    auto now = clock_type::now();
    view_.clock = time_of_day();
    view_.silent_s = std::chrono::duration<double>(now - silent_since_).count();
    if (back_since_)
      view_.back_s = std::chrono::duration<double>(now - *back_since_).count();
    return on.show(draw(view_, terminal::size(), look_, true));
  }

private:
  look look_;
  top_view view_;
  clock_type::time_point silent_since_;
  std::optional<clock_type::time_point> back_since_;
};

// Results on their way from the sampler's thread.
class inbox {
public:
  inbox() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  void put(result<sample> found) {
    std::lock_guard guard{mutex_};
    waiting_.push_back(std::move(found));
    std::uint64_t one = 1;
    static_cast<void>(!::write(event_.get(), &one, sizeof one));
  }
  std::deque<result<sample>> take() {
    std::lock_guard guard{mutex_};
    std::uint64_t count = 0;
    static_cast<void>(!::read(event_.get(), &count, sizeof count));
    return std::exchange(waiting_, {});
  }
  int event() const { return event_.get(); }

private:
  descriptor event_;
  std::mutex mutex_;
  std::deque<result<sample>> waiting_;
};

// True: go on.
bool obey_signals(int fd, terminal& on) {
  signalfd_siginfo info{};
  if (::read(fd, &info, sizeof info) != sizeof info)
    return true;
  switch (info.ssi_signo) {
    case SIGWINCH: return true;
    case SIGTSTP:  // the shell has its screen while we stand still
      on.leave();
      ::kill(::getpid(), SIGSTOP);
      on.enter();
      return true;
    case SIGCONT:  // also after a SIGSTOP that we knew nothing of, and the shell changed the terminal meanwhile
      on.leave();
      on.enter();
      return true;
    default: return false;
  }
}

bool obey_keys(watcher& w) {
  std::array<char, 64> keys;
  auto n = ::read(STDIN_FILENO, keys.data(), keys.size());
  if (n <= 0)
    return n < 0 && (errno == EINTR || errno == EAGAIN);
  for (auto key = keys.begin(); key != keys.begin() + n; ++key) {
    if (*key == 'q' || *key == 'Q')
      return false;
    if (*key == 's')
      w.next_order();
  }
  return true;
}

// Until somebody ends it.
status run(watcher& w, inbox& in, terminal& on) {
  auto signals = watched_signals();
  descriptor signalled{::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)};
  if (signalled.get() < 0 || in.event() < 0)
    return errno_error("wait for signals and samples", errno);
  for (bool first = true;;) {
    if (auto shown = w.show(on); !shown)
      return shown;
    std::array<pollfd, 3> ready = {{{STDIN_FILENO, POLLIN, 0}, {signalled.get(), POLLIN, 0}, {in.event(), POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), 1000) < 0 && errno != EINTR)
      return errno_error("wait for keys and samples", errno);
    if (ready[1].revents != 0 && !obey_signals(signalled.get(), on))
      return {};
    if (ready[0].revents != 0 && !obey_keys(w))
      return {};
    for (auto& found : in.take()) {
      if (std::exchange(first, false) && !found)
        return found.error();
      w.take(std::move(found));
    }
  }
}

}  // namespace

void block_watch_signals() {
  auto signals = watched_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

result<exit_code> watch(const command& c, look l) {
  auto on = terminal::open();
  if (!on)
    return on.error();
  watcher w{c, l};
  inbox in;
  sampler samples{c, [&](result<sample> found) { in.put(std::move(found)); }};
  auto done = run(w, in, *on);
  on->leave();
  // Who ends top does not wait for a marud that does not answer, and nothing that the sampler has outlives the process.
  if (!samples.stop_within(200ms)) {
    if (!done)
      std::fprintf(stderr, "maructl: %s\n", done.error().message.c_str());
    std::fflush(nullptr);
    std::_Exit(static_cast<int>(done ? exit_code::ok : exit_code_of(done.error().code)));
  }
  if (!done)
    return done.error();
  return exit_code::ok;
}

}  // namespace maru::ctl
