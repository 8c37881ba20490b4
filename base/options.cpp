#include "base/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <string_view>

#include "base/config_file.hpp"
#include "base/host_port.hpp"
#include "base/log_level.hpp"
#include "base/size.hpp"
#include "base/version.hpp"

namespace maru {

namespace {

using std::string;
using std::string_view;
using options = marud_options;

// One option: everything that is known of it. `set` answers with what the option takes when the text is no good.
struct row {
  const char* group;
  string name;
  string takes;  // the word that stands for the value in --help; empty for a flag
  string help;
  std::function<string(const options&)> get;
  std::function<std::optional<string>(options&, string_view)> set;
};

// -- kinds of rows

// The shortest text that parse_size reads back exactly.
string size_text(std::uint64_t bytes) {
  constexpr string_view units[] = {"TiB", "GiB", "MiB", "KiB"};
  std::uint64_t factor = std::uint64_t{1} << 40;
  for (auto unit : units) {
    if (bytes != 0 && bytes % factor == 0)
      return std::to_string(bytes / factor) + string{unit};
    factor >>= 10;
  }
  return std::to_string(bytes);
}

struct size_bounds {
  std::uint64_t min, max;
  std::uint64_t multiple = 1;
  bool zero = false;  // 0 is allowed too and means "choose for me"
};

row size(const char* group, string name, std::uint64_t options::*field, size_bounds b, string help) {
  string takes = "a size from " + size_text(b.min) + " to " + size_text(b.max);
  if (b.multiple > 1)
    takes += " in multiples of " + size_text(b.multiple);
  if (b.zero)
    takes = "0 or " + takes;
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    auto value = parse_size(text);
    bool fits = value && ((b.zero && *value == 0) || (*value >= b.min && *value <= b.max && *value % b.multiple == 0));
    if (!fits)
      return takes;
    o.*field = *value;
    return std::nullopt;
  };
  return {group, std::move(name), "SIZE", std::move(help), [=](const options& o) { return size_text(o.*field); }, set};
}

template <class T>
row number(const char* group, string name, T options::*field, T min, T max, string help) {
  string takes = "a number from " + std::to_string(min) + " to " + std::to_string(max);
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    T value{};
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size() || value < min || value > max)
      return takes;
    o.*field = value;
    return std::nullopt;
  };
  return {group, std::move(name), "N", std::move(help), [=](const options& o) { return std::to_string(o.*field); },
          set};
}

row choice(const char* group, string name, string options::*field, std::vector<string> words, const string& help) {
  string takes, shown;
  for (const auto& word : words) {
    takes += (takes.empty() ? "" : word == words.back() ? " or " : ", ") + word;
    shown += (shown.empty() ? "" : "|") + word;
  }
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (std::find(words.begin(), words.end(), text) == words.end())
      return takes;
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "WORD", help + " [" + shown + "]", [=](const options& o) { return o.*field; }, set};
}

row path(const char* group, string name, string options::*field, bool may_be_empty, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (text.empty() && !may_be_empty)
      return "a path";
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "PATH", std::move(help), [=](const options& o) { return o.*field; }, set};
}

row address(const char* group, string name, string options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (!parse_host_port(text))
      return "HOST:PORT, such as 127.0.0.1:5555 or [::1]:5555, with a port from 0 to 65535";
    o.*field = text;
    return std::nullopt;
  };
  return {group, std::move(name), "HOST:PORT", std::move(help), [=](const options& o) { return o.*field; }, set};
}

row flag(const char* group, string name, bool options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    if (text != "true" && text != "false")
      return "true or false";
    o.*field = text == "true";
    return std::nullopt;
  };
  auto get = [=](const options& o) { return string{o.*field ? "true" : "false"}; };
  return {group, std::move(name), "", std::move(help), get, set};
}

row file_mode(const char* group, string name, std::uint32_t options::*field, string help) {
  auto set = [=](options& o, string_view text) -> std::optional<string> {
    std::uint32_t value = 0;
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
    if (code != std::errc{} || end != text.data() + text.size() || value > 0777 || (value & 0600) != 0600)
      return "an octal file mode from 0600 to 0777 that lets the owner read and write";
    o.*field = value;
    return std::nullopt;
  };
  auto get = [=](const options& o) {
    char text[16];
    std::snprintf(text, sizeof text, "%04o", o.*field);
    return string{text};
  };
  return {group, std::move(name), "MODE", std::move(help), get, set};
}

// -- the table

