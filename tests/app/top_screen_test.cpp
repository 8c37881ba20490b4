// Goal: `maructl top` fits every terminal, says what matters, and lets nobody else write to it. Method: draw() is a
// function; its lines are measured cell by cell, for ordinary and absurd samples, in sizes from nothing to very large.
#include "app/maructl/top/screen.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/app/top_answers.hpp"

namespace maru::ctl {
namespace {

constexpr look plain_look{false, false}, rich_look{true, true};

top_view view_of(const answers& a, int samples = 3) {
  top_view v;
  v.server = "127.0.0.1:5555";
  v.clock = "12:00:05";
  for (int i = 0; i < samples; ++i) {
    auto next = a.read();
    v.since = between(v.now, next);
    v.past.add(next, v.since);
    v.now = next;
  }
  return v;
}

answers with_sessions(int count) {
  answers a;
  auto one = a.sessions["sessions"][0];
  for (int i = 1; i < count; ++i) {
    one["id"] = 7 + i;
    one["instance"] = "worker-" + std::to_string(i + 1);
    one["committed_bytes"] = 1048576 * (i + 1);
    one["pins"] = count - i;
    a.sessions["sessions"].push_back(one);
  }
  return a;
}

answers huge() {
  constexpr auto most = std::uint64_t{1} << 63;
  answers a = with_sessions(3);
  a.status["uptime_ms"] = most;
  a.status["server_epoch"] = most;
  a.status["pool"]["bytes"] = most;
  a.status["pool"]["unassigned_bytes"] = most;
  for (auto state : {"free", "granted", "committed", "evicting", "quarantined", "retired"}) {
    a.status["pages"][state] = most;
    a.status["page_sizes"][0][state] = 1 << 30;
  }
  a.status["pins"] = most;
  a.status["evicted"] = most;
  a.status["lookups"] = {{"hit", most}, {"miss", most - 1}};
  for (auto& s : a.sessions["sessions"]) {
    s["id"] = most;
    s["instance"] = std::string(1024, 'w');
    s["committed_bytes"] = most;
    s["requests"] = most;
    s["pins"] = most;
    s["lease_left_ms"] = std::int64_t{1} << 60;
  }
  a.metrics = "maru_puts_in_flight 1e300\nmaru_commit_total{result=\"ok\"} 1e300\n";
  return a;
}

// Colours take no cell. Fails for any other control character.
std::size_t cells(const std::string& line) {
  std::string shown;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
      if (i == std::string::npos)
        throw std::runtime_error("a colour without an end in: " + line);
      continue;
    }
    EXPECT_GE(static_cast<unsigned char>(line[i]), 0x20) << line;
    shown += line[i];
  }
  return width_of(shown);
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& l : lines)
    out += l + "\n";
  return out;
}

