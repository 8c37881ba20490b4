// One cell of a benchmark: an operation, a batch size, a number of client processes. The parent starts the processes,
// tells them what to do step by step, and adds up what they counted in shared memory.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "app/bench/child_process.hpp"
#include "app/bench/histogram.hpp"
#include "app/bench/rows.hpp"
#include "app/bench/shared_memory.hpp"

namespace maru::bench {

inline constexpr unsigned cell_clients_max = 16;
inline constexpr std::size_t cell_seconds_max = 120;
inline constexpr std::size_t key_bytes = 60;

// What one client process is to do. Travels on its command line.
struct cell_job {
  std::string system;  // maru, redis, memcached
  std::string op;      // lookup, lookup-any (misses are no errors), exists, pin+unpin, put
  std::string server;  // HOST:PORT or unix:/PATH
  unsigned batch = 1;
  unsigned index = 0;            // of this client
  std::uint64_t keys = 0;        // reads choose among keys 0 ... keys - 1; a put starts behind them
  std::uint64_t round_keys = 0;  // keys that a client puts in one step
  std::uint64_t value_bytes = 0;
  std::uint64_t rate = 0;  // keys a second at most that a client puts; 0: as fast as it can
};
std::string to_text(const cell_job& job);
result<cell_job> read_cell_job(const std::string& text);

enum class command : std::uint32_t {
  none,
  fill,     // put this client's share of the keys that reads choose among, once
  warm,     // the operation until halt; counts nothing
  measure,  // the operation until halt (puts: or until round_keys are put)
  remove,   // remove what the last put step put
  stop,
};

struct cell_control {
  std::atomic<std::uint64_t> step;  // +1 with every command
  std::atomic<std::uint32_t> what;  // a command
  std::atomic<std::uint32_t> halt;  // 1: end the step now
};

// Written by one client. `step_done` last.
struct cell_client {
  std::atomic<std::uint64_t> step_done;
  std::atomic<std::uint64_t> keys;  // completed in measured steps
  std::atomic<std::uint64_t> errors;
  std::uint64_t begin_ns, end_ns;                           // of the last step, CLOCK_MONOTONIC
  std::atomic<std::uint32_t> per_second[cell_seconds_max];  // keys completed in each second of a measured step
  histogram latency;                                        // of batches
  char problem[256];                                        // the first error, as text
};

// Parent side. Operation: `start`, then `run_step` for each command, then `finish`.
class cell {
public:
  // How to start client number `index`: program and arguments; the descriptor is filled in.
  using starter = std::function<child_options(unsigned index)>;

  static result<cell> start(unsigned clients, const starter& how);
  // Gives the command and waits until all are done; `limit` is when `halt` is set. The wall time from the first begin
  // to the last end, in seconds.
  result<double> run_step(command what, std::chrono::milliseconds limit);
  // The two halves of it, for a parent that does something meanwhile.
  void begin_step(command what);
  result<double> end_step(std::chrono::milliseconds limit);
  status finish();

  unsigned clients() const { return static_cast<unsigned>(children_.size()); }
  const cell_client& client(unsigned index) const;
  std::uint64_t keys() const;
  std::uint64_t errors() const;
  histogram latency() const;
  // The first problem that a client reported, or empty.
  std::string problem() const;

private:
  cell_control& control() const { return memory_.at<cell_control>(0); }
  bool all_done(std::uint64_t step) const;
  status check_children();

  shared_memory memory_;
  std::vector<child_process> children_;
};

// Bytes of the shared memory and where client `index` has its part.
std::size_t cell_memory_bytes(unsigned clients);
std::size_t cell_client_offset(unsigned index);

struct measurement {
  std::chrono::milliseconds warm_up{300};
  std::chrono::milliseconds time{2000};
  bool rounds = false;  // put steps with a remove step between them, until `time` is spent on puts
  pid_t server = -1;    // whose CPU time is counted
};
// Runs the measured part of a started cell. The row has neither system, op, nor batch yet.
result<row> measure(cell& c, const measurement& m);

}  // namespace maru::bench
