// Goal: a session's lease ends when its worker is silent, and not because marud itself stood still. Method: a clock that
// the test moves.
#include "actors/lease.hpp"

#include <gtest/gtest.h>

namespace maru::actors {
namespace {

using namespace std::chrono_literals;

struct fake_clock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<fake_clock>;
  static constexpr bool is_steady = true;
};

class a_lease : public ::testing::Test {
protected:
  // Ticks every second until `until`; true when the lease is over by then.
  bool tick_until(fake_clock::time_point until) {
    bool over = false;
    for (; now <= until; now += 1s)
      over = lease.tick(now, 1s);
    now -= 1s;
    return over;
  }

  fake_clock::time_point start{100s};
  fake_clock::time_point now = start;
  basic_lease<fake_clock> lease{start, 10s};
};

TEST_F(a_lease, EndsAfterItsLengthWithoutARenewal) {
  EXPECT_FALSE(tick_until(start + 9s));
  EXPECT_EQ(lease.left(now), 1s);
  EXPECT_TRUE(tick_until(start + 10s));
}

TEST_F(a_lease, RenewalStartsItAnew) {
  EXPECT_FALSE(tick_until(start + 9s));
  lease.renew(now);
  EXPECT_EQ(lease.left(now), 10s);
  EXPECT_FALSE(tick_until(start + 18s));
  EXPECT_TRUE(tick_until(start + 19s));
}

TEST_F(a_lease, StandstillOfMarudExtendsItByTheGap) {
  EXPECT_FALSE(tick_until(start + 5s));
  now += 60s;
  EXPECT_FALSE(lease.tick(now, 1s)) << "59 of these 60 seconds were marud's own fault";
  EXPECT_EQ(lease.left(now), 4s);
  now += 1s;
  EXPECT_TRUE(tick_until(now + 4s));
}

TEST_F(a_lease, EveryStandstillCounts) {
  for (int i = 0; i < 5; ++i) {
    now += 30s;
    ASSERT_FALSE(lease.tick(now, 1s));
  }
  EXPECT_EQ(lease.left(now), 5s);
}

TEST_F(a_lease, TicksThatAreALittleLateOrEarlyDoNotExtendIt) {
  for (int i = 0; i < 6; ++i) {
    now += 1900ms;
    lease.tick(now, 1s);
  }
  EXPECT_TRUE(lease.tick(now, 1s)) << "11.4 s are over";
  EXPECT_LE(lease.left(now), 0s);
}

TEST(SessionState, EveryStateHasAName) {
  EXPECT_EQ(to_string(session_state::active), "active");
  EXPECT_EQ(to_string(session_state::suspect), "suspect");
  EXPECT_EQ(to_string(session_state::awaiting_resume), "awaiting_resume");
  EXPECT_EQ(to_string(session_state::lapsed), "lapsed");
  EXPECT_EQ(to_string(session_state::ending), "ending");
}

}  // namespace
}  // namespace maru::actors
