// Processes of a system test: marud on a pool of its own, and workers that do what they are told line by line.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "net/client.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/system/content.hpp"

namespace maru::test {

using namespace std::chrono_literals;

// True as soon as `condition` is, false when it is not before the deadline.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds deadline = 10s);

// A child with its standard input and output on pipes. Killed when it goes.
class process {
public:
  process() = default;
  explicit process(const std::vector<std::string>& arguments);
  process(process&& other) noexcept;
  process& operator=(process&& other) noexcept;
  ~process();

  void say(const std::string& line);
  // The next line of output; empty at its end or after the deadline.
  std::string hear(std::chrono::milliseconds deadline = 10s);
  void signal(int number) const;
  // Exit code, or -1 for a signal or when it did not end before the deadline.
  int wait(std::chrono::milliseconds deadline = 10s);
  // The signal that ended it: 0 when it exited, -1 when it did not end before the deadline.
  int wait_signal(std::chrono::milliseconds deadline = 10s);
  // The end of its input.
  void hang_up();
  pid_t pid() const { return pid_; }

private:
  std::optional<int> ended(std::chrono::milliseconds deadline);

  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  std::string heard_;
};

// A worker process: see worker.cpp for its commands. `ask` says a line and returns the answer.
class worker {
public:
  explicit worker(const std::string& server, std::uint64_t chunk_bytes = 4096);
  std::string ask(const std::string& line);
  process& body() { return process_; }

private:
  process process_;
};

// A port of loopback that is this object's for its life: bound, so that no other program is given it, and not listened
// on, so that one that asks for it by number (with SO_REUSEADDR, as servers do) may.
class reserved_port {
public:
  reserved_port();
  std::uint16_t number() const { return number_; }

private:
  unique_fd socket_;
  std::uint16_t number_ = 0;
};

// marud on a pool in a temporary folder.
class marud {
public:
  explicit marud(std::vector<std::string> options = {});
  ~marud();
  // Starts it (again) on the same pool, state and port; false when it was not ready in time.
  // `more`: options for this time only.
  bool start(const std::vector<std::string>& more = {});
  int stop();        // SIGTERM; its exit code
  void kill_hard();  // SIGKILL
  process& body() { return process_; }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_.number()); }
  std::shared_ptr<client> open(client_options options = {});
  // An operator's question; null when nobody answers.
  nlohmann::json ask(const std::string& verb, const nlohmann::json& arguments = nlohmann::json::object());
  // The value of a metric, as /metrics writes it: metric("maru_pins"); empty where there is none.
  std::string metric(const std::string& name) const;
  // Problems that the audit finds, one a line; empty when the pool is clean.
  std::string audit();
  const std::string& log() const { return log_; }
  std::string pool() const { return folder_ / "pool"; }
  std::string state() const { return folder_ / "state"; }
  std::vector<std::string> command() const;

private:
  temp_folder folder_;
  std::vector<std::string> options_;
  process process_;
  reserved_port port_;
  std::string log_;
};

// Pages of the pool that are in this state, by marud's status.
std::uint64_t pages(marud& m, const char* state);

// Puts 3000 chunks of 4 KiB into a pool of fewer pages, so that everything goes that may; false where a put failed, or not
// more than 1000 entries were evicted.
bool evict_all(marud& m);

// Puts the right content under a key.
status put(client& c, const std::string& key, std::size_t size = 4096);
// "ok", "missing", "wrong", or the name of an error.
std::string read_back(client& c, const std::string& key, std::size_t size = 4096);

}  // namespace maru::test
