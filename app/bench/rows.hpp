// The rows of a benchmark of key-value operations: what was measured on which system, as JSON and as a table.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace maru::bench {

struct row {
  std::string system;    // maru, redis, memcached, caf
  std::string op;        // lookup, exists, pin+unpin, put, ...
  unsigned batch = 1;    // keys in one request (or one pipeline)
  unsigned clients = 1;  // processes, one request outstanding each
  double seconds = 0;    // measured
  double ops_per_s = 0;  // batches
  double keys_per_s = 0;
  double p50_us = 0, p99_us = 0, p999_us = 0;  // of a batch
  double cpu_s_per_mkeys = 0;                  // of the server; 0: not measured
  std::uint64_t errors = 0;
  std::map<std::string, double> extra;  // what only this row has
};

// Writes a JSON list, one row a line; with `append` behind the rows that the file has already.
status write_rows(const std::string& path, const std::vector<row>& rows, bool append);
result<std::vector<row>> read_rows(const std::string& path);

std::string table_of(const std::vector<row>& rows);

// What Maru promises, held against the rows that are there: one line a target, with "met" or "MISSED". A target
// without its rows is left out.
std::string targets_of(const std::vector<row>& rows);

}  // namespace maru::bench
