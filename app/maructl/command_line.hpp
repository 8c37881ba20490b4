// maructl's command line.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/token_file.hpp"
#include "net/tls_options.hpp"

namespace maru::ctl {

enum class verb {
  status,
  stat,
  ls,
  get,
  put,
  rm,
  pin,
  unpin,
  evict,
  sessions,
  check,
  top,
  log_level,
  end_session,
  device_status,
  device_add,
  device_drain,
  device_remove,
  device_list,
  device_probe,
  device_format,
};

struct command {
  verb what = verb::status;
  std::string server = "127.0.0.1:5555";
  token_source token;
  tls_options tls;
  bool json = false;
  std::chrono::milliseconds timeout{5000};
  std::vector<std::string> keys;  // bytes; one for stat, get and put
  std::string prefix;             // bytes
  std::uint64_t limit = 1000;     // 0: all
  std::uint64_t bytes = 0;
  std::chrono::milliseconds interval{1000};  // between samples of top
  bool once = false, no_colour = false, ascii = false;
  std::string level;          // empty: tell it
  std::string device;         // PATH[,size=SIZE][,node=N]
  bool yes = false;           // format: what is there may be destroyed
  bool no_wait = false;       // drain: do not wait until it is done
  std::uint64_t session = 0;  // to be ended
};

struct parsed_command {
  command what;
  bool show_only = false;  // --help or --version: print `text` and end with 0
  std::string text;
};

// Reads the command line and the token file. `bad_option`: a sentence that names what is wrong.
result<parsed_command> parse_command(int argc, const char* const* argv);

}  // namespace maru::ctl
