// Runs a model_program through every interleaving of its threads' steps, of the stores that reach memory meanwhile, of
// what loads may read, and of kills.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/model_memory.hpp"
#include "tests/support/model_program.hpp"

namespace maru::test {

// What is there when no thread can go on.
struct ending {
  std::vector<std::uint64_t> values;  // of all words, ghosts too
  std::uint64_t operator[](model_word word) const { return values[word.id]; }
};

struct findings {
  std::string violation;           // the first claim that did not hold, of which `trace` is a shortest way; empty: none
  std::vector<std::string> trace;  // a line a step
  std::size_t states = 0;          // different ones
  double executions = 0;           // whole ones, each another sequence of steps; beyond 2^53 not exact
  std::vector<ending> endings;     // each once

  // Whether some execution ended so.
  bool some(const std::function<bool(const ending&)>& so) const;
};

// Breadth first, to the first violation or through all. Two executions that lead to the same state (of memory, and what
// each thread has read) go on as one, and are counted as two.
// REQUIRES: each thread ends after a bounded number of steps, so that states get different depths and no state comes back.
findings explore(model_program& program, const model_memory& start);

}  // namespace maru::test
