// Goal: the answers of marud become text that a person reads at a glance. Method: answers written by hand in the
// agreed form, and one that breaks it.
#include "app/maructl/show.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace maru::ctl {
namespace {

using nlohmann::json;

const json status = json::parse(R"({
  "version": "0.1.0", "server_epoch": 3, "uptime_ms": 65200, "ready": true,
  "pool": {"uuid": "u", "incarnation": "i", "path": "/p", "bytes": 268435456, "page_min": 65536, "unassigned_bytes": 4194304},
  "pages": {"free": 10, "granted": 1, "committed": 2000, "evicting": 0, "quarantined": 0, "retired": 0},
  "page_sizes": [{"page_bytes": 65536, "regions": 3, "free": 10, "granted": 1, "committed": 2000, "evicting": 0,
                  "quarantined": 0, "retired": 0}],
  "entries": 2000, "pins": 5, "pins_held_dead": 0, "sessions": 2, "sessions_local": 1, "lookups": {"hit": 3, "miss": 1}, "evicted": 0,
  "reserve_pages": 8})");

TEST(Show, StatusTellsVersionPoolAndPages) {
  auto text = show_status(status, "127.0.0.1:5555");
  EXPECT_NE(text.find("marud       0.1.0 at 127.0.0.1:5555, up 1m 5s, epoch 3, ready\n"), std::string::npos) << text;
  EXPECT_NE(text.find("pool        /p, 256 MiB, smallest page 64 KiB\n"), std::string::npos) << text;
  EXPECT_NE(text.find("sessions    2, 1 of them read in the pool itself\n"), std::string::npos) << text;
  EXPECT_NE(text.find("lookups     4, 75.0 % hits\n"), std::string::npos) << text;
  EXPECT_NE(text.find("page size  regions  free  granted  committed  evicting  quarantined  retired\n"
                      "   64 KiB        3    10        1      2,000         0            0        0\n"),
            std::string::npos)
    << text;
}

TEST(Show, StatusWithoutRegionsOrLookupsIsReadable) {
  auto empty = status;
  empty["page_sizes"] = json::array();
  empty["lookups"] = {{"hit", 0}, {"miss", 0}};
  empty["ready"] = false;
  auto text = show_status(empty, "s");
  EXPECT_NE(text.find("lookups     none yet\n"), std::string::npos) << text;
  EXPECT_NE(text.find("not ready yet"), std::string::npos) << text;
  EXPECT_NE(text.find("all"), std::string::npos) << text;
}

TEST(Show, EntriesShowKeysThatCanBeGivenBack) {
  auto entries = json::parse(R"([
    {"key_hex": "6b", "length": 5, "region": 1, "page": 2, "generation": 7, "committed_ms": 1767225600000, "owner": "w"},
    {"key_hex": "00ff", "length": 4096, "region": 1, "page": 3, "generation": 1, "committed_ms": 0, "owner": ""}])");
  EXPECT_EQ(show_entries(entries),
            "bytes  page   committed                owner  key\n"
            "    5  1:2@7  2026-01-01 00:00:00 UTC  w      k\n"
            "4,096  1:3@1  unknown                         hex:00ff\n");
}

TEST(Show, SessionWhoseLeaseIsOverSaysSo) {
  auto answer = json::parse(
    R"({"sessions": [{"id": 1, "instance": "w", "host": "h", "page_bytes": 4096, "shown_regions": 1, "shown_pages": 800,
    "grants": 64, "pins": 0, "state": "suspect", "age_ms": 100, "lease_left_ms": -5}]})");
  auto text = show_sessions(answer);
  EXPECT_NE(text.find("suspect"), std::string::npos);
  EXPECT_NE(text.find("over\n"), std::string::npos) << text;
  EXPECT_EQ(show_sessions({{"sessions", json::array()}}), "no sessions\n");
}

TEST(Show, LogLevelTellsWhatItWas) {
  EXPECT_EQ(show_log_level({{"level", "info"}}), "info\n");
  EXPECT_EQ(show_log_level({{"level", "debug"}, {"was", "info"}}), "debug, was info\n");
}

TEST(Show, AuditListsProblemsOrSaysThereAreNone) {
  json counts = {{"free", 3}, {"committed", 4000}};
  EXPECT_EQ(show_audit(json::array(), counts), "committed   4,000\nfree        3\nno problems found\n");
  auto text = show_audit(json::parse(R"([{"page": "1:2", "problem": "two owners"}])"), counts);
  EXPECT_NE(text.find("page  problem\n1:2   two owners\n"), std::string::npos) << text;
}

TEST(Show, AnswerInAnotherFormThrowsJsonsException) {
  EXPECT_THROW(show_status(json::object(), "s"), json::exception);
  EXPECT_THROW(show_status(json::array(), "s"), json::exception);
  EXPECT_THROW(show_entries(json::parse(R"([{"key_hex": 1}])")), json::exception);
}

}  // namespace
}  // namespace maru::ctl
