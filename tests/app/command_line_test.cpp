// Goal: a wrong command line ends with code 2 and a sentence, a right one becomes the command that was meant. Method:
// parse command lines of every verb, whole and broken.
#include "app/maructl/command_line.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "app/maructl/exit_code.hpp"

namespace maru::ctl {
namespace {

result<parsed_command> parse(std::vector<std::string> args) {
  std::vector<const char*> argv = {"maructl"};
  for (const auto& arg : args)
    argv.push_back(arg.c_str());
  return parse_command(static_cast<int>(argv.size()), argv.data());
}

TEST(CommandLine, EveryVerbIsUnderstood) {
  const std::vector<std::pair<std::vector<std::string>, verb>> lines = {
    {{"status"}, verb::status},
    {{"stat", "k"}, verb::stat},
    {{"ls"}, verb::ls},
    {{"get", "k"}, verb::get},
    {{"put", "k"}, verb::put},
    {{"rm", "k", "l"}, verb::rm},
    {{"pin", "k"}, verb::pin},
    {{"unpin", "k"}, verb::unpin},
    {{"evict", "--bytes", "1MiB"}, verb::evict},
    {{"sessions"}, verb::sessions},
    {{"check"}, verb::check},
    {{"log-level"}, verb::log_level},
    {{"device", "list"}, verb::device_list},
    {{"device", "probe", "/dev/dax0.0"}, verb::device_probe},
    {{"device", "format", "/dev/dax0.0"}, verb::device_format}};
  for (const auto& [line, what] : lines) {
    auto parsed = parse(line);
    ASSERT_TRUE(parsed) << line.front() << ": " << parsed.error().message;
    EXPECT_EQ(parsed->what.what, what) << line.back();
  }
}

TEST(CommandLine, OptionsStandBeforeOrAfterTheVerb) {
  for (const auto& line : {std::vector<std::string>{"--server", "localhost:1", "--json", "status"},
                           std::vector<std::string>{"status", "--server", "localhost:1", "--json"}}) {
    auto parsed = parse(line);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->what.server, "localhost:1");
    EXPECT_TRUE(parsed->what.json);
  }
}

TEST(CommandLine, KeysPrefixAndSizesBecomeBytes) {
  auto rm = parse({"rm", "plain", "hex:00ff"});
  ASSERT_TRUE(rm) << rm.error().message;
  EXPECT_EQ(rm->what.keys, (std::vector<std::string>{"plain", std::string{"\0\xff", 2}}));
  auto ls = parse({"ls", "--prefix", "hex:61", "--limit", "0"});
  ASSERT_TRUE(ls);
  EXPECT_EQ(ls->what.prefix, "a");
  EXPECT_EQ(ls->what.limit, 0u);
  EXPECT_EQ(parse({"evict", "--bytes", "1.5MiB"})->what.bytes, 1572864u);
  EXPECT_EQ(parse({"log-level", "debug"})->what.level, "debug");
  EXPECT_EQ(parse({"log-level"})->what.level, "") << "tell it";
}

TEST(CommandLine, DeviceIsTakenWholeAndIsNotDestroyedUnlessSaidSo) {
  auto probe = parse({"device", "probe", "/dev/shm/pool,size=1GiB,node=1", "--json"});
  ASSERT_TRUE(probe) << probe.error().message;
  EXPECT_EQ(probe->what.device, "/dev/shm/pool,size=1GiB,node=1");
  EXPECT_TRUE(probe->what.json);
  EXPECT_FALSE(parse({"device", "format", "/dev/dax0.0"})->what.yes);
  EXPECT_TRUE(parse({"device", "format", "--yes", "/dev/dax0.0"})->what.yes);
}

TEST(CommandLine, WhatAsksNoMarudNeedsNoToken) {
  EXPECT_FALSE(parse({"--token-file", "/nonexistent/token", "status"}));
  EXPECT_TRUE(parse({"--token-file", "/nonexistent/token", "device", "list"}));
}

TEST(CommandLine, MistakesAreUsageErrors) {
  const std::vector<std::vector<std::string>> lines = {{},
                                                       {"frobnicate"},
                                                       {"get"},
                                                       {"get", "a", "b"},
                                                       {"get", "hex:0"},
                                                       {"get", ""},
                                                       {"get", "k", "--json"},
                                                       {"rm"},
                                                       {"evict"},
                                                       {"evict", "--bytes", "0"},
                                                       {"evict", "--bytes", "much"},
                                                       {"ls", "--limit", "-1"},
                                                       {"status", "extra"},
                                                       {"log-level", "loud"},
                                                       {"device"},
                                                       {"device", "frobnicate"},
                                                       {"device", "probe"},
                                                       {"device", "format"},
                                                       {"device", "probe", "a", "b"},
                                                       {"device", "probe", "a", "--yes"},
                                                       {"device", "list", "a"},
                                                       {"--server", "nowhere", "status"},
                                                       {"--server", "host:99999", "status"},
                                                       {"--timeout-ms", "0", "status"},
                                                       {"--token-file", "/nonexistent/token", "status"}};
  for (const auto& line : lines) {
    std::string shown;
    for (const auto& word : line)
      shown += word + " ";
    auto parsed = parse(line);
    ASSERT_FALSE(parsed) << shown;
    EXPECT_EQ(exit_code_of(parsed.code()), exit_code::usage) << shown;
    EXPECT_EQ(parsed.error().message.rfind("failed to ", 0), 0u) << shown << ": " << parsed.error().message;
  }
}

TEST(CommandLine, TokenIsReadWithoutItsLineEnd) {
  auto path = std::filesystem::temp_directory_path() / ("maructl-token-" + std::to_string(::getpid()));
  std::ofstream{path} << "secret\n";
  auto parsed = parse({"--token-file", path.string(), "status"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed->what.token.read(), "secret");
  std::ofstream{path} << "newer\n";
  EXPECT_EQ(*parsed->what.token.read(), "newer") << "what runs for long follows a rotation";
  std::ofstream{path} << "\n";
  EXPECT_FALSE(parse({"--token-file", path.string(), "status"}));
  std::filesystem::remove(path);
}

TEST(CommandLine, HelpNamesVerbsAndExitCodes) {
  auto parsed = parse({"--help"});
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->show_only);
  for (auto word :
       {"status", "stat", "ls", "get", "put", "rm", "pin", "unpin", "evict", "sessions", "check", "Exit codes"})
    EXPECT_NE(parsed->text.find(word), std::string::npos) << word;
  auto of_verb = parse({"ls", "--help"});
  ASSERT_TRUE(of_verb);
  EXPECT_NE(of_verb->text.find("--prefix"), std::string::npos);
  auto of_group = parse({"device", "--help"});
  ASSERT_TRUE(of_group);
  for (auto word : {"list", "probe", "format"})
    EXPECT_NE(of_group->text.find(word), std::string::npos) << word;
  auto of_inner = parse({"device", "format", "--help"});
  ASSERT_TRUE(of_inner);
  EXPECT_NE(of_inner->text.find("Usage: maructl device format"), std::string::npos) << of_inner->text;
  EXPECT_NE(of_inner->text.find("--yes"), std::string::npos);
}

TEST(CommandLine, UnknownCommandIsNamedWithTheOnesAroundIt) {
  EXPECT_NE(parse({"frobnicate"}).error().message.find("no command 'frobnicate'"), std::string::npos);
  auto inner = parse({"device", "frobnicate"});
  EXPECT_NE(inner.error().message.find("no command 'device frobnicate'"), std::string::npos) << inner.error().message;
}

TEST(ExitCode, EveryErrorHasOne) {
  EXPECT_EQ(exit_code_of(ec::ok), exit_code::ok);
  for (int i = 1; i <= static_cast<int>(ec::last_); ++i)
    EXPECT_NE(exit_code_of(static_cast<ec>(i)), exit_code::ok) << to_string(static_cast<ec>(i));
  EXPECT_EQ(exit_code_of(ec::missing), exit_code::not_found);
  EXPECT_EQ(exit_code_of(ec::unavailable), exit_code::unreachable);
  EXPECT_EQ(exit_code_of(ec::pinned), exit_code::refused);
  EXPECT_EQ(exit_code_of(ec::unknown_contents), exit_code::foreign);
  EXPECT_EQ(exit_code_of(ec::in_use), exit_code::in_use);
}

}  // namespace
}  // namespace maru::ctl
