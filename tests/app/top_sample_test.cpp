// Goal: what `maructl top` shows is what marud's answers say, over restarts, with counters that stand still and metrics
// that are not there. Method: answers written by hand, percentiles worked out by hand.
#include "app/maructl/top/sample.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "app/maructl/top/report.hpp"
#include "tests/app/top_answers.hpp"

namespace maru::ctl {
namespace {

using namespace std::chrono_literals;

constexpr auto metrics = R"(# HELP maru_lookup_total Keys {looked} up.
# TYPE maru_lookup_total counter
maru_lookup_total{result="hit"} 30
maru_commit_total{result="ok"} 20
maru_commit_total{result="exists"} 3
maru_commit_total{result="no_space"} 2
maru_puts_in_flight 4
maru_request_seconds_bucket{op="lookup",le="0.001"} 50
maru_request_seconds_bucket{op="lookup",le="0.01"} 90
maru_request_seconds_bucket{op="lookup",le="+Inf"} 100
maru_request_seconds_count{op="lookup"} 100
no value here
maru_odd{a="x\"}\\y",b=""} 1e3
)";

TEST(TopMetrics, SamplesAreFoundByNameAndLabels) {
  metrics_text m{metrics};
  EXPECT_EQ(m.sum("maru_commit_total"), 25);
  EXPECT_EQ(m.sum("maru_commit_total", {{"result", "exists"}}), 3);
  EXPECT_EQ(m.sum("maru_puts_in_flight"), 4);
  EXPECT_EQ(m.sum("maru_odd", {{"a", "x\"}\\y"}}), 1000);
  EXPECT_EQ(m.sum("maru_commit"), 0) << "a name is whole";
  EXPECT_EQ(m.values("maru_commit_total", "result"), (std::vector<std::string>{"ok", "exists", "no_space"}));
}

TEST(TopMetrics, NonsenseIsPassedOver) {
  for (auto text :
       {"", "\n\n", "{", "a{", "a{b", "a{b=", "a{b=\"", "a{b=\"c\\", "a{b=\"c\"", "a{b=\"c\"}", "a", "a b", "#"})
    EXPECT_EQ(metrics_text{text}.sum("a"), 0) << text;
}

TEST(TopMetrics, QuantileIsBetweenTheBoundsOfItsBucket) {
  auto h = metrics_text{metrics}.distribution("maru_request_seconds", {{"op", "lookup"}});
  EXPECT_DOUBLE_EQ(h.quantile(0.5), 0.001);
  EXPECT_DOUBLE_EQ(h.quantile(0.25), 0.0005);
  EXPECT_DOUBLE_EQ(h.quantile(0.7), 0.0055);
  EXPECT_DOUBLE_EQ(h.quantile(0.99), 0.01) << "past the last bound: that bound";
  EXPECT_TRUE(std::isnan(histogram{}.quantile(0.5)));
  EXPECT_TRUE(std::isnan(h.since(h).quantile(0.5))) << "nothing new";
}

TEST(TopMetrics, HistogramWithOtherBucketsIsNotSubtracted) {
  histogram before{{{1, 5}, {2, 6}}}, now{{{1, 7}}};
  EXPECT_EQ(now.since(before).count(), 7);
}

TEST(TopSample, RatesAreOfTheTimeBetweenTwoSamples) {
  auto before = answers{}.read();
  auto after = answers{};
  after.status["lookups"] = {{"hit", 75 + 30}, {"miss", 25 + 10}};
  after.status["uptime_ms"] = 62'000;
  after.status["evicted"] = 12;
  after.sessions["sessions"][0]["requests"] = 1'100;
  after.metrics = "maru_commit_total{result=\"ok\"} 8\nmaru_commit_total{result=\"busy\"} 2\n";
  auto now = after.read();
  now.at = before.at + 2s;
  auto c = between(before, now);
  EXPECT_FALSE(c.since_start);
  EXPECT_DOUBLE_EQ(c.seconds, 2);
  EXPECT_DOUBLE_EQ(c.hit_rate, 0.75);
  EXPECT_DOUBLE_EQ(c.lookups, 20);
  EXPECT_DOUBLE_EQ(c.stored, 4);
  EXPECT_DOUBLE_EQ(c.failed, 1);
  EXPECT_DOUBLE_EQ(c.evicted, 1);
  EXPECT_DOUBLE_EQ(c.session_requests.at(7), 50);
}

TEST(TopSample, TheFirstSampleIsAnAverageSinceTheStart) {
  auto c = between(std::nullopt, answers{}.read());
  EXPECT_TRUE(c.since_start);
  EXPECT_DOUBLE_EQ(c.seconds, 60);
  EXPECT_DOUBLE_EQ(c.lookups, 100 / 60.0);
}

TEST(TopSample, CountersOfAnEarlierStartAreNotSubtracted) {
  auto before = answers{}.read();
  auto after = answers{};
  after.status["server_epoch"] = 4;
  after.status["uptime_ms"] = 5'000;
  after.status["lookups"] = {{"hit", 10}, {"miss", 0}};
  auto c = between(before, after.read());
  EXPECT_TRUE(c.since_start);
  EXPECT_DOUBLE_EQ(c.hit_rate, 1);
  EXPECT_DOUBLE_EQ(c.lookups, 2);
}

TEST(TopSample, WithoutLookupsThereIsNoHitRate) {
  auto s = answers{}.read();
  EXPECT_TRUE(std::isnan(between(s, s).hit_rate));
}

TEST(TopSample, AnswerInAnotherFormThrowsJsonsException) {
  auto a = answers{};
  a.status.erase("pool");
  EXPECT_THROW(a.read(), nlohmann::json::exception);
  auto b = answers{};
  b.sessions["sessions"][0]["pins"] = "many";
  EXPECT_THROW(b.read(), nlohmann::json::exception);
}

TEST(TopReport, WhatWasNotMeasuredIsNull) {
  auto s = answers{}.read();
  auto r = nlohmann::json::parse(report("here:1", s, between(s, s)).dump());
  EXPECT_TRUE(r.at("hit_rate").is_null());
  EXPECT_TRUE(r.at("latency").at("grant wait").at("p99_s").is_null());
  EXPECT_EQ(r.at("answers"), true);
  EXPECT_EQ(r.at("pages").at("committed"), 25'213);
  EXPECT_EQ(r.at("page_bytes").at("free"), 899 * 65536);
  auto silence = report_of_silence("here:1", "nobody");
  EXPECT_EQ(silence.at("answers"), false);
  EXPECT_EQ(silence.at("error"), "nobody");
}

}  // namespace
}  // namespace maru::ctl