const std::vector<row>& table() {
  using namespace bounds;
  constexpr std::uint64_t TiB = 1024 * GiB;
  constexpr auto pool = "Pool", state = "State", doors = "Doors", behaviour = "Behaviour";
  static const std::vector<row> rows = {
    path(pool, "pool", &options::pool, false,
         "File or device that holds the shared chunks; a tmpfs file needs no hardware. "
         "Metadata and locks lie beside it, as PATH.meta, PATH.lock and PATH.locks"),
    size(pool, "pool-size", &options::pool_size, {layout_align, 1024 * TiB, page_bytes_min, true},
         "Bytes for chunks. 0: as the existing pool has it, 256MiB for a new one"),
    size(pool, "page-min", &options::page_min, {page_bytes_min, page_bytes_max, page_bytes_min, true},
         "Smallest page; a chunk takes a whole page. 0: as the existing pool has it, 64KiB for a new one"),
    size(pool, "region-size", &options::region_size, {layout_align, 16 * TiB, layout_align, true},
         "Slab given to one page size at a time. 0: 1/64 of the pool, at least 2MiB and one page"),
    file_mode(pool, "pool-mode", &options::pool_mode, "Mode of the pool's files: who may map them, in octal"),
    choice(pool, "visibility", &options::visibility, {"hardware", "software"},
           "Who keeps caches in step: one host or CXL 3, or the workers by writing lines back. Fixed at format"),
    flag(pool, "format", &options::format,
         "Overwrite what the device holds when it is no pool or another marud's pool"),
    choice(pool, "prefault", &options::prefault, {"off", "background", "start"},
           "When memory of the pool is touched first: by the workers, ahead of them, or all of it at start"),
    path(state, "state-dir", &options::state_dir, false, "Directory of the durable metadata (RocksDB)"),
    choice(state, "durability", &options::durability, {"process", "host"},
           "What an acknowledged commit survives: a crash of marud, or of the host too (not on tmpfs)"),
    choice(state, "payload-checksums", &options::payload_checksums, {"off", "on_write", "verify"},
           "Checksums of the chunks' bytes: none, made by the writer, or also verified by every reader"),
    choice(state, "on-damage", &options::on_damage, {"stop", "start-empty"},
           "When the metadata is damaged: stop with the reason, or serve an empty pool"),
    flag(state, "rebuild", &options::rebuild,
         "Make the metadata anew from the pool where the state directory has none, or damaged one"),
    size(state, "rocksdb-write-buffer", &options::rocksdb_write_buffer, {1 * MiB, 4 * GiB},
         "Memory for metadata not yet sorted into files"),
    size(state, "rocksdb-block-cache", &options::rocksdb_block_cache, {1 * MiB, 64 * GiB},
         "Memory for metadata read back from files"),
    address(doors, "listen", &options::listen, "Where workers connect. Port 0 takes a free one"),
    address(doors, "http", &options::http,
            "Where /metrics, /healthz, /readyz and /status are. Port 0 takes a free one"),
    flag(doors, "insecure-bind", &options::insecure_bind,
         "Allow listen and http beyond loopback: whoever reaches the ports is trusted"),
    path(doors, "token-file", &options::token_file, true,
         "File with the secret that workers must show. Empty: none is asked for"),
    number(doors, "connections-max", &options::connections_max, 1u, 65535u, "Connections at the same time"),
    number(behaviour, "shards", &options::shards, 0u, 64u,
           "Partitions of the index. 0: one up to 4 cores, a quarter of the cores above"),
    number<std::int64_t>(behaviour, "reserve-pages", &options::reserve_pages, -1, 1 << 30,
                         "Free pages kept ahead of the demand by eviction. -1: follows the demand, about 1 %"),
    choice(behaviour, "eviction", &options::eviction, {"lru"}, "Which chunks make room when the pool is full"),
    number(behaviour, "grants-max", &options::grants_max, 1u, 1u << 20,
           "Pages a session may hold before it commits them"),
    number(behaviour, "pins-max", &options::pins_max, 1u, std::uint32_t{bounds::pins_max}, "Pins a session may hold"),
    number(behaviour, "sessions-max", &options::sessions_max, 1u, 65535u, "Sessions at the same time"),
    number(behaviour, "lease-ms", &options::lease_ms, 500u, 600000u,
           "Milliseconds after its last sign of life until a session is suspected"),
    number(behaviour, "resume-grace-ms", &options::resume_grace_ms, 100u, 3600000u,
           "Milliseconds that a restarted marud waits for sessions to come back before it evicts or removes; at least "
           "lease-ms"),
    choice(behaviour, "log-level", &options::log_level, {log_level_words.begin(), log_level_words.end()},
           "Least serious message that is written to stderr. Changed without a restart by maructl log-level"),
    choice(behaviour, "log-format", &options::log_format, {"text", "json"},
           "Lines of the log: for people, or one JSON object each, for programs"),
  };
  return rows;
}

// -- reading

error bad(const string& message) { return {ec::bad_option, message}; }

// `where` is "--" or "FILE line N: ".
status set_row(const row& r, options& o, string_view text, const string& where) {
  if (auto takes = r.set(o, text))
    return bad("failed to use " + where + r.name + ": '" + string{text} + "' is not " + *takes);
  return {};
}

