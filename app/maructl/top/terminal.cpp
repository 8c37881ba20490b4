#include "app/maructl/top/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace maru::ctl {

namespace {

// Alternate screen, no cursor; and back.
constexpr std::string_view enter_screen = "\x1b[?1049h\x1b[?25l\x1b[2J";
constexpr std::string_view leave_screen = "\x1b[0m\x1b[?25h\x1b[?1049l";

bool write_all(std::string_view text) {
  while (!text.empty()) {
    auto n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno != EINTR && errno != EAGAIN)
      return false;
    text.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
  }
  return true;
}

}  // namespace

result<terminal> terminal::open() {
  termios before{};
  const char* kind = std::getenv("TERM");
  bool draws = kind != nullptr && *kind != '\0' && std::string_view{kind} != "dumb";
  if (!draws || ::isatty(STDOUT_FILENO) != 1 || ::tcgetattr(STDIN_FILENO, &before) != 0)
    return {ec::bad_option,
            "failed to run top: standard input and output are no terminal that can draw; --once or --json need none"};
  terminal out{before};
  out.enter();
  return out;
}

terminal::~terminal() { leave(); }

terminal::terminal(terminal&& other) noexcept
    : before_(other.before_), entered_(std::exchange(other.entered_, false)) {}

void terminal::enter() {
  if (std::exchange(entered_, true))
    return;
  auto ours = before_;
  ours.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  ours.c_cc[VMIN] = 1;
  ours.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &ours);
  write_all(enter_screen);
}

void terminal::leave() {
  if (!std::exchange(entered_, false))
    return;
  write_all(leave_screen);
  ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

screen_size terminal::size() {
  winsize is{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &is) != 0 || is.ws_col == 0 || is.ws_row == 0)
    return {};
  return {is.ws_col, is.ws_row};
}

status terminal::show(const std::vector<std::string>& lines) {
  std::string out;
  for (std::size_t i = 0; i < lines.size(); ++i)
    out += "\x1b[" + std::to_string(i + 1) + ";1H\x1b[2K" + lines[i];
  if (!write_all(out))
    return errno_error("draw on the terminal", errno);
  return {};
}

}  // namespace maru::ctl
