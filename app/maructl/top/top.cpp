#include "app/maructl/top/top.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>

#include "app/maructl/top/report.hpp"
#include "app/maructl/top/sampler.hpp"
#include "app/maructl/top/screen.hpp"
#include "app/maructl/top/terminal.hpp"
#include "app/maructl/top/watch.hpp"

namespace maru::ctl {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The first of them that is set decides, as in setlocale(3).
bool locale_has_utf8() {
  std::string chosen;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (chosen.empty())
      chosen = environment(name);
  std::transform(chosen.begin(), chosen.end(), chosen.begin(), [](unsigned char c) { return std::tolower(c); });
  return chosen.find("utf-8") != std::string::npos || chosen.find("utf8") != std::string::npos;
}

look look_of(const command& c) {
  bool colour = !c.no_colour && environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  return {colour && ::isatty(STDOUT_FILENO) == 1, !c.ascii && locale_has_utf8()};
}

// False: nobody reads any more.
bool print(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

bool print_json(const nlohmann::json& value) {
  return print(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

// Two looks, an interval apart: what passed between them.
result<exit_code> once(const command& c) {
  looker l{c};
  auto before = l.look();
  if (!before)
    return before.error();
  std::this_thread::sleep_until(before->at + c.interval);
  auto now = l.look();
  if (!now)
    return now.error();
  top_view view;
  view.server = c.server;
  view.since = between(*before, *now);
  view.past.add(*now, view.since);
  view.now = *std::move(now);
  if (c.json) {
    print_json(report(c.server, *view.now, view.since));
    return exit_code::ok;
  }
  auto all = std::numeric_limits<std::size_t>::max();
  for (const auto& line : draw(view, {terminal::size().columns, all}, look_of(c), false))
    print(line + "\n");
  return exit_code::ok;
}

// A line a sample, until nobody reads it or a signal ends it.
result<exit_code> stream(const command& c) {
  looker l{c};
  std::optional<sample> before;
  for (;;) {
    auto now = l.look();
    if (!now && !before)
      return now.error();
    if (!print_json(now ? report(c.server, *now, between(before, *now))
                        : report_of_silence(c.server, now.error().message)))
      return exit_code::other;
    if (now)
      before = *std::move(now);
    std::this_thread::sleep_for(c.interval);
  }
}

}  // namespace

result<exit_code> top(const command& c) {
  if (c.once)
    return once(c);
  if (c.json)
    return stream(c);
  block_watch_signals();
  return watch(c, look_of(c));
}

}  // namespace maru::ctl
