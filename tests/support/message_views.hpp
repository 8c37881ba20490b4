// Memory as C++20's memory model has it: all values that a word had stay, and a load may read any of them that the
// thread does not know to be over.
#pragma once

#include "tests/support/model_memory.hpp"

namespace maru::test {

// Each thread has a view: for each word the newest store that it knows of. A store with release order carries its
// thread's view, a load with acquire order takes on that of the store it reads; fences do the same for relaxed stores
// before, and relaxed loads after them. A further view is that of the total order of seq_cst operations: a fence joins it
// with its thread's in both directions, a store enters itself, a load reads nothing older than it has (the model of
// J. Kang et al., "A promising semantics for relaxed-memory concurrency", POPL 2017, without promises, with the seq_cst
// accesses of C++20). Nothing is assumed of processors: stores need not reach all threads at the same time, and relaxed
// loads are done as early as one likes.
// Plain words: reading one without knowing of its newest store, or writing it without knowing of that and of all reads, is
// a race, and a fault. This is how a load is found that a later store of its own thread could overtake.
// Limits: a store is the newest of its word at once, so each word wants one writer at a time; of the loads that read
// what is stored because of them (load buffering) only races are found.
class message_views final : public model_memory {
public:
  explicit message_views(const model_program& program);

  std::unique_ptr<model_memory> copy() const override { return std::make_unique<message_views>(*this); }
  std::size_t ways(std::uint32_t thread, const operation& op) const override;
  std::uint64_t perform(std::uint32_t thread, const operation& op, std::size_t way) override;
  std::vector<std::size_t> stores_to_drain(std::uint32_t) const override { return {}; }
  std::pair<std::uint32_t, std::uint64_t> drain(std::uint32_t, std::size_t) override { return {}; }
  bool quiet(std::uint32_t) const override { return true; }
  void learn_all(std::uint32_t thread, std::uint32_t of) override { join(threads_[thread].now, threads_[of].now); }
  const char* fault() const override { return fault_; }
  std::uint64_t last(std::uint32_t word) const override { return stores_[word].back().value; }
  void append_to(std::string& key) const override;

private:
  // By word: the number of the newest store. Then by thread and plain word: how many of its reads.
  using view = std::vector<std::uint8_t>;
  struct store {
    std::uint64_t value;
    view released;
  };
  struct thread_views {
    view now;
    view at_acquire_fence;  // what relaxed loads have read of
    view at_release_fence;  // what relaxed stores carry
  };
  static void join(view& to, const view& from);
  std::size_t read_count(std::uint32_t thread, std::uint32_t word) const { return (thread + 1) * plain_.size() + word; }
  // The numbers of the stores that the operation may read.
  std::vector<std::uint8_t> readable(std::uint32_t thread, const operation& op) const;
  std::uint64_t read(std::uint32_t thread, const operation& op, std::uint8_t number);
  void write(std::uint32_t thread, const operation& op);
  void fence(std::uint32_t thread, std::memory_order order);

  std::vector<bool> plain_;                 // by word
  std::vector<std::vector<store>> stores_;  // by word, oldest first
  std::vector<thread_views> threads_;
  view total_order_;  // of seq_cst operations; has no plain words
  const char* fault_ = nullptr;
};

}  // namespace maru::test