status read_file(const string& file, options& o) {
  auto entries = read_config_file(file);
  if (!entries)
    return entries.error();
  for (const auto& entry : *entries) {
    auto where = file + " line " + std::to_string(entry.line) + ": ";
    auto r = std::find_if(table().begin(), table().end(), [&](const row& x) { return x.name == entry.name; });
    if (r == table().end())
      return bad("failed to use " + where + "there is no option '" + entry.name + "', --help lists them all");
    if (auto done = set_row(*r, o, entry.value, where); !done)
      return done;
  }
  return {};
}

// What no single option can tell.
status check_together(const options& o) {
  for (const auto& [name, value] : {std::pair{"listen", o.listen}, std::pair{"http", o.http}})
    if (!o.insecure_bind && !is_loopback(parse_host_port(value)->host))
      return bad(string{"failed to use --"} + name + ": '" + value
                 + "' is beyond loopback, where everybody who reaches the port is trusted; "
                   "take 127.0.0.1, ::1 or localhost, or add --insecure-bind");
  if (o.region_size != 0 && o.region_size < o.page_min)
    return bad("failed to use --region-size: '" + size_text(o.region_size) + "' is not 0 or at least --page-min, "
               + size_text(o.page_min));
  if (o.pool_size != 0 && o.pool_size < std::max(o.region_size, o.page_min))
    return bad("failed to use --pool-size: '" + size_text(o.pool_size) + "' is not room for one region of "
               + size_text(std::max(o.region_size, o.page_min)));
  return {};
}

constexpr auto help_width = 34;

void describe(CLI::App& app) {
  app.set_help_flag("--help,-h", "Print this and end");
  app.set_version_flag("--version", "marud " + string{version()}, "Print the version and end");
  app.get_formatter()->column_width(help_width);
  app.footer(
    "SIZE: a number with an optional unit: B, KiB, MiB, GiB, TiB (powers of 1024), kB, MB, GB, TB (of 1000).\n"
    "FILE: every option is a line `name = value` without the dashes; the command line wins over it.\n\n"
    "Exit codes: 0 stopped by a signal; 2 an option that cannot be used; 3 pool, state or port in use; 4 contents that "
    "are\n"
    "not this pool's; 5 no space; 6 damaged; 1 anything else.");
}

result<parsed_options> parse(int argc, const char* const* argv) {
  CLI::App app{"Serves a pool of KV cache chunks that the workers of this host share", "marud"};
  describe(app);
  string file;
  app.add_option("--config", file, "Configuration file; the package's example names every option")->type_name("FILE");
  options defaults;
  std::vector<string> texts(table().size());
  std::vector<CLI::Option*> given;
  for (std::size_t i = 0; i < table().size(); ++i) {
    const auto& r = table()[i];
    auto name = "--" + r.name;
    auto* option = r.takes.empty() ? app.add_flag(name, r.help) : app.add_option(name, texts[i], r.help);
    if (!r.takes.empty())
      option->type_name(r.takes)->default_str(r.get(defaults));
    given.push_back(option->group(r.group));
  }

  parsed_options out;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out.text = app.help();
  } catch (const CLI::CallForVersion&) {
    out.text = app.version() + "\n";
  } catch (const CLI::ParseError& e) {
    return bad(string{"failed to read the command line: "} + e.what() + "; --help lists the options");
  }
  out.show_only = !out.text.empty();
  if (out.show_only)
    return out;

  if (!file.empty())
    if (auto done = read_file(file, out.options); !done)
      return done.error();
  for (std::size_t i = 0; i < table().size(); ++i) {
    if (given[i]->count() == 0)
      continue;
    auto text = table()[i].takes.empty() ? string{given[i]->as<bool>() ? "true" : "false"} : texts[i];
    if (auto done = set_row(table()[i], out.options, text, "--"); !done)
      return done.error();
  }
  if (auto done = check_together(out.options); !done)
    return done.error();
  return out;
}

}  // namespace

result<parsed_options> parse_marud_options(int argc, const char* const* argv) {
  try {
    return parse(argc, argv);
  } catch (const std::exception& e) {  // CLI11 reports a mistake in the table itself by throwing
    return bad(string{"failed to read options: "} + e.what());
  }
}

std::vector<std::string> differing_options(const marud_options& a, const marud_options& b) {
  std::vector<std::string> names;
  for (const auto& r : table())
    if (r.get(a) != r.get(b))
      names.push_back(r.name);
  return names;
}

std::vector<option_row> marud_option_rows() {
  options defaults;
  std::vector<option_row> rows;
  for (const auto& r : table())
    rows.push_back({r.name, r.help, r.get(defaults)});
  return rows;
}

}  // namespace maru
