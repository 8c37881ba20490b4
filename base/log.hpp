// What marud writes to stderr: one line an event that an operator can act on. An event has a name that stays (to search
// and alert for), the session and the worker it is about, and a sentence. No line has bytes of a key or a chunk.
//
//   log::warn({"lease_over", id, worker}, "its {} pages are held until its process is proven dead", pages);
//
// Operation: as text or as JSON, one object a line. Bytes that would break a line, or are not UTF-8, are escaped. From
// `info` on, an event that comes again and again is shown bounds::log_burst times in bounds::log_window; what is withheld is
// counted, and told once the window is over.
// Concurrency: any thread. A line is one write(2), under a lock, and waits for nobody: where a pipe is full, lines are lost
// and counted.
// Limits: of a text 600 bytes are written, of a worker's name 100.
#pragma once

#include <spdlog/fmt/fmt.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace maru::log {

enum class severity { trace, debug, info, warn, error, off };
enum class format { text, json };

struct event {
  event(const char* its_name, std::uint64_t of_session = 0, std::string_view of_worker = {})
      : name(its_name), session(of_session), worker(of_worker) {}

  std::string_view name;
  std::uint64_t session;    // 0: none
  std::string_view worker;  // what the client calls itself: odd bytes are possible
};

// Makes spdlog's default logger write as said above, too. As text into systemd's journal, a line begins with its priority
// instead of the time, which the journal has itself.
void set_up(format shape);

// By its word: trace, debug, info, warn, error, off. False: it is none of them. Takes effect at once.
bool set_level(std::string_view word);
// The word of the least serious level that is written.
std::string_view level_word();

bool wanted(severity level);
// Writes it, whatever the level is.
void write(severity level, const event& what, std::string_view text);
// Tells the counts of what was withheld in windows that are over, of all windows with `everything`. To be called now and
// then: the counts come that late.
void tell_withheld(bool everything = false);

template <class... T>
void write_if_wanted(severity level, const event& what, fmt::format_string<T...> text, T&&... values) {
  if (wanted(level))
    write(level, what, fmt::format(text, std::forward<T>(values)...));
}
template <class... T>
void debug(const event& what, fmt::format_string<T...> text, T&&... values) {
  write_if_wanted(severity::debug, what, text, std::forward<T>(values)...);
}
template <class... T>
void info(const event& what, fmt::format_string<T...> text, T&&... values) {
  write_if_wanted(severity::info, what, text, std::forward<T>(values)...);
}
template <class... T>
void warn(const event& what, fmt::format_string<T...> text, T&&... values) {
  write_if_wanted(severity::warn, what, text, std::forward<T>(values)...);
}
template <class... T>
void error(const event& what, fmt::format_string<T...> text, T&&... values) {
  write_if_wanted(severity::error, what, text, std::forward<T>(values)...);
}

}  // namespace maru::log
