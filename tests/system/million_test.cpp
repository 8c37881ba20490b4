// Goal: a pool of a million entries serves again in under 3 s after a kill, and says how long it took; its metrics are read
// in under 50 ms, and lookups do not notice. Method: real marud is filled with a million keys of 60 bytes. It is killed and
// started again, or scraped without a pause while a worker looks keys up; the fastest of three rounds counts, since the
// machine may do other things as well.
#include <gtest/gtest.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <iostream>
#include <thread>

#include "base/bounds.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

constexpr std::size_t entries = 1000000, batch = 4000;

std::string name(std::size_t n) {
  auto number = std::to_string(n);
  return std::string(60 - number.size(), 'k') + number;
}

// Commits pages as they are: what counts is the metadata.
void fill(marud& m) {
  auto c = m.open({.timeout = 60s, .grant_batch = batch, .fetch_ahead = false});
  ASSERT_TRUE(c);
  for (std::size_t from = 0; from < entries; from += batch) {
    std::vector<std::string> names;
    for (auto n = from; n < from + batch; ++n)
      names.push_back(name(n));
    std::vector<std::string_view> keys{names.begin(), names.end()};
    auto pages = c->alloc_batch(batch, 4096);
    ASSERT_TRUE(pages) << to_string(pages.error());
    auto codes = c->commit_batch(keys, *pages);
    ASSERT_TRUE(codes) << to_string(codes.error());
    ASSERT_EQ(std::count(codes->begin(), codes->end(), ec::ok), static_cast<std::ptrdiff_t>(batch));
  }
}

bool room_for_a_million() {
  struct statvfs fs {};
  return ::statvfs("/dev/shm", &fs) == 0 && fs.f_bavail * fs.f_frsize >= 5 * bounds::GiB;
}

const std::vector<std::string> options = {"--pool-size=4200MiB", "--grants-max=8192", "--prefault=off"};

// Microseconds that half of `count` runs of `what` take at most.
double median_us(int count, const std::function<void(int)>& what) {
  std::vector<double> took;
  for (int i = 0; i < count; ++i) {
    auto since = std::chrono::steady_clock::now();
    what(i);
    took.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - since).count());
  }
  std::nth_element(took.begin(), took.begin() + count / 2, took.end());
  return took[static_cast<std::size_t>(count / 2)];
}

TEST(Million, EntriesAreServedAgainInUnderThreeSeconds) {
  if (!room_for_a_million())
    GTEST_SKIP() << "a pool of 4 GiB does not fit /dev/shm";
  marud m{options};
  fill(m);
  auto best = 1e9;
  for (int i = 0; i < 3; ++i) {
    m.kill_hard();
    ASSERT_TRUE(m.start());
    EXPECT_EQ(m.metric("maru_recovered_entries"), "1000000");
    EXPECT_NE(m.log().find("recovered 1000000 entries in "), std::string::npos) << m.log();
    auto seconds = std::stod(m.metric("maru_recovery_seconds"));
    std::cout << "recovered in " << seconds << " s\n";
    best = std::min(best, seconds);
  }
  EXPECT_LT(best, 3);
  auto c = m.open();
  ASSERT_TRUE(c);
  auto first = name(0), last = name(entries - 1);
  std::vector<std::string_view> some = {first, last, "none"};
  EXPECT_EQ(*c->exists(some), (std::vector{true, true, false}));
}

TEST(Million, EntriesDoNotMakeAScrapeSlowNorAScrapeLookups) {
  if (!room_for_a_million())
    GTEST_SKIP() << "a pool of 4 GiB does not fit /dev/shm";
  marud m{options};
  fill(m);
  EXPECT_EQ(m.metric("maru_entries"), "1000000");
  auto c = m.open();
  ASSERT_TRUE(c);
  auto look_up = [&](int i) {
    auto key = name(static_cast<std::size_t>(i) * 7919 % entries);
    std::vector<std::string_view> keys = {key};
    EXPECT_EQ(*c->exists(keys), std::vector{true});
  };
  constexpr int lookups = 3000;
  double scrape = 1e9, alone = 1e9, scraped = 1e9;
  for (int round = 0; round < 3; ++round) {
    scrape = std::min(scrape, median_us(20, [&](int) { m.metric("maru_entries"); }));
    alone = std::min(alone, median_us(lookups, look_up));
    std::jthread scraper{[&](std::stop_token stop) {
      while (!stop.stop_requested())
        m.metric("maru_entries");
    }};
    scraped = std::min(scraped, median_us(lookups, look_up));
  }
  std::cout << "a scrape takes " << scrape / 1000 << " ms; a lookup " << alone << " us, while scraped " << scraped
            << " us\n";
  EXPECT_LT(scrape, 50000);
  // If lookups waited for scrapes, of which one follows the other, it would be for half of one at least.
  EXPECT_LT(scraped, alone + scrape / 2);
}

}  // namespace
}  // namespace maru::test
