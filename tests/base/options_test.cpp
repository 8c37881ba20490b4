// Goal: an operator's mistake in marud's options is answered with a sentence that says what to write instead, and the
// documents cannot drift from the options. Method: parse command lines and small configuration files; read
// deploy/marud.toml and compare it with the table of options.
#include "base/options.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/config_file.hpp"
#include "base/host_port.hpp"
#include "base/server_address.hpp"

namespace maru {
namespace {

result<parsed_options> parse(std::vector<std::string> args) {
  std::vector<const char*> argv = {"marud"};
  for (const auto& arg : args)
    argv.push_back(arg.c_str());
  return parse_marud_options(static_cast<int>(argv.size()), argv.data());
}

std::string refusal(std::vector<std::string> args) {
  auto parsed = parse(std::move(args));
  if (parsed)
    return "accepted";
  EXPECT_EQ(parsed.code(), ec::bad_option);
  return parsed.error().message;
}

// A file that is gone when the test is.
class temporary_file {
public:
  explicit temporary_file(std::string_view text)
      : path_(std::filesystem::temp_directory_path() / ("maru-options-" + std::to_string(::getpid()) + ".toml")) {
    std::ofstream{path_} << text;
  }
  ~temporary_file() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

private:
  std::filesystem::path path_;
};

std::string refusal_of_file(std::string_view text) {
  temporary_file file{text};
  auto message = refusal({"--config", file.path()});
  auto at = message.find(file.path());
  return at == message.npos ? message : message.replace(at, file.path().size(), "FILE");
}

TEST(Options, DefaultsAreThoseOfTheStruct) {
  auto parsed = parse({});
  ASSERT_TRUE(parsed) << parsed.error().message;
  marud_options defaults;
  EXPECT_FALSE(parsed->show_only);
  EXPECT_EQ(parsed->options.pool, defaults.pool);
  EXPECT_EQ(parsed->options.page_min, defaults.page_min);
  EXPECT_EQ(parsed->options.reserve_pages, -1);
}

TEST(Options, EveryOptionAcceptsItsOwnDefault) {
  for (const auto& row : marud_option_rows()) {
    bool flag = row.default_value == "false";
    auto parsed = flag ? parse({"--" + row.name + "=false"}) : parse({"--" + row.name, row.default_value});
    EXPECT_TRUE(parsed) << row.name << ": " << parsed.error().message;
  }
}

TEST(Options, CommandLineSetsEachKindOfField) {
  auto parsed = parse({"--pool", "/tmp/p", "--pool-size", "1.5GiB", "--pool-mode", "660", "--format", "--prefault",
                       "start", "--lease-ms", "2500", "--reserve-pages", "7", "--http", "127.0.0.2:0"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  const auto& o = parsed->options;
  EXPECT_EQ(o.pool, "/tmp/p");
  EXPECT_EQ(o.pool_size, 1536 * bounds::MiB);
  EXPECT_EQ(o.pool_mode, 0660u);
  EXPECT_TRUE(o.format);
  EXPECT_EQ(o.prefault, "start");
  EXPECT_EQ(o.lease_ms, 2500u);
  EXPECT_EQ(o.reserve_pages, 7);
  EXPECT_EQ(o.http, "127.0.0.2:0");
}

TEST(Options, RefusalNamesOptionValueAndWhatItTakes) {
  EXPECT_EQ(refusal({"--page-min", "6000"}),
            "failed to use --page-min: '6000' is not 0 or a size from 4KiB to 1GiB in multiples of 4KiB");
  EXPECT_EQ(refusal({"--pool-size", "big"}),
            "failed to use --pool-size: 'big' is not 0 or a size from 2MiB to 1024TiB in multiples of 4KiB");
  EXPECT_EQ(
    refusal({"--pool-mode", "8"}),
    "failed to use --pool-mode: '8' is not an octal file mode from 0600 to 0777 that lets the owner read and write");
  EXPECT_EQ(refusal({"--prefault", "maybe"}), "failed to use --prefault: 'maybe' is not off, background or start");
  EXPECT_EQ(refusal({"--shards", "-1"}), "failed to use --shards: '-1' is not a number from 0 to 64");
  EXPECT_EQ(refusal({"--lease-ms", "4294967296"}),
            "failed to use --lease-ms: '4294967296' is not a number from 500 to 600000");
  EXPECT_EQ(
    refusal({"--listen", "5555"}),
    "failed to use --listen: '5555' is not HOST:PORT, such as 127.0.0.1:5555 or [::1]:5555, with a port from 0 to "
    "65535, or unix:/PATH; several: each once, with commas between them");
  EXPECT_EQ(refusal({"--http", "unix:/run/http.sock"}),
            "failed to use --http: 'unix:/run/http.sock' is not HOST:PORT, such as 127.0.0.1:5555 or "
            "[::1]:5555, with a port from 0 to 65535");
  EXPECT_EQ(refusal({"--allow-uids", "1000,,7"}),
            "failed to use --allow-uids: '1000,,7' is not names or numbers with commas between them");
  EXPECT_EQ(refusal({"--socket-group", "a,b"}), "failed to use --socket-group: 'a,b' is not a name or a number");
}

TEST(Options, PageMinIsHeldToMultipleAndBounds) {
  EXPECT_TRUE(parse({"--page-min", "4KiB"}));
  EXPECT_TRUE(parse({"--page-min", "12KiB"}));
  EXPECT_TRUE(parse({"--page-min", "1GiB"}));
  EXPECT_TRUE(parse({"--page-min", "0"})) << "as the pool has it";
  for (auto bad : {"2KiB", "4097", "1025MiB", "-4096", ""})
    EXPECT_FALSE(parse({"--page-min", bad})) << bad;
}

TEST(Options, SizesThatDoNotFitTogetherAreRefused) {
  EXPECT_NE(refusal({"--page-min", "4MiB", "--region-size", "2MiB"}).find("--region-size: '2MiB'"), std::string::npos);
  EXPECT_NE(refusal({"--pool-size", "2MiB", "--region-size", "4MiB"}).find("--pool-size: '2MiB'"), std::string::npos);
}

TEST(Options, DoorsBeyondLoopbackNeedConsentEach) {
  for (auto [name, consent, other] : {std::array{"--listen", "--insecure-bind", "--insecure-http"},
                                      std::array{"--http", "--insecure-http", "--insecure-bind"}}) {
    for (auto host : {"127.0.0.1", "127.8.9.10", "localhost"})
      EXPECT_TRUE(parse({name, std::string{host} + ":1234"})) << host;
    for (auto host : {"0.0.0.0", "192.0.2.1", "example.org", "128.0.0.1", "127.0.0.1.example.org"}) {
      auto there = std::string{host} + ":1234";
      EXPECT_NE(refusal({name, there}).find(consent), std::string::npos) << host;
      EXPECT_NE(refusal({name, there, other}).find(consent), std::string::npos) << host;
      EXPECT_TRUE(parse({name, there, consent})) << host;
    }
  }
}

TEST(Options, DoorsOfIpv6AreForWorkersOnly) {
  EXPECT_TRUE(parse({"--listen", "[::1]:1234"}));
  EXPECT_NE(refusal({"--listen", "[::]:1234"}).find("--insecure-bind"), std::string::npos);
  EXPECT_TRUE(parse({"--listen", "[::]:1234", "--insecure-bind"}));
  EXPECT_NE(refusal({"--http", "[::1]:1234", "--insecure-http"}).find("IPv6"), std::string::npos);
}

TEST(Options, TlsOpensDoorsBeyondLoopbackAndNotHttp) {
  const std::vector<std::string> tls = {"--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a"};
  auto with_tls = [&](std::vector<std::string> args) {
    args.insert(args.end(), tls.begin(), tls.end());
    return args;
  };
  EXPECT_TRUE(parse(with_tls({"--listen", "0.0.0.0:1234"})));
  EXPECT_NE(refusal(with_tls({"--http", "0.0.0.0:1234"})).find("--insecure-http"), std::string::npos);
  for (std::size_t left_out = 0; left_out < 3; ++left_out) {
    auto some = tls;
    some.erase(some.begin() + 2 * left_out, some.begin() + 2 * left_out + 2);
    EXPECT_NE(refusal(some).find("give all three"), std::string::npos) << tls[2 * left_out];
  }
}

TEST(Options, ListenTakesSeveralDoors) {
  for (const auto& args : {std::vector<std::string>{"--listen", "unix:/run/m.sock", "--listen", "[::1]:5555"},
                           std::vector<std::string>{"--listen", "unix:/run/m.sock,[::1]:5555"}}) {
    auto parsed = parse(args);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->options.listen, "unix:/run/m.sock,[::1]:5555");
  }
  EXPECT_NE(refusal({"--listen", "unix:/a,0.0.0.0:1"}).find("'0.0.0.0:1' is beyond loopback"), std::string::npos);
  EXPECT_NE(refusal({"--listen", "unix:/a,unix:///a"}).find("each once"), std::string::npos);
  EXPECT_NE(refusal({"--listen", "127.0.0.1:1,"}).find("is not HOST:PORT"), std::string::npos);
  EXPECT_TRUE(parse({"--listen", "127.0.0.1:0,127.0.0.1:0"})) << "two free ports";
}

TEST(Options, EnvironmentWinsOverTheFileAndNotOverTheCommandLine) {
  temporary_file file{"token-file = \"/from/file\"\n"};
  ::setenv("MARU_TOKEN_FILE", "/from/environment", 1);
  auto without = parse({"--config", file.path()});
  auto with = parse({"--config", file.path(), "--token-file", "/from/line"});
  ::setenv("MARU_TOKEN_FILE", "", 1);
  auto empty = parse({"--config", file.path()});
  ::unsetenv("MARU_TOKEN_FILE");
  ASSERT_TRUE(without && with && empty);
  EXPECT_EQ(without->options.token_file, "/from/environment");
  EXPECT_EQ(with->options.token_file, "/from/line");
  EXPECT_EQ(empty->options.token_file, "/from/file") << "an empty variable is none";
}

TEST(Options, UnknownOptionsAndStrayWordsAreRefused) {
  EXPECT_NE(refusal({"--pool-sise", "1GiB"}).find("--pool-sise"), std::string::npos);
  EXPECT_NE(refusal({"start"}).find("start"), std::string::npos);
  EXPECT_NE(refusal({"--pool-size"}).find("--pool-size"), std::string::npos);
  EXPECT_NE(refusal({"--shards", "1", "--shards", "2"}).find("--shards"), std::string::npos);
}

TEST(Options, HelpTeachesUnitsAndDefaultsOfEveryOption) {
  auto parsed = parse({"--help"});
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->show_only);
  for (const auto& row : marud_option_rows()) {
    EXPECT_NE(parsed->text.find("--" + row.name), std::string::npos) << row.name;
    bool shown = row.default_value == "false" || parsed->text.find(row.default_value) != std::string::npos;
    EXPECT_TRUE(shown) << row.name;
  }
  EXPECT_NE(parsed->text.find("powers of 1024"), std::string::npos);
}

TEST(Options, VersionIsShownAlone) {
  auto parsed = parse({"--version"});
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->show_only);
  EXPECT_EQ(parsed->text.rfind("marud ", 0), 0u);
}

TEST(Options, CommandLineWinsOverFile) {
  temporary_file file{"# a comment\npool-size = \"1GiB\"  # another\nformat = true\nlease-ms=700\n"};
  auto parsed = parse({"--config", file.path(), "--lease-ms", "800"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->options.pool_size, bounds::GiB);
  EXPECT_TRUE(parsed->options.format);
  EXPECT_EQ(parsed->options.lease_ms, 800u);
  auto unformatted = parse({"--config", file.path(), "--format=false"});
  ASSERT_TRUE(unformatted);
  EXPECT_FALSE(unformatted->options.format);
}

TEST(Options, MistakesInTheFileNameTheLine) {
  EXPECT_EQ(refusal_of_file("shards = 1\npool-sise = \"1GiB\"\n"),
            "failed to use FILE line 2: there is no option 'pool-sise', --help lists them all");
  EXPECT_EQ(refusal_of_file("\n\nshards = many\n"),
            "failed to use FILE line 3: shards: 'many' is not a number from 0 to 64");
  EXPECT_EQ(refusal_of_file("[pool]\n"), "failed to read FILE line 1: tables are not used here, write name = value");
  EXPECT_EQ(refusal_of_file("shards = 1\nshards = 2\n"),
            "failed to read FILE line 2: 'shards' was set in line 1 already");
  EXPECT_NE(refusal_of_file("config = x\n").find("no option 'config'"), std::string::npos);
}

TEST(Options, MissingFileIsNamed) {
  EXPECT_EQ(refusal({"--config", "/nonexistent/marud.toml"}),
            "failed to read configuration /nonexistent/marud.toml: No such file or directory");
  EXPECT_NE(refusal({"--config", "/"}), "accepted");
}

TEST(ConfigFile, KeepsHashesAndSpacesInQuotes) {
  auto entries = parse_config("pool = \"/mnt/a #1\" # note\r\nstate-dir = '/x \"y\"'\n\t\nlisten=a:1#c", "f");
  ASSERT_TRUE(entries) << entries.error().message;
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].value, "/mnt/a #1");
  EXPECT_EQ((*entries)[1].value, "/x \"y\"");
  EXPECT_EQ((*entries)[2].value, "a:1");
  EXPECT_EQ((*entries)[2].line, 4u);
}

