// `maru-bench rpc`: what a message costs. Client processes call one operation in a loop, one request outstanding each,
// on keys of 60 bytes; payload bytes are never touched.
#pragma once

#include <cstdint>
#include <string>

namespace maru::bench {

struct rpc_options {
  std::uint64_t keys = 100'000;
  double seconds = 2;
  std::string only;                    // one operation; empty: all
  std::string durability = "process";  // of the server; its rows are called maru-host with "host"
  std::string json_path;
  bool append = false;
};

// Exit codes of the process: 0 good, 1 errors, 2 could not run.
int run_rpc(const rpc_options& options);
// Prints table and targets of a JSON file, those of local reads where it has such rows. 0: all that could be judged are
// met, 1: one is missed.
int print_targets(const std::string& json_path);

}  // namespace maru::bench
