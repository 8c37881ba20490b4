// Goal: what an operator reads of marud: each line whole, no key in any of them, repeats counted, the level changed while it
// serves, and a service manager told. Method: real starts, with workers that have odd names and keys that must not appear.
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <set>

#include "base/hex.hpp"
#include "tests/system/process.hpp"

namespace maru::test {
namespace {

using nlohmann::json;

// Ends marud, and all that it said.
std::string end_and_read(marud& m) {
  m.body().signal(SIGTERM);
  std::string all = m.log();
  for (std::string line; !(line = m.body().hear(10s)).empty();)
    all += line + "\n";
  EXPECT_EQ(m.body().wait(), 0);
  return all;
}

// Reads on until a line has this in it.
bool says(marud& m, const std::string& what) {
  for (std::string line; !(line = m.body().hear(10s)).empty();)
    if (line.find(what) != line.npos)
      return true;
  return false;
}

TEST(Log, EveryLineIsJsonWhateverWorkersCallThemselves) {
  marud m{{"--log-format=json", "--log-level=trace"}};
  std::string odd = "w\n{\"level\":\"error\"}\xff\x1b[2J\"\\";
  {
    client_options options;
    options.instance = odd;
    auto c = m.open(options);
    ASSERT_TRUE(c && put(*c, "a"));
  }
  std::istringstream lines{end_and_read(m)};
  std::set<std::string> events;
  bool of_worker = false;
  for (std::string line; std::getline(lines, line);) {
    auto o = json::parse(line, nullptr, false);
    ASSERT_TRUE(o.is_object()) << line;
    for (auto field : {"time", "level", "message"})
      ASSERT_TRUE(o.contains(field) && o[field].is_string()) << line;
    events.insert(o.value("event", ""));
    of_worker |= o.value("event", "") == "session_opened" && o.value("session", 0ull) != 0
                 && o.value("worker", "").find("\\x0a") != std::string::npos;
  }
  for (auto wanted : {"starting", "recovered", "ready", "session_opened", "session_ended", "stopping", "stopped"})
    EXPECT_TRUE(events.contains(wanted)) << wanted;
  EXPECT_TRUE(of_worker);
}

TEST(Log, NoLineHasBytesOfAKey) {
  marud m{{"--log-level=trace", "--payload-checksums=verify"}};
  std::string key = "a-key-that-nobody-may-read";
  {
    auto c = m.open();
    ASSERT_TRUE(c && put(*c, key));
    auto again = put(*c, key);
    EXPECT_EQ(again.code(), ec::exists);
    EXPECT_EQ(read_back(*c, key), "ok");
    EXPECT_EQ(read_back(*c, key + "2"), "missing");
    m.ask("stat", {{"key_hex", to_hex(key)}});
    m.ask("ls", {{"prefix_hex", to_hex(key)}});
    std::fstream pool{m.pool(), std::ios::in | std::ios::out | std::ios::binary};  // damage all pages
    for (int at = 0; at < 1 << 20; at += 4096)
      pool.seekp(at + 7).put('!');
    pool.close();
    EXPECT_EQ(read_back(*c, key), "missing");
  }
  auto first = end_and_read(m);
  EXPECT_NE(first.find("chunk_damaged"), std::string::npos) << first;
  ASSERT_TRUE(m.start());
  auto text = first + end_and_read(m);
  EXPECT_EQ(text.find(key), std::string::npos) << text;
  EXPECT_EQ(text.find(to_hex(key)), std::string::npos) << text;
}

TEST(Log, RepeatsAreCountedNotShown) {
  temp_folder folder;
  std::ofstream{folder / "token"} << "secret";
  marud m{{"--token-file=" + (folder / "token")}};
  constexpr int times = 200;
  for (int i = 0; i < times; ++i)
    EXPECT_TRUE(m.ask("status").is_null());
  auto text = end_and_read(m);
  int shown = 0, told = 0;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    auto more = line.find(" more of this kind");
    if (line.find("admin_refused") == line.npos)
      continue;
    shown += more == line.npos ? 1 : 0;
    if (more != line.npos)
      told += std::stoi(line.substr(line.rfind(' ', more - 1) + 1));
  }
  EXPECT_EQ(shown + told, times) << text;
  EXPECT_LT(shown, times / 2);
}

TEST(Log, ItsLevelChangesWhileMarudServes) {
  marud m;
  EXPECT_EQ(m.ask("log-level")["level"], "info");
  EXPECT_EQ(m.ask("log-level", {{"level", "warn"}})["was"], "info");
  EXPECT_TRUE(says(m, "log_level: it was info, it is warn"));
  { auto c = m.open(); }
  EXPECT_EQ(m.ask("log-level", {{"level", "info"}})["was"], "warn");
  EXPECT_NE(m.body().hear(10s).find("log_level: it was warn"), std::string::npos) << "nothing of the session before";
  { auto c = m.open(); }
  EXPECT_TRUE(says(m, "session_opened"));
  EXPECT_TRUE(m.ask("log-level", {{"level", "loud"}}).is_null());
  EXPECT_EQ(m.ask("log-level")["level"], "info") << "a word that is none changes nothing";
}

TEST(Log, SighupReadsTheFileAgain) {
  temp_folder folder;
  auto path = folder / "marud.toml";
  std::ofstream{path} << "log-level = \"info\"\n";
  marud m{{"--config", path}};
  std::ofstream{path} << "log-level = \"error\"\npins-max = 7\n";
  m.body().signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return m.ask("log-level").value("level", "") == "error"; }));
  std::ofstream{path} << "log-level = \"debug\"\npins-max = 7\n";
  m.body().signal(SIGHUP);
  EXPECT_TRUE(says(m, "log-format is text; changed options that wait for the next start: pins-max"));
  std::ofstream{path} << "log-level = nonsense\n";
  m.body().signal(SIGHUP);
  EXPECT_TRUE(says(m, "reload_failed"));
  auto c = m.open();
  EXPECT_TRUE(c && put(*c, "a")) << "it serves on";
}

}  // namespace
}  // namespace maru::test
