// Goal: a kill point does nothing unless it is armed, and then kills the process that reaches it, as often as was asked
// for. Method: children arm a point and pass it; which death they die tells.
#include "base/kill_point.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/support/child_process.hpp"

namespace maru {
namespace {

// How often a child passes `point` before it dies there; `passes` when it lives.
int passed(const char* armed, kill_at point, int passes) {
  int ends[2];
  if (::pipe(ends) != 0)
    return -1;
  auto code = test::in_child([&] {
    if (!arm_kill_point(armed))
      return 1;
    for (int i = 0; i < passes; ++i) {
      kill_point(point);
      (void)!::write(ends[1], "x", 1);
    }
    return 0;
  });
  ::close(ends[1]);
  int n = 0;
  for (char c; ::read(ends[0], &c, 1) == 1;)
    ++n;
  ::close(ends[0]);
  EXPECT_EQ(code.has_value(), n == passes) << "it died of a signal, or passed each time";
  return n;
}

TEST(KillPoint, AnUnarmedPointDoesNothing) {
  EXPECT_EQ(passed(nullptr, kill_at::before_reply, 100), 100);
  EXPECT_EQ(passed("", kill_at::before_reply, 100), 100);
  EXPECT_EQ(passed("after_grant:1", kill_at::before_reply, 100), 100);
}

TEST(KillPoint, OneInOneKillsAtOnce) { EXPECT_EQ(passed("before_reply:1", kill_at::before_reply, 100), 0); }

TEST(KillPoint, OneInNKillsOnceInNTimes) {
  int sum = 0;
  for (int seed = 0; seed < 50; ++seed)
    sum += passed(("after_record:20:" + std::to_string(seed)).c_str(), kill_at::after_record, 1000);
  EXPECT_GT(sum, 50 * 10);
  EXPECT_LT(sum, 50 * 40);
}

TEST(KillPoint, TheSeedDecides) {
  auto first = passed("after_record:50:7", kill_at::after_record, 1000);
  EXPECT_EQ(passed("after_record:50:7", kill_at::after_record, 1000), first);
  EXPECT_NE(passed("after_record:50:8", kill_at::after_record, 1000), first);
}

TEST(KillPoint, NonsenseIsRefused) {
  for (auto* text : {"nowhere:1", "after_grant", "after_grant:", "after_grant:0", "after_grant:x",
                     "after_grant:1:", "after_grant:1:x", "after_grant:1:2:3", ":1"})
    EXPECT_EQ(arm_kill_point(text).code(), ec::bad_option) << text;
}

TEST(KillPoint, EachHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (auto i = 0; i <= static_cast<int>(kill_at::last_); ++i)
    names.insert(to_string(static_cast<kill_at>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kill_at::last_) + 1);
  EXPECT_FALSE(names.contains(""));
}

}  // namespace
}  // namespace maru
