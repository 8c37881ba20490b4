// The terminal as a screen of our own, and as it was afterwards.
//
// Operation: keys come one by one and are not shown; what is drawn is on the alternate screen, so that the shell's lines
// are there again at the end. Signals still come from Ctrl-C and Ctrl-Z.
// Concurrency: one thread.
#pragma once

#include <termios.h>

#include <string>
#include <vector>

#include "app/maructl/top/screen.hpp"
#include "base/error.hpp"

namespace maru::ctl {

class terminal {
public:
  // `bad_option`: standard input or output is no terminal that can draw.
  static result<terminal> open();
  // As `leave`.
  ~terminal();
  terminal(terminal&& other) noexcept;
  terminal& operator=(terminal&&) = delete;

  // Gives the terminal back as it was, and takes it again: what Ctrl-Z and `fg` need.
  void leave();
  void enter();

  static screen_size size();
  // One line a row, from the top. `io`: the terminal is gone.
  status show(const std::vector<std::string>& lines);

private:
  explicit terminal(const termios& before) : before_(before) {}

  termios before_;
  bool entered_ = false;
};

}  // namespace maru::ctl
