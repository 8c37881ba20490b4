// The floor under every number of `rpc`: a request and its reply between two processes through the same transport, with
// nothing behind it. The request is as large as a lookup of one key.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "app/bench/rows.hpp"
#include "base/error.hpp"

namespace maru::bench {

// Starts server and client processes; a row for each way to wait: `echo-scoped` (a blocking CAF actor) and
// `echo-companion` (a thread that the I/O thread wakes, as in the client library). The faster one is the baseline.
result<std::vector<row>> measure_echo(std::chrono::milliseconds time);

int run_echo_server(const std::string& job);
int run_echo_client(const std::string& job);

}  // namespace maru::bench
