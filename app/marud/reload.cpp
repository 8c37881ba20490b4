#include "app/marud/reload.hpp"

#include "base/log.hpp"

namespace maru::daemon {

void set_up_log(const marud_options& options) {
  log::set_up(options.log_format == "json" ? log::format::json : log::format::text);
  log::set_level(options.log_level);
}

void reload(int argc, const char* const* argv, marud_options& running) {
  auto parsed = parse_marud_options(argc, argv);
  if (!parsed) {
    log::error("reload_failed", "{}; nothing is changed", parsed.error().message);
    return;
  }
  running.log_level = parsed->options.log_level;
  running.log_format = parsed->options.log_format;
  set_up_log(running);
  std::string waiting;
  for (const auto& name : differing_options(running, parsed->options))
    waiting += (waiting.empty() ? "" : ", ") + name;
  auto now = "log-level is " + running.log_level + ", log-format is " + running.log_format;
  if (waiting.empty())
    log::info("reloaded", "{}", now);
  else
    log::warn("reloaded", "{}; changed options that wait for the next start: {}", now, waiting);
}

}  // namespace maru::daemon
