// The rows of a benchmark of key-value operations: what was measured on which system, as JSON and as a table.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace maru::bench {

struct row {
  std::string system;    // maru, redis, memcached, caf; of maru-bench local see there
  std::string op;        // lookup, exists, pin+unpin, put, ...
  unsigned batch = 1;    // keys in one request (or one pipeline)
  unsigned clients = 1;  // processes, one request outstanding each; threads where `local` measured
  bool hot = false;      // keys of a small set, which caches hold; else any of all
  bool writer = false;   // another process commits new keys meanwhile, and the pool evicts
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

// A line about one promise: what it is about, what was measured, and "met" or "MISSED".
std::string target_line(const std::string& what, const std::string& value, bool met);

// What Maru promises, held against the rows that are there: one line a target. A target without its
// rows is left out.
std::string targets_of(const std::vector<row>& rows);

}  // namespace maru::bench
