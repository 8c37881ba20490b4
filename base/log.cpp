#include "base/log.hpp"

#include <poll.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <utility>

#include "base/log_level.hpp"
#include "base/log_line.hpp"
#include "base/repeat_limit.hpp"

namespace maru::log {

namespace {

// In the order of log_level_words.
constexpr std::array<spdlog::level::level_enum, log_level_words.size()> spdlogs = {
  spdlog::level::trace, spdlog::level::debug, spdlog::level::info,
  spdlog::level::warn,  spdlog::level::err,   spdlog::level::off};

// A byte becomes at most five, and the whole line is to fit PIPE_BUF.
constexpr std::size_t text_max = 600, worker_max = 100;
static_assert(5 * (text_max + 2 * worker_max) < PIPE_BUF);

severity severity_of(spdlog::level::level_enum l) {
  return static_cast<severity>(std::min<int>(l, spdlog::level::err));
}

// systemd says in JOURNAL_STREAM which stream is its journal: "device:inode".
bool into_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat s = {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &s) == 0
         && stream == std::to_string(s.st_dev) + ":" + std::to_string(s.st_ino);
}

// Whoever calls spdlog itself has no name for what happened: its text without numbers stands for it.
std::string name_from(std::string_view text) {
  std::string out;
  for (char c : text)
    if (c < '0' || c > '9')
      out += c;
  return out;
}

class journal : public spdlog::sinks::base_sink<std::mutex> {
public:
  void set_format(format shape) {
    std::lock_guard lock{mutex_};
    shape_ = shape;
    to_journal_ = into_journal();
  }

  void write(severity level, const event& what, std::string_view text) {
    std::lock_guard lock{mutex_};
    put(level, what, what.name, text);
  }

  void tell_withheld(bool everything) {
    std::lock_guard lock{mutex_};
    for (const auto& w : limit_.end_windows(std::chrono::steady_clock::now(), everything)) {
      auto text = fmt::format("{} more of this kind were not shown", w.count);
      auto name = std::string_view{w.name}.substr(0, worker_max);
      out({std::chrono::system_clock::now(), static_cast<severity>(w.level), name, 0, {}, text, w.count});
    }
  }

private:
  void sink_it_(const spdlog::details::log_msg& m) override {
    std::string_view text{m.payload.data(), m.payload.size()};
    put(severity_of(m.level), "", name_from(text), text);
  }
  void flush_() override {}

  void put(severity level, const event& what, std::string_view name, std::string_view text) {
    if (level < severity::info || limit_.admit(name, static_cast<int>(level), std::chrono::steady_clock::now()))
      out({std::chrono::system_clock::now(), level, what.name.substr(0, worker_max), what.session,
           what.worker.substr(0, worker_max), text.substr(0, text_max)});
  }

  void out(const line_parts& parts) {
    if (lost_ > 0 && has_room()) {
      auto lost = std::exchange(lost_, 0);
      auto text = fmt::format("{} lines are missing: nobody read them in time", lost);
      emit({parts.time, severity::warn, "lines_lost", 0, {}, text, lost});
    }
    if (lost_ == 0 && has_room())
      emit(parts);
    else
      ++lost_;
  }

  // A pipe with room takes PIPE_BUF bytes at once. Where nobody reads it, marud goes on and the line is lost.
  static bool has_room() {
    pollfd p{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
  }

  void emit(const line_parts& parts) const {
    auto line = shape_ == format::json ? json_line(parts) : text_line(parts, to_journal_);
    (void)!::write(STDERR_FILENO, line.data(), line.size());
  }

  repeat_limit limit_;
  std::uint64_t lost_ = 0;
  format shape_ = format::text;
  bool to_journal_ = into_journal();
};

// Never destroyed: threads may still log while the process ends.
const std::shared_ptr<journal>& the_journal() {
  static const auto& j = *new std::shared_ptr<journal>{std::make_shared<journal>()};
  return j;
}

}  // namespace

void set_up(format shape) {
  static const auto logger = std::make_shared<spdlog::logger>("marud", the_journal());
  the_journal()->set_format(shape);
  if (spdlog::default_logger() == logger)
    return;
  logger->set_level(spdlog::default_logger()->level());
  spdlog::set_default_logger(logger);
}

bool set_level(std::string_view word) {
  for (std::size_t i = 0; i < log_level_words.size(); ++i)
    if (log_level_words[i] == word) {
      spdlog::set_level(spdlogs[i]);
      return true;
    }
  return false;
}

std::string_view level_word() {
  auto now = spdlog::get_level();
  for (std::size_t i = 0; i < spdlogs.size(); ++i)
    if (spdlogs[i] >= now)
      return log_level_words[i];
  return log_level_words.back();
}

bool wanted(severity level) { return spdlog::should_log(spdlogs[static_cast<std::size_t>(level)]); }
void write(severity level, const event& what, std::string_view text) { the_journal()->write(level, what, text); }
void tell_withheld(bool everything) { the_journal()->tell_withheld(everything); }

}  // namespace maru::log