TEST(ConfigFile, RefusesWhatItWouldHaveToGuess) {
  for (auto bad : {"pool", "pool =", "pool = \"x", "pool = 'x' y", "pool = x y", "pool = [1]", "pool = {a=1}", "= 1",
                   "Pool = 1", "a.b = 1", "\"pool\" = 1", "pool = # none"})
    EXPECT_FALSE(parse_config(bad, "f")) << bad;
}

TEST(HostPort, SplitsNamesAndAddresses) {
  auto v6 = parse_host_port("[fe80::1]:80");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "fe80::1");
  EXPECT_EQ(v6->port, 80);
  EXPECT_EQ(parse_host_port("node7:80")->host, "node7");
  EXPECT_EQ(parse_host_port("localhost:80")->host, "127.0.0.1") << "also where no resolver knows the name";
  for (auto bad : {"", ":", "a", "a:", ":1", "a:65536", "a:-1", "a:1x", "::1:80", "[::1]80", "[]:1", "a b:1",
                   "tcp://a:1", "[::1[::1]]:80", "[a]b]:80"})
    EXPECT_FALSE(parse_host_port(bad)) << bad;
  EXPECT_FALSE(parse_host_port({"127.0.0.1\0.example:80", 22})) << "what a system call would take for loopback";
}

