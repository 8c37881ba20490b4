#include "app/maructl/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
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

enum class argument { none, key, keys, device, session };

struct verb_row {
  verb what;
  const char* name;
  argument takes;
  const char* help;
};

constexpr std::array<verb_row, 14> verbs = {{
  {verb::status, "status", argument::none, "What the pool holds and how it does"},
  {verb::stat, "stat", argument::key, "Where the chunk of KEY is and who holds it"},
  {verb::ls, "ls", argument::none, "The keys in the pool, in no particular order"},
  {verb::get, "get", argument::key, "Write the chunk of KEY to standard output"},
  {verb::put, "put", argument::key, "Commit standard input as the chunk of KEY"},
  {verb::rm, "rm", argument::keys, "Remove keys; a pinned one stays"},
  {verb::pin, "pin", argument::keys, "Hold keys so that they are not evicted, until Ctrl-C or `maructl unpin`"},
  {verb::unpin, "unpin", argument::keys, "Let keys go that a running `maructl pin` of this user on this host holds"},
  {verb::evict, "evict", argument::none, "Make room: evict the coldest chunks that nobody pins"},
  {verb::sessions, "sessions", argument::none, "The workers that are connected, or may come back"},
  {verb::end_session, "end-session", argument::session,
   "Say that a session's process is gone, where marud cannot know: a worker of another host that vanished"},
  {verb::check, "check", argument::none, "Audit: every page against descriptors, metadata and index"},
  {verb::top, "top", argument::none,
   "Watch hit rate, puts, pins, pages, latency and sessions; with --json, a line a sample"},
  {verb::log_level, "log-level", argument::none,
   "Tell or change what marud logs, until it starts again or is reloaded"},
}};

constexpr auto device_group = "device";
constexpr std::array<verb_row, 7> device_verbs = {{
  {verb::device_status, "status", argument::none, "The devices of a running marud's pool, and how far a drain is"},
  {verb::device_add, "add", argument::device, "Give a running marud's pool one more device; ends a drain of it, too"},
  {verb::device_drain, "drain", argument::device, "Empty a device of a running marud's pool; its chunks are evicted"},
  {verb::device_remove, "remove", argument::device,
   "Take a drained device from a running marud's pool; it is blank then"},
  {verb::device_list, "list", argument::none, "What this machine has to hold a pool, what is on it, which options fit"},
  {verb::device_probe, "probe", argument::device, "Everything about one device, and whether marud could serve it"},
  {verb::device_format, "format", argument::device,
   "Make a device blank, so that marud takes it; says what that destroys"},
}};

constexpr auto notes =
  "KEY: its text, or hex: and two digits a byte. SIZE: 4096, 64KiB, 1.5GiB. DEVICE: PATH[,size=SIZE][,node=N].\n"
  "\n"
  "Exit codes: 0 done; 1 no such key, pin or pool, or check found problems; 2 wrong command line;\n"
  "            3 marud does not answer; 4 marud refused (exists, pinned, token, bound), or --yes is missing;\n"
  "            6 the device holds what marud refuses to serve; 7 a marud serves it; 5 anything else.";

struct texts {
  std::vector<std::string> keys;
  std::string prefix, bytes, token_file;
  std::string session = "0";
  std::string limit = "1000", timeout_ms = "5000", interval_ms = "1000";
};

error bad(const std::string& message) { return {ec::bad_option, message}; }

