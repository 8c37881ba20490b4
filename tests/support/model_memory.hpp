// The memory under a model_program: what its operations may read at the moment, and what happens in it without them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/model_program.hpp"

namespace maru::test {

// One state of the memory. Ghost words are not in it.
class model_memory {
public:
  virtual ~model_memory() = default;
  virtual std::unique_ptr<model_memory> copy() const = 0;

  // In how many ways the operation (no end, wait_for_end or broken one) can be done now; 0: the thread has to wait.
  virtual std::size_t ways(std::uint32_t thread, const operation& op) const = 0;
  // Does it; returns what it read, else 0. REQUIRES: way < ways(thread, op).
  virtual std::uint64_t perform(std::uint32_t thread, const operation& op, std::size_t way) = 0;

  // The thread's stores that may reach the others now, and one of them that does; returns its word and value.
  virtual std::vector<std::size_t> stores_to_drain(std::uint32_t thread) const = 0;
  virtual std::pair<std::uint32_t, std::uint64_t> drain(std::uint32_t thread, std::size_t store) = 0;

  // Whether all stores of the thread have reached the others; and that `thread` learns of it all, from its end.
  virtual bool quiet(std::uint32_t thread) const = 0;
  virtual void learn_all(std::uint32_t thread, std::uint32_t of) = 0;

  // What is wrong with the program by itself, such as a race; null: nothing.
  virtual const char* fault() const = 0;

  // The word as it is in the end.
  virtual std::uint64_t last(std::uint32_t word) const = 0;
  // Appends bytes that are the same for equal states only.
  virtual void append_to(std::string& key) const = 0;
};

// Appends a number's bytes.
template <class Number>
void append_number(std::string& key, Number n) {
  key.append(reinterpret_cast<const char*>(&n), sizeof n);
}

}  // namespace maru::test
