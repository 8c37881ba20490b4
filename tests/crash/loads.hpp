// What the fault tests share: load workers and what they say of themselves, and what can be seen of marud from outside.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cxl/device.hpp"
#include "net/admin.hpp"
#include "tests/actors/samples.hpp"
#include "tests/support/random_run.hpp"
#include "tests/system/process.hpp"

namespace maru::test {

using actors::test::random_source;

// A load worker's log, read so far.
struct load_report {
  bool armed = false;
  std::set<std::string> kept;                 // acknowledged, and never about to be removed
  std::vector<std::string> sessions;          // in the order it had them
  std::vector<std::string> wrong;             // keys whose bytes were not theirs
  std::map<std::string, std::size_t> failed;  // "what code" -> how often
};

// A load_worker process and its log file.
class load_worker {
public:
  load_worker(const marud& m, std::string name, std::uint64_t seed, const std::string& folder, int pause_ms = 10);
  const std::string& name() const { return name_; }
  load_report report() const;
  process& body() { return process_; }

private:
  std::string name_, log_;
  process process_;
};

// Looks at one marud from outside: asks as an operator over one connection, and reads the pool's descriptors.
class observer {
public:
  explicit observer(const marud& m);
  // Null when marud does not answer.
  nlohmann::json ask(const std::string& verb, const nlohmann::json& arguments = nlohmann::json::object());
  // The session of this instance, if marud knows one.
  std::optional<std::uint64_t> session_of(const std::string& instance);
  // Pins on an entry, as its shard counts them; -1 when there is no such entry.
  int pins_on(const std::string& key);
  // Pages that the pool itself says are granted to the session, or quarantined for it.
  std::size_t pages_of(std::uint64_t session);
  // What is wrong with an idle pool: pins, granted, quarantined or lost pages; empty: nothing.
  std::string unaccounted();

private:
  std::string address_;
  std::optional<net::admin> admin_;
  std::unique_ptr<cxl::device> metadata_;
  cxl::mapping map_;
};

// What a process uses that a leak makes grow.
struct usage {
  std::uint64_t heap_bytes = 0;  // resident anonymous memory
  std::size_t descriptors = 0;   // open files but RocksDB's, which have a bound of their own
};
usage usage_of(pid_t pid);
std::size_t lock_files_of(const marud& m);

// Of measured times: "p50 1.2 ms, p99 ...".
class distribution {
public:
  void add(double ms) { values_.push_back(ms); }
  std::size_t size() const { return values_.size(); }
  double at(double part) const;  // 0.5: the median; 1: the largest
  std::string text() const;

private:
  std::vector<double> values_;
};

}  // namespace maru::test
