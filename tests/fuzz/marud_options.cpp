// Goal: whatever stands on marud's command line and in its configuration file, the options that come out are within
// their bounds, or a sentence says what is wrong (base/options.hpp). Method: the bytes up to the first NUL as a
// configuration file in memory, each later piece as an argument; what is accepted is held against the bounds.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/host_port.hpp"
#include "base/options.hpp"
#include "base/server_address.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace maru::fuzz {

namespace {

// One file for all inputs; its name is what --config gets.
std::string configuration(std::string_view text) {
  static const int file = ::memfd_create("marud.toml", MFD_CLOEXEC);
  must(file >= 0 && ::ftruncate(file, 0) == 0, "there is memory for a file");
  must(::pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()), "the file takes the text");
  return "/proc/self/fd/" + std::to_string(file);
}

bool is_one_of(const std::string& word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_size(std::uint64_t n, std::uint64_t min, std::uint64_t max, std::uint64_t multiple) {
  return n >= min && n <= max && n % multiple == 0;
}

void hold_sizes(const marud_options& o) {
  using namespace bounds;
  constexpr std::uint64_t TiB = 1024 * GiB;
  must(o.pool_size == 0 || is_size(o.pool_size, layout_align, 1024 * TiB, page_bytes_min), "pool-size is in bounds");
  must(o.page_min == 0 || is_size(o.page_min, page_bytes_min, page_bytes_max, page_bytes_min), "page-min is in bounds");
  must(o.region_size == 0 || is_size(o.region_size, layout_align, 16 * TiB, layout_align), "region-size is in bounds");
  must(o.region_size == 0 || o.region_size >= o.page_min, "a region has a page");
  must(o.pool_size == 0 || o.pool_size >= std::max(o.region_size, o.page_min), "a pool has a region");
  must(is_size(o.rocksdb_write_buffer, MiB, 4 * GiB, 1), "rocksdb-write-buffer is in bounds");
  must(is_size(o.rocksdb_block_cache, MiB, 64 * GiB, 1), "rocksdb-block-cache is in bounds");
}

void hold_numbers(const marud_options& o) {
  must(o.pool_mode <= 0777 && (o.pool_mode & 0600) == 0600, "the owner can read and write the pool");
  must(o.connections_max >= 1 && o.connections_max <= 65535, "connections-max is in bounds");
  must(o.shards <= 64, "shards is in bounds");
  must(o.reserve_pages >= -1 && o.reserve_pages <= 1 << 30, "reserve-pages is in bounds");
  must(o.grants_max >= 1 && o.grants_max <= 1 << 20, "grants-max is in bounds");
  must(o.pins_max >= 1 && o.pins_max <= bounds::pins_max, "pins-max is in bounds");
  must(o.sessions_max >= 1 && o.sessions_max <= 65535, "sessions-max is in bounds");
  must(o.lease_ms >= 500 && o.lease_ms <= 600000, "lease-ms is in bounds");
  must(o.resume_grace_ms >= 100 && o.resume_grace_ms <= 3600000, "resume-grace-ms is in bounds");
}

void hold_words(const marud_options& o) {
  must(!o.pool.empty() && !o.state_dir.empty(), "pool and state-dir have a path");
  must(is_one_of(o.prefault, {"off", "background", "start"}), "prefault is one of its words");
  must(is_one_of(o.durability, {"process", "host"}), "durability is one of its words");
  must(is_one_of(o.on_damage, {"stop", "start-empty"}), "on-damage is one of its words");
  must(is_one_of(o.eviction, {"lru"}), "eviction is one of its words");
  must(is_one_of(o.log_level, {"trace", "debug", "info", "warn", "error", "off"}), "log-level is one of its words");
  must(is_one_of(o.log_format, {"text", "json"}), "log-format is one of its words");
  auto http = parse_host_port(o.http);
  must(bool{http}, "http has an address");
  must(o.insecure_http || is_loopback(http->host), "http is not beyond loopback unless it is asked to");
  auto doors = parse_server_addresses(o.listen);
  must(doors && !doors->empty(), "there is a door");
  bool tls = !o.tls_cert.empty();
  must(tls == !o.tls_key.empty() && tls == !o.tls_ca.empty(), "the files of TLS come together");
  for (const auto& door : *doors)
    must(door.local() || tls || o.insecure_bind, "no door is open beyond loopback unless it is asked to");
}

}  // namespace

void try_input(std::string_view bytes) {
  std::vector<std::string> pieces(1);
  for (char c : bytes)
    c == '\0' ? (void)pieces.emplace_back() : pieces.back().push_back(c);
  std::vector<std::string> arguments = {"marud"};
  if (!pieces[0].empty())
    arguments.push_back("--config=" + configuration(pieces[0]));
  // Another file than this one could be a device that never ends.
  std::copy_if(pieces.begin() + 1, pieces.end(), std::back_inserter(arguments),
               [](const auto& text) { return !text.starts_with("--config"); });
  std::vector<const char*> argv;
  for (const auto& text : arguments)
    argv.push_back(text.c_str());
  auto parsed = parse_marud_options(static_cast<int>(argv.size()), argv.data());
  if (!parsed) {
    must(parsed.code() == ec::bad_option && parsed.error().message.starts_with("failed to "),
         "a refusal is a sentence");
    return;
  }
  must(parsed->show_only == !parsed->text.empty(), "what is only shown has a text");
  hold_sizes(parsed->options);
  hold_numbers(parsed->options);
  hold_words(parsed->options);
}

}  // namespace maru::fuzz
