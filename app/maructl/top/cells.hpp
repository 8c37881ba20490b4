// Text of known width: one character of it takes one cell of a terminal.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace maru::ctl {

struct look {
  bool colour = false;
  bool utf8 = false;
};

enum class style { plain, bold, dim, good, busy, bad, leaving, bar };

// One line of at most `columns` cells; what does not fit is cut off.
class screen_line {
public:
  screen_line(std::size_t columns, look l) : columns_(columns), look_(l) {}

  // `text` as it is. REQUIRES: ASCII, or characters of one cell each.
  screen_line& add(std::string_view text, style s = style::plain);
  // `text` in `width` cells, to the left or right; cut where it is longer.
  screen_line& left(std::string_view text, std::size_t width, style s = style::plain);
  screen_line& right(std::string_view text, std::size_t width, style s = style::plain);
  // `text` at the end of the line; dropped where there is no room for it and a space before it.
  screen_line& at_end(std::string_view text, style s = style::plain);

  std::size_t room() const { return columns_ - used_; }
  const std::string& text() const { return text_; }

private:
  std::size_t columns_, used_ = 0;
  look look_;
  std::string text_;
};

// Code points, not bytes.
std::size_t width_of(std::string_view text);
// What others chose (names of workers, messages), as printable ASCII: "?" for each other character, so that it has the
// width it seems to have and says nothing to the terminal.
std::string printable(std::string_view text);
// At most six cells, for any number: 7, 0.3, 999, 1.2k, 123k, 45.6M. NaN: "-".
std::string short_number(double value);
// At most six cells: 23us, 1.5ms, 120ms, 2.5s. NaN: "-".
std::string short_seconds(double seconds);
// At most eight cells: 512 B, 1.5 GiB, 416 MiB.
std::string short_size(std::uint64_t bytes);
// "87.3 %"; NaN: "-".
std::string percent(double share);

// The last `width` values as a row of bars, to the right. `top`: the value of a full bar; 0: the largest shown. NaN is a
// gap.
std::string sparkline(const std::deque<double>& values, std::size_t width, double top, look l);

}  // namespace maru::ctl
