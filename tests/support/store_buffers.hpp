// Memory as processors have it: one value a word, and a buffer in each processor from which its stores reach it later.
#pragma once

#include "tests/support/model_memory.hpp"

namespace maru::test {

// A load sees the newest store to its word in its own buffer, else memory. A full fence waits for an empty buffer.
//   x86: total store order (P. Sewell et al., "x86-TSO", 2010). Stores drain in order, at any time; one with seq_cst
//        order (XCHG, or MOV and MFENCE) is in memory before its thread goes on.
//   arm: stores to different words drain in any order; one with release or seq_cst order (STLR) after all before it. A
//        load with seq_cst order (LDAR) waits for the seq_cst stores before it, other loads do not.
// Limit: loads are done in the order of the program. Those of Arm may be earlier; message_views has that.
class store_buffers final : public model_memory {
public:
  enum class machine : std::uint8_t { x86, arm };
  store_buffers(machine m, const model_program& program);

  std::unique_ptr<model_memory> copy() const override { return std::make_unique<store_buffers>(*this); }
  std::size_t ways(std::uint32_t thread, const operation& op) const override;
  std::uint64_t perform(std::uint32_t thread, const operation& op, std::size_t way) override;
  std::vector<std::size_t> stores_to_drain(std::uint32_t thread) const override;
  std::pair<std::uint32_t, std::uint64_t> drain(std::uint32_t thread, std::size_t store) override;
  bool quiet(std::uint32_t thread) const override { return buffers_[thread].empty(); }
  void learn_all(std::uint32_t, std::uint32_t) override {}
  const char* fault() const override { return nullptr; }
  std::uint64_t last(std::uint32_t word) const override { return memory_[word]; }
  void append_to(std::string& key) const override;

private:
  struct store {
    std::uint32_t word;
    std::uint64_t value;
    std::memory_order order;
  };
  std::uint64_t seen(std::uint32_t thread, std::uint32_t word) const;

  machine machine_;
  std::vector<std::uint64_t> memory_;
  std::vector<std::vector<store>> buffers_;  // by thread, oldest first
};

}  // namespace maru::test
