// A house without workers, and what a session's life is looked at with.
#pragma once

#include <algorithm>
#include <string>

#include "tests/actors/house.hpp"

namespace maru::actors::test {

class session_fixture : public ::testing::Test {
protected:
  bool is_known(const worker& who) {
    auto known = in.sessions();
    return std::any_of(known.begin(), known.end(), [&](const auto& s) { return s.id == who.hello.session; });
  }
  std::string state_of(const worker& who) {
    for (const auto& s : in.sessions())
      if (s.id == who.hello.session)
        return s.state;
    return "none";
  }
  pin_counts pins() { return in.ask<pin_counts>(in.ledger, ask_pins{}); }
  void expect_nothing_is_held() {
    EXPECT_EQ(in.table->counts().granted, 0u);
    EXPECT_EQ(in.table->counts().quarantined, 0u);
    EXPECT_EQ(in.pins(), 0u);
    EXPECT_EQ(pins().pins, 0u);
    in.expect_sound();
  }

  house in;
};

}  // namespace maru::actors::test
