// A fake marud and clients of it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file_lock.hpp"
#include "net/client.hpp"
#include "tests/net/fake_marud.hpp"

namespace maru::test {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;
using keys = std::vector<std::string_view>;

class client_fixture : public ::testing::Test {
protected:
  client_options options() {
    client_options o;
    o.server = marud.address();
    o.timeout = 5s;  // long, so that a slow machine fails no test; tests of time-outs set their own
    o.grant_batch = 8;
    return o;
  }
  std::shared_ptr<client> must_open(client_options o) {
    auto opened = client::open(std::move(o));
    EXPECT_TRUE(opened) << to_string(opened.error());
    return opened ? *opened : nullptr;
  }
  std::shared_ptr<client> must_open() { return must_open(options()); }

  static std::span<const std::byte> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
  }
  static std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static void write(page_buffer& page, std::string_view text) {
    ASSERT_EQ(page.bytes().size(), text.size());
    std::memcpy(page.bytes().data(), text.data(), text.size());
  }
  // Waits for a condition; false after ten seconds.
  static bool soon(const std::function<bool()>& holds) {
    for (auto end = steady::now() + 10s; !holds();) {
      if (steady::now() > end)
        return false;
      std::this_thread::sleep_for(2ms);
    }
    return true;
  }
  fake_pool& pool() { return marud.pool(); }

  fake_marud marud;
};

}  // namespace maru::test
