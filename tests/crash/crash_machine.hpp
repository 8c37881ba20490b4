// marud, four workers that work at random, and the check of everything that was acknowledged to them. The tests decide
// when marud dies.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/crash/board.hpp"
#include "tests/system/process.hpp"

namespace maru::test {

// Options of marud and what may be expected of it.
struct crash_pool {
  std::vector<std::string> options;
  bool evicts;  // a missing key is no failure
};

// All keys, with room to spare: nothing is ever evicted.
inline const crash_pool keeps_all{{"--pool-size=128MiB"}, false};
// A third of the keys.
inline const crash_pool keeps_some{{"--pool-size=24MiB", "--shards=2"}, true};

// Concurrency: one thread.
class crash_machine {
public:
  crash_machine(std::uint64_t seed, crash_pool pool);

  // SIGKILL, now.
  void kill();
  // Starts marud again, with MARU_KILL_POINT as given; false when it was not ready in time, or died.
  bool start(const std::string& kill_point = {});
  // True when marud died of SIGKILL by itself before the deadline.
  bool died(std::chrono::milliseconds deadline);

  // True when the workers have put so many keys, all together, before long.
  bool worked(std::uint64_t keys);
  // Has the workers stand still, reads all keys of the board, audits, has the workers go on. Problems, one a line; empty
  // when everything is as it was acknowledged. REQUIRES: marud runs.
  std::string check();
  // Starts marud and does the same with the workers stopped where its death met them: before they ask again for what they
  // had no answer to, and so put right what recovery did wrong. REQUIRES: marud is dead.
  std::string start_and_check_before_workers();
  // What workers have found wrong.
  std::string complaints();
  // Ends the workers; nothing may be held after them. REQUIRES: marud runs.
  std::string finish();
  // What was done, for people.
  std::string report(std::uint64_t rounds);
  const std::string& log() const { return marud_.log(); }

private:
  std::string pause();
  void go();
  std::string check_all();
  std::string check_keys();
  std::string check_slots(client& c, const std::vector<std::pair<std::uint32_t, std::uint64_t>>& keys);

  temp_folder folder_;
  crash_pool pool_;
  board board_;
  marud marud_;
  std::vector<process> workers_;
  std::uint64_t kills_ = 0, checks_ = 0, keys_checked_ = 0;
};

}  // namespace maru::test