// Uncomments `# name = value` lines: comments that explain have no '=' right after their first word.
std::string uncommented(std::istream& in) {
  std::string line, out;
  while (std::getline(in, line)) {
    std::istringstream words{line};
    std::string hash, name, equals;
    if (words >> hash >> name >> equals && hash == "#" && equals == "=")
      out += line.substr(2) + "\n";
  }
  return out;
}

TEST(ServerAddress, IsOfEitherKindAndReadsBackAsTheSame) {
  for (auto [text, back] : {std::pair{"127.0.0.1:1", "127.0.0.1:1"},
                            {"tcp://node7:80", "node7:80"},
                            {"maru://[::1]:5555", "[::1]:5555"},
                            {"tcp://unix:7", "tcp://unix:7"},
                            {"unix:/run/m.sock", "unix:/run/m.sock"},
                            {"unix:///run/m.sock", "unix:/run/m.sock"}}) {
    auto address = parse_server_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(to_string(*address), back);
    EXPECT_EQ(to_string(*parse_server_address(back)), back);
  }
  EXPECT_TRUE(parse_server_address("unix:/" + std::string(106, 'x')));
  for (std::string bad : {"", "unix:", "unix:run", "unix://host/path", "unix:@abstract", "unix:/folder/", "unix:/a,b",
                          "http://127.0.0.1:1", "tcp://127.0.0.1", "tcp://unix:/a"})
    EXPECT_FALSE(parse_server_address(bad)) << bad;
  EXPECT_FALSE(parse_server_address("unix:/" + std::string(107, 'x'))) << "longer than a socket's path may be";
  EXPECT_FALSE(parse_server_address({"unix:/a\0b", 9})) << "what a system call would take for /a";
}

TEST(ExampleConfiguration, NamesEveryOptionAtItsDefaultInOrder) {
  std::ifstream in{MARU_SOURCE_DIR "/deploy/marud.toml"};
  ASSERT_TRUE(in);
  auto entries = parse_config(uncommented(in), "deploy/marud.toml");
  ASSERT_TRUE(entries) << entries.error().message;
  std::vector<std::pair<std::string, std::string>> file, table;
  for (const auto& entry : *entries)
    file.emplace_back(entry.name, entry.value);
  for (const auto& row : marud_option_rows())
    table.emplace_back(row.name, row.default_value);
  EXPECT_EQ(file, table);
}

TEST(ExampleConfiguration, IsAcceptedAsItIsAndUncommented) {
  std::string path = MARU_SOURCE_DIR "/deploy/marud.toml";
  auto as_it_is = parse({"--config", path});
  EXPECT_TRUE(as_it_is) << as_it_is.error().message;
  std::ifstream in{path};
  temporary_file file{uncommented(in)};
  auto whole = parse({"--config", file.path()});
  EXPECT_TRUE(whole) << whole.error().message;
}

}  // namespace
}  // namespace maru
