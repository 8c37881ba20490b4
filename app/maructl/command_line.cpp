#include "app/maructl/command_line.hpp"

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cstdint>

#include "app/maructl/key_text.hpp"
#include "base/bounds.hpp"
#include "base/log_level.hpp"
#include "base/server_address.hpp"
#include "base/size.hpp"
#include "base/version.hpp"

namespace maru::ctl {

namespace {

enum class keys { none, one, many };

struct verb_row {
  verb what;
  const char* name;
  keys takes;
  const char* help;
};

constexpr std::array<verb_row, 13> verbs = {{
  {verb::status, "status", keys::none, "What the pool holds and how it does"},
  {verb::stat, "stat", keys::one, "Where the chunk of KEY is and who holds it"},
  {verb::ls, "ls", keys::none, "The keys in the pool, in no particular order"},
  {verb::get, "get", keys::one, "Write the chunk of KEY to standard output"},
  {verb::put, "put", keys::one, "Commit standard input as the chunk of KEY"},
  {verb::rm, "rm", keys::many, "Remove keys; a pinned one stays"},
  {verb::pin, "pin", keys::many, "Hold keys so that they are not evicted, until Ctrl-C or `maructl unpin`"},
  {verb::unpin, "unpin", keys::many, "Let keys go that a running `maructl pin` of this user on this host holds"},
  {verb::evict, "evict", keys::none, "Make room: evict the coldest chunks that nobody pins"},
  {verb::sessions, "sessions", keys::none, "The workers that are connected, or may come back"},
  {verb::check, "check", keys::none, "Audit: every page against descriptors, metadata and index"},
  {verb::top, "top", keys::none,
   "Watch hit rate, puts, pins, pages, latency and sessions; with --json, a line a sample"},
  {verb::log_level, "log-level", keys::none, "Tell or change what marud logs, until it starts again or is reloaded"},
}};

constexpr auto notes =
  "KEY: its text, or hex: and two digits a byte. SIZE: 4096, 64KiB, 1.5GiB.\n"
  "\n"
  "Exit codes: 0 done; 1 no such key or pin, or check found problems; 2 wrong command line;\n"
  "            3 marud does not answer; 4 marud refused (exists, pinned, token, bound); 5 anything else.";

struct texts {
  std::vector<std::string> keys;
  std::string prefix, bytes, token_file;
  std::string limit = "1000", timeout_ms = "5000", interval_ms = "1000";
};

error bad(const std::string& message) { return {ec::bad_option, message}; }

void declare(CLI::App& app, command& c, texts& t) {
  app.set_help_flag("--help,-h", "Print this and end");
  app.set_version_flag("--version", "maructl " + std::string{version()}, "Print the version and end");
  app.require_subcommand(1);
  app.fallthrough();  // the options below are taken after the command too
  app.footer(notes);
  app.get_formatter()->column_width(30);
  app.add_option("--server", c.server, "Where marud listens: HOST:PORT or unix:/PATH")
    ->type_name("ADDRESS")
    ->capture_default_str();
  app
    .add_option("--token-file", t.token_file, "File with the secret that marud asks for [MARU_TOKEN_FILE, MARU_TOKEN]")
    ->type_name("FILE");
  app.add_option("--tls-ca", c.tls.ca, "Certificates of who may sign marud's [MARU_TLS_CA]")->type_name("FILE");
  app.add_option("--tls-cert", c.tls.cert, "Certificate to show to marud [MARU_TLS_CERT]")->type_name("FILE");
  app.add_option("--tls-key", c.tls.key, "Key of that certificate [MARU_TLS_KEY]")->type_name("FILE");
  app
    .add_option("--tls-server-name", c.tls.server_name,
                "What marud's certificate must be for, if not the host of --server [MARU_TLS_SERVER_NAME]")
    ->type_name("NAME");
  app.add_flag("--json", c.json, "Answer in JSON, for programs");
  app.add_option("--timeout-ms", t.timeout_ms, "How long to wait for an answer")->type_name("N")->capture_default_str();
  for (const auto& v : verbs) {
    auto* sub = app.add_subcommand(v.name, v.help);
    if (v.takes == keys::one)
      sub->add_option("KEY", t.keys, "The key")->required()->expected(1);
    if (v.takes == keys::many)
      sub->add_option("KEY", t.keys, "One or more keys")
        ->required()
        ->expected(1, static_cast<int>(bounds::batch_items_max));
    if (v.what == verb::ls) {
      sub->add_option("--prefix", t.prefix, "Only keys that begin so")->type_name("KEY");
      sub->add_option("--limit", t.limit, "At most so many keys; 0: all")->type_name("N")->capture_default_str();
    }
    if (v.what == verb::log_level)
      sub->add_option("LEVEL", c.level, "trace, debug, info, warn, error or off; none: tell what it is")
        ->check(CLI::IsMember(std::vector<std::string>{log_level_words.begin(), log_level_words.end()}));
    if (v.what == verb::evict)
      sub->add_option("--bytes", t.bytes, "How much room to make")->type_name("SIZE")->required();
    if (v.what == verb::top) {
      sub->add_option("--interval-ms", t.interval_ms, "Between two looks")->type_name("N")->capture_default_str();
      sub->add_flag("--once", c.once, "Look twice, print what passed between, and end");
      sub->add_flag("--no-color", c.no_colour, "Without colours, as where NO_COLOR is set");
      sub->add_flag("--ascii", c.ascii, "Without characters beyond ASCII, as where the locale has no UTF-8");
    }
  }
}

// CLI11 would take -1 for the largest number.
status read_number(const std::string& text, std::uint64_t min, std::uint64_t max, const char* option,
                   std::uint64_t& value) {
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc{} && end == text.data() + text.size() && value >= min && value <= max)
    return {};
  return bad(std::string{"failed to use "} + option + ": '" + text + "' is not a number from " + std::to_string(min)
             + " to " + std::to_string(max));
}

// From texts to values.
status fill_in(command& c, const texts& t) {
  std::uint64_t timeout_ms = 0;
  if (auto done = read_number(t.timeout_ms, 1, 3'600'000, "--timeout-ms", timeout_ms); !done)
    return done;
  c.timeout = std::chrono::milliseconds{timeout_ms};
  std::uint64_t interval_ms = 0;
  if (auto done = read_number(t.interval_ms, 100, 3'600'000, "--interval-ms", interval_ms); !done)
    return done;
  c.interval = std::chrono::milliseconds{interval_ms};
  if (auto done = read_number(t.limit, 0, INT64_MAX, "--limit", c.limit); !done)
    return done;
  if (auto server = parse_server_address(c.server); !server)
    return bad("failed to use --server: '" + c.server + "' is not HOST:PORT, such as 127.0.0.1:5555, nor unix:/PATH");
  for (const auto& text : t.keys) {
    auto key = parse_key(text);
    if (!key)
      return key.error();
    c.keys.push_back(*std::move(key));
  }
  if (!t.prefix.empty()) {
    auto prefix = parse_key(t.prefix);
    if (!prefix)
      return bad("failed to use --prefix: " + prefix.error().message);
    c.prefix = *std::move(prefix);
  }
  if (!t.bytes.empty()) {
    auto bytes = parse_size(t.bytes);
    if (!bytes || *bytes == 0)
      return bad("failed to use --bytes: '" + t.bytes + "' is not a size above 0, such as 64MiB");
    c.bytes = *bytes;
  }
  c.token = token_source{t.token_file, {}}.or_environment();
  if (auto token = c.token.read(); !token)
    return token.error();
  if (c.json && c.what == verb::get)
    return bad("failed to use --json: get writes the chunk's bytes, nothing else");
  return {};
}

result<parsed_command> parse(int argc, const char* const* argv) {
  CLI::App app{"Looks into a pool of KV cache chunks and the marud that serves it", "maructl"};
  parsed_command out;
  texts t;
  declare(app, out.what, t);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    auto chosen = app.get_subcommands();
    out.text = chosen.empty() ? app.help() : chosen.front()->help("maructl");
  } catch (const CLI::CallForVersion&) {
    out.text = app.version() + "\n";
  } catch (const CLI::ParseError& e) {
    if (auto left = app.remaining(); app.get_subcommands().empty() && !left.empty() && !left.front().starts_with('-'))
      return bad("failed to read the command line: there is no command '" + left.front() + "'; --help lists them");
    return bad(std::string{"failed to read the command line: "} + e.what() + "; --help tells more");
  }
  out.show_only = !out.text.empty();
  if (out.show_only)
    return out;
  for (const auto& v : verbs)
    if (app.got_subcommand(v.name))
      out.what.what = v.what;
  if (auto done = fill_in(out.what, t); !done)
    return done.error();
  return out;
}

}  // namespace

result<parsed_command> parse_command(int argc, const char* const* argv) {
  try {
    return parse(argc, argv);
  } catch (const std::exception& e) {  // CLI11 reports a mistake in a declaration by throwing
    return bad(std::string{"failed to read the command line: "} + e.what());
  }
}

}  // namespace maru::ctl