// What a verb alone takes.
void declare_verb(CLI::App& sub, const verb_row& v, command& c, texts& t) {
  if (v.takes == argument::key)
    sub.add_option("KEY", t.keys, "The key")->required()->expected(1);
  if (v.takes == argument::keys)
    sub.add_option("KEY", t.keys, "One or more keys")
      ->required()
      ->expected(1, static_cast<int>(bounds::batch_items_max));
  if (v.takes == argument::device)
    sub.add_option("DEVICE", c.device, "A device node, or a file in memory")->required();
  if (v.takes == argument::session)
    sub.add_option("SESSION", t.session, "Its number, as `maructl sessions` shows it")->required();
  if (v.what == verb::device_drain)
    sub.add_flag("--no-wait", c.no_wait, "Do not wait until it is empty");
  if (v.what == verb::ls) {
    sub.add_option("--prefix", t.prefix, "Only keys that begin so")->type_name("KEY");
    sub.add_option("--limit", t.limit, "At most so many keys; 0: all")->type_name("N")->capture_default_str();
  }
  if (v.what == verb::log_level)
    sub.add_option("LEVEL", c.level, "trace, debug, info, warn, error or off; none: tell what it is")
      ->check(CLI::IsMember(std::vector<std::string>{log_level_words.begin(), log_level_words.end()}));
  if (v.what == verb::evict)
    sub.add_option("--bytes", t.bytes, "How much room to make")->type_name("SIZE")->required();
  if (v.what == verb::top) {
    sub.add_option("--interval-ms", t.interval_ms, "Between two looks")->type_name("N")->capture_default_str();
    sub.add_flag("--once", c.once, "Look twice, print what passed between, and end");
    sub.add_flag("--no-color", c.no_colour, "Without colours, as where NO_COLOR is set");
    sub.add_flag("--ascii", c.ascii, "Without characters beyond ASCII, as where the locale has no UTF-8");
  }
  if (v.what == verb::device_format)
    sub.add_flag("--yes", c.yes, "Do it, whatever is there; without it, only say what that is");
}

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
  for (const auto& v : verbs)
    declare_verb(*app.add_subcommand(v.name, v.help), v, c, t);
  auto* devices = app.add_subcommand(device_group, "Devices: what this machine has, and what a running pool uses");
  devices->require_subcommand(1);
  for (const auto& v : device_verbs)
    declare_verb(*devices->add_subcommand(v.name, v.help), v, c, t);
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

bool asks_marud(verb what) {
  return what != verb::device_list && what != verb::device_probe && what != verb::device_format;
}

// From texts to values.
status fill_in(command& c, const texts& t) {
  std::uint64_t timeout_ms = 0;
  if (auto done = read_number(t.timeout_ms, 1, 3'600'000, "--timeout-ms", timeout_ms); !done)
    return done;
  if (c.what == verb::end_session)
    if (auto done = read_number(t.session, 1, UINT64_MAX, "SESSION", c.session); !done)
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
  if (asks_marud(c.what)) {
    c.token = token_source{t.token_file, {}}.or_environment();
    if (auto token = c.token.read(); !token)
      return token.error();
  }
  if (c.json && c.what == verb::get)
    return bad("failed to use --json: get writes the chunk's bytes, nothing else");
  return {};
}

// What stands where a command should, after the commands around it: "device frobnicate". Empty: nothing does.
std::string unknown_command(CLI::App& app) {
  auto left = app.remaining();
  auto named = app.get_subcommands();
  bool missing =
    named.empty() || (named.front()->get_name() == device_group && named.front()->get_subcommands().empty());
  if (!missing || left.empty() || left.front().starts_with('-'))
    return {};
  return named.empty() ? left.front() : named.front()->get_name() + " " + left.front();
}

// Of the verb that was named, however deep it lies.
std::string help_of(CLI::App& app) {
  std::string words = "maructl";
  auto* last = &app;
  for (auto named = app.get_subcommands(); !named.empty(); named = last->get_subcommands()) {
    if (last != &app)
      words += " " + last->get_name();
    last = named.front();
  }
  return last == &app ? app.help() : last->help(words);
}

result<parsed_command> parse(int argc, const char* const* argv) {
  CLI::App app{"Looks into a pool of KV cache chunks and the marud that serves it", "maructl"};
  parsed_command out;
  texts t;
  declare(app, out.what, t);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out.text = help_of(app);
  } catch (const CLI::CallForVersion&) {
    out.text = app.version() + "\n";
  } catch (const CLI::ParseError& e) {
    if (auto words = unknown_command(app); !words.empty())
      return bad("failed to read the command line: there is no command '" + words + "'; --help lists them");
    return bad(std::string{"failed to read the command line: "} + e.what() + "; --help tells more");
  }
  out.show_only = !out.text.empty();
  if (out.show_only)
    return out;
  for (const auto& v : verbs)
    if (app.got_subcommand(v.name))
      out.what.what = v.what;
  for (const auto& v : device_verbs)
    if (app.get_subcommand(device_group)->got_subcommand(v.name))
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
