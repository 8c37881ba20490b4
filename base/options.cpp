#include "base/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "base/config_file.hpp"
#include "base/host_port.hpp"
#include "base/log_level.hpp"
#include "base/option_kinds.hpp"
#include "base/server_address.hpp"
#include "base/version.hpp"

namespace maru {

namespace {

using namespace option_kinds;

// -- the table

const std::vector<row>& table() {
  using namespace bounds;
  constexpr std::uint64_t TiB = 1024 * GiB;
  constexpr auto pool = "Pool", state = "State", doors = "Doors", behaviour = "Behaviour";
  static const std::vector<row> rows = {
    path(pool, "pool", &options::pool, false,
         "File or device that holds the shared chunks; a tmpfs file needs no hardware. "
         "Metadata and locks lie beside it, as PATH.meta, PATH.lock and PATH.locks; on Device-DAX and hugetlbfs the "
         "metadata "
         "lies on it"),
    devices(pool, "devices", &options::devices, "Further devices of the pool, made its own where they are blank"),
    path(pool, "without-devices", &options::without_devices, true,
         "Paths of further devices that are given up, with semicolons between them: what they hold is lost"),
    number(pool, "numa-node", &options::numa_node, -1, 1023,
           "NUMA node that the memory of a pool on tmpfs or hugetlbfs comes from. -1: any"),
    path(pool, "lock-dir", &options::lock_dir, true,
         "Folder of the sessions' lock files, which workers open too. Empty: PATH.locks, or /dev/shm/maru-NAME.locks "
         "where "
         "the metadata lies on the device"),
    size(pool, "pool-size", &options::pool_size, {layout_align, 1024 * TiB, page_bytes_min, true},
         "Bytes for chunks. 0: as the existing pool has it, 256MiB for a new one"),
    size(pool, "page-min", &options::page_min, {page_bytes_min, page_bytes_max, page_bytes_min, true},
         "Smallest page; a chunk takes a whole page. 0: as the existing pool has it, 64KiB for a new one"),
    size(pool, "region-size", &options::region_size, {layout_align, 16 * TiB, layout_align, true},
         "Slab given to one page size at a time. 0: 1/64 of the pool, at least 2MiB and one page"),
    file_mode(pool, "pool-mode", &options::pool_mode, "Mode of the pool's files: who may map them, in octal"),
    names(pool, "pool-group", &options::pool_group, false, "Group of the pool's files. Empty: marud's own"),
    choice(pool, "visibility", &options::visibility, {"hardware", "software"},
           "Who keeps caches in step: one host or CXL 3, or the workers by writing lines back. Fixed at format"),
    flag(pool, "format", &options::format,
         "Overwrite what the device holds when it is no pool, another marud's, or one of another pool-size"),
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
    addresses(
      doors, "listen", &options::listen,
      "Where workers connect: HOST:PORT (port 0 takes a free one) or unix:/PATH. Several: with commas, or given again"),
    file_mode(doors, "socket-mode", &options::socket_mode, "Mode of Unix sockets: who may connect, in octal"),
    names(doors, "socket-group", &options::socket_group, false, "Group of Unix sockets. Empty: marud's own"),
    names(doors, "allow-uids", &options::allow_uids, true,
          "Users who may come through Unix sockets. Empty, and no allow-gids: everybody whom the mode lets in"),
    names(doors, "allow-gids", &options::allow_gids, true, "Groups whose members may come through Unix sockets, too"),
    address(doors, "http", &options::http,
            "Where /metrics, /healthz, /readyz and /status are. Port 0 takes a free one"),
    flag(doors, "other-hosts", &options::other_hosts,
         "Serve workers of other hosts that map the same memory. Who of them vanishes keeps its pages until it "
         "resumes, its "
         "host is booted anew, or 'maructl end-session'"),
    flag(doors, "insecure-bind", &options::insecure_bind,
         "Allow listen without TLS beyond loopback: whoever reaches the port is trusted"),
    flag(doors, "insecure-http", &options::insecure_http,
         "Allow http beyond loopback: whoever reaches the port reads metrics and names of workers, nothing else"),
    path(
      doors, "tls-cert", &options::tls_cert, "MARU_TLS_CERT",
      "Certificate of marud, PEM, and those up to the CA. With it, tls-key and tls-ca every listening port speaks TLS"),
    path(doors, "tls-key", &options::tls_key, "MARU_TLS_KEY", "Key of tls-cert, PEM, without a passphrase"),
    path(doors, "tls-ca", &options::tls_ca, "MARU_TLS_CA", "Certificates of who may sign the workers', PEM"),
    path(
      doors, "token-file", &options::token_file, "MARU_TOKEN_FILE",
      "File with the secrets of which workers must show one, a line each, read again when it changes. Empty: those in "
      "MARU_TOKEN, else none is asked for"),
    number(doors, "connections-max", &options::connections_max, 1u, 65535u, "Connections at the same time"),
    number(doors, "connections-per-peer", &options::connections_per_peer, 1u, 65535u,
           "Connections at the same time of one address, or of one user through Unix sockets"),
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
           "Milliseconds that a restarted marud waits for sessions to come back before it evicts or removes; "
           "lease-ms where that is more"),
    number(
      behaviour, "pin-age-max-ms", &options::pin_age_max_ms, 0u, 86400000u,
      "Milliseconds after which workers end a pin by key that nobody took again or ended. Whoever still reads what "
      "it covered may find other bytes there. 0: never"),
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

status read_environment(options& o) {
  for (const auto& r : table())
    if (const char* text = r.environment ? std::getenv(r.environment) : nullptr; text && *text != '\0')
      if (auto done = set_row(r, o, text, string{r.environment} + " as "); !done)
        return done;
  return {};
}

// What is beyond loopback asks who comes in, or says that it does not.
status check_doors(const options& o) {
  int tls_files = !o.tls_cert.empty() + !o.tls_key.empty() + !o.tls_ca.empty();
  if (tls_files != 0 && tls_files != 3)
    return bad(
      "failed to use --tls-cert, --tls-key and --tls-ca: marud shows a certificate and asks for one, so give all "
      "three");
  constexpr auto loopback = "; take 127.0.0.1, ::1 or localhost, or add ";
  for (const auto& where : *parse_server_addresses(o.listen))
    if (!where.local() && tls_files == 0 && !o.insecure_bind)
      return bad("failed to use --listen: '" + to_string(where)
                 + "' is beyond loopback, where everybody who reaches the port is trusted" + loopback
                 + "--tls-cert and its fellows, or --insecure-bind");
  auto http_host = parse_host_port(o.http)->host;
  if (http_host.find(':') != http_host.npos)
    return bad("failed to use --http: '" + o.http
               + "' is an address of IPv6, which the HTTP server does not speak (Debian's civetweb); take one of IPv4");
  if (!is_loopback(http_host) && !o.insecure_http)
    return bad("failed to use --http: '" + o.http
               + "' is beyond loopback, where everybody who reaches the port reads metrics and names of workers"
               + loopback + "--insecure-http");
  return {};
}

// What no single option can tell.
status check_together(const options& o) {
  if (auto safe = check_doors(o); !safe)
    return safe;
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
    "FILE: every option is a line `name = value` without the dashes; the command line wins over it.\n"
    "[NAME]: an environment variable that sets the option too; it wins over the file, the command line over both.\n\n"
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
    if (r.several)
      option->multi_option_policy(CLI::MultiOptionPolicy::Join);  // by ends of lines
    if (r.environment)
      option->description(r.help + " [" + r.environment + "]");
    given.push_back(option->group(r.group));
  }

  parsed_options out;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out.text = app.help();
  } catch (const CLI::CallForVersion&) {
    out.text = app.version() + "\n";
  } catch (const CLI::ExtrasError&) {
    auto left = app.remaining();
    auto unknown = std::find_if(left.begin(), left.end(), [](const string& word) { return word.starts_with("-"); });
    return bad("failed to read the command line: there is no option '"
               + (unknown == left.end() ? left.front() : *unknown) + "'; --help lists the options");
  } catch (const CLI::ParseError& e) {
    return bad(string{"failed to read the command line: "} + e.what() + "; --help lists the options");
  }
  out.show_only = !out.text.empty();
  if (out.show_only)
    return out;

  if (!file.empty())
    if (auto done = read_file(file, out.options); !done)
      return done.error();
  if (auto done = read_environment(out.options); !done)
    return done.error();
  for (std::size_t i = 0; i < table().size(); ++i) {
    if (given[i]->count() == 0)
      continue;
    auto text = table()[i].takes.empty() ? string{given[i]->as<bool>() ? "true" : "false"} : texts[i];
    if (table()[i].several)
      std::replace(text.begin(), text.end(), '\n', ',');
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
  options defaults, scratch;
  std::vector<option_row> rows;
  for (const auto& r : table())
    // An option tells what it takes when it is given what it cannot take; no option but a path takes a comma.
    rows.push_back({r.name, r.help, r.get(defaults), r.environment ? r.environment : "", r.several, r.group,
                    r.set(scratch, ",").value_or("")});
  return rows;
}

}  // namespace maru
