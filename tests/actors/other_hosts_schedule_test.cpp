// Goal: workers of other hosts are served where marud was told to, and what they may still write is given to nobody until
// somebody who knows says that they are gone. Method: the actors under a clock and a scheduler of the test's own.
#include <gtest/gtest.h>

#include "tests/actors/session_fixture.hpp"

namespace maru::actors {
namespace {

using namespace std::chrono_literals;
using test::worker;

class other_hosts : public test::session_fixture {
protected:
  other_hosts() { in.pool.env->options.other_hosts = true; }

  static worker::options far(char boot, const std::string& host = "far") {
    worker::options o;
    o.boot_id.assign(16, boot);
    o.host = host;
    return o;
  }
  ec end(const worker& who) { return in.ask<outcome>(in.door, end_session{who.id()}).code; }
};

TEST_F(other_hosts, TheirWorkersPutAndReadAsOthersDoAndHaveNoLockHere) {
  worker anna{in, far('b')}, ben{in};
  EXPECT_EQ(static_cast<ec>(anna.hello.code), ec::ok);
  EXPECT_EQ(anna.hello.lock_path, "");
  anna.put({"a"});
  EXPECT_EQ(ben.lookup({"a"}, 0)[0].code, ec::ok);
  EXPECT_EQ(anna.close(), ec::ok);
  EXPECT_FALSE(is_known(anna));
  in.expect_sound();
}

TEST_F(other_hosts, Invariant6_WhatAVanishedOneHoldsIsHeldUntilSomebodySaysThatItIsGone) {
  worker anna{in, far('b')};
  anna.put({"a"});
  anna.pin({"a"});
  auto page = anna.grant()[0];
  EXPECT_EQ(end(anna), ec::busy) << "it is connected";
  anna.disconnect();
  in.run();
  in.advance(600s);
  ASSERT_TRUE(is_known(anna));
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
  EXPECT_EQ(in.pins(), 1u);
  EXPECT_EQ(end(anna), ec::ok);
  in.advance(1s);
  EXPECT_FALSE(is_known(anna));
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  EXPECT_EQ(in.pins(), 0u);
  EXPECT_EQ(end(anna), ec::missing);
  in.expect_sound();
}

TEST_F(other_hosts, Invariant6_AnotherBootOfItsHostProvesTheEndOfOneAndOfNoOther) {
  worker anna{in, far('b')}, ben{in, far('c', "farther")};
  auto page = anna.grant()[0];
  anna.disconnect();
  ben.disconnect();
  in.run();
  in.advance(60s);
  worker again{in, far('b')};
  in.advance(1s);
  EXPECT_TRUE(is_known(anna)) << "its host is the same as it was";
  worker booted{in, far('d')};
  in.advance(1s);
  EXPECT_FALSE(is_known(anna));
  EXPECT_EQ(in.state_of(page.page), page_state::free);
  EXPECT_TRUE(is_known(ben));
  in.expect_sound();
}

TEST_F(other_hosts, Invariant6_ARestartOfMarudProvesNothingAboutThem) {
  worker anna{in, far('b')};
  auto page = anna.grant()[0];
  in.restart();
  in.advance(600s);
  EXPECT_TRUE(is_known(anna));
  EXPECT_EQ(in.state_of(page.page), page_state::quarantined);
  EXPECT_EQ(end(anna), ec::ok);
  in.advance(1s);
  EXPECT_EQ(in.state_of(page.page), page_state::free);
}

}  // namespace
}  // namespace maru::actors
