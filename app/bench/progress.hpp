// How far a run is, on standard error: a bar that redraws itself on a terminal, else a line per tenth.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace maru::bench {

class progress {
public:
  progress(std::string what, std::uint64_t total);
  // Ends the bar's line.
  ~progress();
  progress(const progress&) = delete;

  // `note` stands behind the numbers.
  void update(std::uint64_t done, const std::string& note = {});

private:
  std::string what_;
  std::uint64_t total_;
  bool terminal_;
  int last_tenth_ = 0;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace maru::bench
