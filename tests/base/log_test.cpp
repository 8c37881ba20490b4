// Goal: a line of the log is one line, whatever is in it, and an event that comes again and again is counted instead of
// shown. Method: lines from parts with odd bytes, windows on a clock of the test's, and the log itself on a pipe.
#include "base/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "base/log_line.hpp"
#include "base/repeat_limit.hpp"

namespace maru {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

log::line_parts parts_of(std::string_view text, std::string_view worker = {}) {
  return {std::chrono::system_clock::time_point{1767225605123ms}, log::severity::warn, "lease_over", 7, worker, text};
}

TEST(LogLine, SaysWhenHowBadWhatOfWhomAndWhy) {
  EXPECT_EQ(log::text_line(parts_of("its pages are held", "w1")),
            "2026-01-01T00:00:05.123Z warn  lease_over [session 7, worker w1]: its pages are held\n");
  EXPECT_EQ(log::text_line(parts_of("its pages are held", "w1"), true),
            "<4>lease_over [session 7, worker w1]: its pages are held\n");
  EXPECT_EQ(log::json_line(parts_of("its pages are held", "w1")),
            R"({"time":"2026-01-01T00:00:05.123Z","level":"warn","event":"lease_over","session":7,"worker":"w1",)"
            R"("message":"its pages are held"})"
            "\n");
}

TEST(LogLine, KeepsTextOfAllLanguages) {
  EXPECT_NE(log::text_line(parts_of("plötzlich 漢字 🙂")).find("plötzlich 漢字 🙂"), std::string::npos);
}

TEST(LogLine, ShowsOddBytesAsNumbers) {
  constexpr std::pair<const char*, const char*> cases[] = {
    {"a\nb", "a\\x0ab"},        {"\x1b[2J", "\\x1b[2J"},    {"\xff", "\\xff"},
    {"\xc2", "\\xc2"},          {"\xc0\x80", "\\xc0\\x80"}, {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
    {"\xc2\x9b", "\\xc2\\x9b"}, {"\x7f", "\\x7f"}};
  for (auto [odd, shown] : cases) {
    EXPECT_NE(log::text_line(parts_of(odd)).find(shown), std::string::npos) << shown;
    auto line = json::parse(log::json_line(parts_of(odd)));
    EXPECT_EQ(line["message"], shown);
  }
}

TEST(LogLine, AnyBytesAreOneLineAndValidJson) {
  std::mt19937 random{1};
  for (int i = 0; i < 4000; ++i) {
    std::string text(random() % 12, ' '), worker(random() % 6, ' ');
    for (auto* s : {&text, &worker})
      for (auto& c : *s)
        c = static_cast<char>(random() % 4 == 0 ? random() % 0x30 : random());
    for (const auto& line : {log::text_line(parts_of(text, worker)), log::json_line(parts_of(text, worker))}) {
      ASSERT_EQ(line.find('\n'), line.size() - 1);
      ASSERT_EQ(line.find('\0'), line.npos);
    }
    ASSERT_TRUE(json::accept(log::json_line(parts_of(text, worker))));
  }
}

TEST(LogLine, NamesMayBeOddToo) {
  auto p = parts_of("text");
  p.name = "\xff\n";
  EXPECT_EQ(json::parse(log::json_line(p))["event"], "\\xff\\x0a");
}

TEST(RepeatLimit, ShowsTheFirstOnesAndCountsTheOthers) {
  repeat_limit limit;
  repeat_limit::time_point now{};
  std::size_t shown = 0;
  for (int i = 0; i < 1000; ++i)
    shown += limit.admit("refused", 2, now) ? 1 : 0;
  EXPECT_EQ(shown, bounds::log_burst);
  EXPECT_TRUE(limit.admit("another", 2, now)) << "events do not count together";
  EXPECT_TRUE(limit.end_windows(now + bounds::log_window - 1ms).empty());
  auto told = limit.end_windows(now + bounds::log_window);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].name, "refused");
  EXPECT_EQ(told[0].count, 1000 - bounds::log_burst);
  EXPECT_TRUE(limit.admit("refused", 2, now + bounds::log_window)) << "a new window";
  EXPECT_TRUE(limit.end_windows(now + 3 * bounds::log_window).empty()) << "nothing was withheld since";
}

TEST(RepeatLimit, KeepsABoundedNumberOfNames) {
  repeat_limit limit;
  std::size_t shown = 0;
  for (std::size_t i = 0; i < 100 * bounds::log_events_max; ++i)
    shown += limit.admit("name" + std::to_string(i), 2, {}) ? 1 : 0;
  EXPECT_LE(shown, bounds::log_events_max + bounds::log_burst);
  std::uint64_t counted = 0;
  for (const auto& w : limit.end_windows({}, true))
    counted += w.count;
  EXPECT_EQ(shown + counted, 100 * bounds::log_events_max);
}

// Standard error on a pipe that nobody reads until the test does.
class captured_stderr {
public:
  captured_stderr() : old_(::dup(STDERR_FILENO)) {
    if (::pipe2(ends_, O_NONBLOCK | O_CLOEXEC) != 0)
      std::abort();
    ::fcntl(ends_[1], F_SETFL, 0);  // as it is in life: a write would wait
    ::dup2(ends_[1], STDERR_FILENO);
  }
  ~captured_stderr() {
    ::dup2(old_, STDERR_FILENO);
    for (int fd : {old_, ends_[0], ends_[1]})
      ::close(fd);
  }
  std::string read() const {
    std::string out;
    char part[4096];
    for (ssize_t n; (n = ::read(ends_[0], part, sizeof part)) > 0;)
      out.append(part, static_cast<std::size_t>(n));
    return out;
  }

private:
  int old_;
  int ends_[2] = {};
};

TEST(Log, LevelsAreWordsAndTakeEffectAtOnce) {
  log::set_up(log::format::text);
  EXPECT_FALSE(log::set_level("loud"));
  ASSERT_TRUE(log::set_level("warn"));
  EXPECT_EQ(log::level_word(), "warn");
  captured_stderr output;
  log::info("quiet", "not seen");
  log::warn("loud", "seen, {}", 1);
  ASSERT_TRUE(log::set_level("debug"));
  log::debug("detail", "seen too");
  auto text = output.read();
  EXPECT_EQ(text.find("quiet"), text.npos);
  EXPECT_NE(text.find("loud: seen, 1\n"), text.npos) << text;
  EXPECT_NE(text.find("detail: seen too\n"), text.npos) << text;
  log::set_level("info");
}

TEST(Log, GoesOnWhereNobodyReadsItAndCountsWhatIsLost) {
  log::set_up(log::format::json);
  log::set_level("debug");
  captured_stderr output;
  std::string long_text(5000, '\n');
  for (int i = 0; i < 200; ++i)  // far more than a pipe takes; not limited, since below info
    log::debug({"many", 1, long_text}, "{}", long_text);
  auto first = output.read();
  log::debug("after", "somebody reads again");
  auto last = output.read();
  log::set_level("info");
  log::set_up(log::format::text);
  std::istringstream lines{first + last};
  std::uint64_t read = 0, lost = 0;
  for (std::string line; std::getline(lines, line); ++read) {
    auto o = json::parse(line, nullptr, false);
    ASSERT_TRUE(o.is_object()) << "a whole line each: " << line;
    lost += o["event"] == "lines_lost" ? o["withheld"].get<std::uint64_t>() : 0;
  }
  EXPECT_GT(lost, 0u);
  EXPECT_EQ(read - 1 + lost, 201u);
}

}  // namespace
}  // namespace maru
