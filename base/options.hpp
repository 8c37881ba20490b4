// marud's options. Each is declared once, in options.cpp: name, help, default, bounds. The command line, the
// configuration file (--config, TOML) and `--help` all come from that one table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bounds.hpp"
#include "base/error.hpp"

namespace maru {

struct marud_options {
  // pool
  std::string pool = "/dev/shm/maru/pool";
  std::string devices;          // further ones, see parse_device_specs
  std::string without_devices;  // paths with semicolons between them
  std::int32_t numa_node = -1;  // of the pool's file; -1: wherever the kernel takes it
  std::string lock_dir;
  std::uint64_t pool_size = 0;  // bytes; 0: an existing pool's size, 256 MiB for a new one
  std::uint64_t page_min = 0;   // bytes; 0: an existing pool's, 64 KiB for a new one
  std::uint64_t region_size = 0;
  std::uint32_t pool_mode = 0600;
  std::string pool_group;
  std::string visibility = "hardware";
  bool format = false;
  std::string prefault = "background";
  // state
  std::string state_dir = "/var/lib/maru";
  std::string durability = "process";
  std::string payload_checksums = "off";
  std::string on_damage = "stop";
  bool rebuild = false;
  std::uint64_t rocksdb_write_buffer = 16 * bounds::MiB;
  std::uint64_t rocksdb_block_cache = 16 * bounds::MiB;
  // doors
  std::string listen = "127.0.0.1:5555";  // addresses with commas between them, see server_address.hpp
  std::uint32_t socket_mode = 0600;
  std::string socket_group;  // name or number
  std::string allow_uids;    // names or numbers with commas between them; empty, and no allow_gids: everybody
  std::string allow_gids;
  std::string http = "127.0.0.1:9555";
  bool insecure_bind = false;
  bool insecure_http = false;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_ca;
  std::string token_file;
  std::uint32_t connections_max = 1024;
  std::uint32_t connections_per_peer = 512;
  bool other_hosts = false;
  // behaviour
  std::uint32_t shards = 0;
  std::int64_t reserve_pages = -1;  // -1: follows the demand
  std::string eviction = "lru";
  std::uint32_t grants_max = bounds::grants_max;
  std::uint32_t pins_max = bounds::pins_max;
  std::uint32_t sessions_max = bounds::sessions_max;
  std::uint32_t lease_ms = 10000;
  std::uint32_t resume_grace_ms = 30000;
  std::uint32_t pin_age_max_ms = 0;  // 0: pins by key stay as long as their session
  std::string log_level = "info";
  std::string log_format = "text";
};

// One row for documents and checks: what --help says of an option, and what it takes.
struct option_row {
  std::string name;  // without dashes, as in the configuration file
  std::string help;
  std::string default_value;
  std::string environment;  // the variable that sets it too; empty: none
  bool several = false;     // a list: may be given more than once
  std::string group;
  std::string accepts;  // "a number from 1 to 65535"; empty: any text
};

struct parsed_options {
  marud_options options;
  bool show_only = false;  // --help or --version: print `text` and end with 0
  std::string text;
};

// Reads a command line, the environment variables of options that have one, and the file that --config names; the first
// that has an option wins. `bad_option` with a sentence that names the option and what it takes.
result<parsed_options> parse_marud_options(int argc, const char* const* argv);

// Names of the options whose values differ, in the order of --help.
std::vector<std::string> differing_options(const marud_options& a, const marud_options& b);

// All options, in the order of --help.
std::vector<option_row> marud_option_rows();

}  // namespace maru