std::string screen(const top_view& v, screen_size size = {}, look l = plain_look) {
  return joined(draw(v, size, l, true));
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(TopScreen, FitsEveryTerminal) {
  auto trouble = view_of(huge());
  trouble.trouble = std::string(5000, 'x');
  trouble.silent_s = 1e9;
  top_view waiting;
  waiting.server = std::string(300, 's');
  for (const auto& v : {view_of(answers{}), view_of(huge()), view_of(with_sessions(500)), trouble, waiting})
    for (std::size_t columns : {0, 1, 2, 9, 20, 40, 63, 79, 80, 81, 132, 400})
      for (std::size_t rows : {0, 1, 2, 3, 5, 10, 23, 24, 25, 60, 200})
        for (auto l : {plain_look, rich_look}) {
          auto lines = draw(v, {columns, rows}, l, true);
          ASSERT_EQ(lines.size(), rows > 2 ? rows : std::min<std::size_t>(rows, 2)) << columns << "x" << rows;
          for (const auto& line : lines)
            ASSERT_LE(cells(line), columns) << columns << "x" << rows << ": " << line;
        }
}

TEST(TopScreen, EightyByTwentyFourShowsEverything) {
  auto text = screen(view_of(with_sessions(9)));
  for (auto part : {"maru 0.1.0  127.0.0.1:5555  up 1m 0s  epoch 3",
                    "12:00:05\n",
                    "hit rate",
                    "puts",
                    "in flight",
                    "pins",
                    "evicted",
                    "committed",
                    "25,213",
                    "899",
                    "quarantined",
                    "lookup",
                    "commit",
                    "grant",
                    "unpin",
                    "p99.9",
                    "worker-1",
                    "active",
                    "1.0 MiB",
                    "9 sessions\n"})
    EXPECT_TRUE(contains(text, part)) << part << " is not in\n" << text;
}

TEST(TopScreen, NumbersAreNeverCutToSmallerOnes) {
  for (const auto& v : {view_of(huge()), view_of(answers{})})
    for (const auto& line : draw(v, {}, plain_look, true))
      EXPECT_FALSE(contains(line, "9223372036854") && !contains(line, "9223372036854775808")) << line;
  EXPECT_TRUE(contains(screen(view_of(huge())), "8.0 EiB")) << screen(view_of(huge()));
}

TEST(TopScreen, AFewRowsShowWhatMattersMost) {
  auto text = screen(view_of(answers{}), {80, 8});
  EXPECT_TRUE(contains(text, "hit rate")) << text;
  EXPECT_TRUE(contains(text, "evicted")) << text;
  EXPECT_TRUE(contains(text, "q quit")) << text;
  EXPECT_FALSE(contains(text, "worker-1")) << text;
}

TEST(TopScreen, MoreRowsShowMoreSessionsAndOperations) {
  auto v = view_of(with_sessions(100));
  auto count = [](const std::string& text) {
    std::size_t n = 0;
    for (auto at = text.find("worker-"); at != std::string::npos; at = text.find("worker-", at + 1))
      ++n;
    return n;
  };
  EXPECT_GE(count(screen(v, {80, 24})), 4u);
  EXPECT_GE(count(screen(v, {80, 60})), 30u);
  EXPECT_TRUE(contains(screen(v, {80, 60}), "grant wait"));
}

TEST(TopScreen, WithoutColourAndUtf8ThereIsPlainAsciiOnly) {
  for (char c : screen(view_of(with_sessions(5))))
    ASSERT_TRUE((c >= ' ' && c <= '~') || c == '\n') << static_cast<int>(c);
  auto rich = screen(view_of(answers{}), {}, rich_look);
  EXPECT_TRUE(contains(rich, "\x1b[")) << rich;
  EXPECT_TRUE(contains(rich, "█")) << rich;
}

TEST(TopScreen, NamesOfWorkersSayNothingToTheTerminal) {
  answers a;
  a.sessions["sessions"][0]["instance"] =
    "\x1b[2Jevil\x07\xc2\x9b"
    "0m\xe4\xb8\x96";
  a.sessions["sessions"][0]["state"] = "\x1b]0;x";
  auto v = view_of(a);
  v.trouble = "failed\r\n\x1b[31m";
  auto text = screen(v);
  EXPECT_TRUE(contains(text, "?[2Jevil??0m?")) << text;
  EXPECT_FALSE(contains(text, "\x1b")) << text;
  EXPECT_FALSE(contains(text, "\r")) << text;
}

TEST(TopScreen, AMarudThatIsAwayIsShownBesideWhatItLastSaid) {
  auto v = view_of(answers{});
  v.trouble = "failed to connect to marud at 127.0.0.1:5555: nobody answers there";
  v.silent_s = 12;
  auto text = screen(v);
  EXPECT_TRUE(contains(text, "no answer for 12.0s, trying again: failed to connect")) << text;
  EXPECT_TRUE(contains(text, "25,213")) << text;
  v.trouble.clear();
  v.back_s = 3;
  EXPECT_TRUE(contains(screen(v), "marud was started again, it answers since 3.0s")) << screen(v);
  v.back_s = 3600;
  EXPECT_FALSE(contains(screen(v), "started again"));
}

TEST(TopScreen, PinsOfTheDeadAndQuarantineAreNews) {
  answers a;
  a.status["pins_held_dead"] = 2;
  a.status["pages"]["quarantined"] = 31;
  EXPECT_TRUE(contains(screen(view_of(a)), "waiting for the proof that processes are gone: 2 pins, 31 pages"));
}

TEST(TopScreen, RetiredPagesAreNews) {
  answers a;
  a.status["pages"]["retired"] = 3;
  EXPECT_TRUE(contains(screen(view_of(a)), "3 pages are retired: their memory failed"));
}

TEST(TopScreen, SessionsStandInTheOrderThatIsAskedFor) {
  auto v = view_of(with_sessions(3));
  auto first_is = [&](session_order o, const char* worker) {
    v.order = o;
    auto text = screen(v);
    auto at = text.find("worker-");
    return text.compare(at, std::string{worker}.size(), worker) == 0;
  };
  EXPECT_TRUE(first_is(session_order::committed, "worker-3"));
  EXPECT_TRUE(first_is(session_order::pins, "worker-1"));
}

TEST(TopCells, SparklinesShowTheLastValuesAndGaps) {
  std::deque<double> values = {9, 0, 5, unknown, 10};
  EXPECT_EQ(sparkline(values, 4, 0, {false, true}), "▁▅ █");
  EXPECT_EQ(sparkline(values, 7, 10, {false, false}), "  *_= #");
  EXPECT_EQ(sparkline(values, 0, 0, plain_look), "");
  EXPECT_EQ(sparkline({}, 3, 0, plain_look), "   ");
  EXPECT_EQ(sparkline({0, 0}, 2, 0, plain_look), "__") << "nothing at all is no full bar";
  EXPECT_EQ(sparkline({5}, 1, 2, plain_look), "#") << "beyond the top";
}

TEST(TopCells, NumbersHaveAtMostSixCells) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.34), "0.3");
  EXPECT_EQ(short_number(9.97), "10");
  EXPECT_EQ(short_number(999), "999");
  EXPECT_EQ(short_number(999.6), "1.0k");
  EXPECT_EQ(short_number(123'456), "123k");
  EXPECT_EQ(short_number(45'600'000), "45.6M");
  EXPECT_EQ(short_number(unknown), "-");
  for (double n = 0.001; n < 1e30; n *= 1.37)
    ASSERT_LE(short_number(n).size(), 6u) << n;
  EXPECT_EQ(short_seconds(0.0000234), "23us");
  EXPECT_EQ(short_seconds(0.0015), "1.5ms");
  EXPECT_EQ(short_seconds(0.12), "120ms");
  EXPECT_EQ(short_seconds(2.5), "2.5s");
  for (double s = 1e-9; s < 1e12; s *= 1.37)
    ASSERT_LE(short_seconds(s).size(), 6u) << s;
  for (std::uint64_t b = 1; b < std::uint64_t{1} << 62; b = b * 3 / 2 + 1)
    ASSERT_LE(short_size(b).size(), 8u) << b;
  EXPECT_EQ(short_size(1048576), "1.0 MiB");
  EXPECT_EQ(short_size(1023), "1.0 KiB");
}

}  // namespace
}  // namespace maru::ctl
