#include "tests/support/store_buffers.hpp"

#include <algorithm>

namespace maru::test {

store_buffers::store_buffers(machine m, const model_program& program) : machine_(m), buffers_(program.threads()) {
  for (const auto& word : program.words())
    memory_.push_back(word.first);
}

std::uint64_t store_buffers::seen(std::uint32_t thread, std::uint32_t word) const {
  const auto& own = buffers_[thread];
  auto newest = std::find_if(own.rbegin(), own.rend(), [&](const store& s) { return s.word == word; });
  return newest == own.rend() ? memory_[word] : newest->value;
}

std::size_t store_buffers::ways(std::uint32_t thread, const operation& op) const {
  const auto& own = buffers_[thread];
  bool total_order = op.order == std::memory_order_seq_cst;
  switch (op.what) {
    case operation::kind::load:
      return !total_order || machine_ == machine::x86 || std::none_of(own.begin(), own.end(), [](const store& s) {
        return s.order == std::memory_order_seq_cst;
      });
    case operation::kind::store: return !total_order || machine_ == machine::arm || own.empty();
    case operation::kind::fence: return !total_order || own.empty();
    default: return seen(thread, op.target) == op.value;  // wait_until
  }
}

std::uint64_t store_buffers::perform(std::uint32_t thread, const operation& op, std::size_t) {
  if (op.what == operation::kind::load)
    return seen(thread, op.target);
  if (op.what != operation::kind::store)
    return 0;
  if (op.order == std::memory_order_seq_cst && machine_ == machine::x86)
    memory_[op.target] = op.value;
  else
    buffers_[thread].push_back({op.target, op.value, op.order});
  return 0;
}

std::vector<std::size_t> store_buffers::stores_to_drain(std::uint32_t thread) const {
  const auto& own = buffers_[thread];
  if (own.empty())
    return {};
  std::vector<std::size_t> out{0};
  if (machine_ == machine::arm)
    for (std::size_t i = 1; i < own.size(); ++i)
      if (own[i].order == std::memory_order_relaxed
          && std::none_of(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(i),
                          [&](const store& s) { return s.word == own[i].word; }))
        out.push_back(i);
  return out;
}

std::pair<std::uint32_t, std::uint64_t> store_buffers::drain(std::uint32_t thread, std::size_t i) {
  auto at = buffers_[thread].begin() + static_cast<std::ptrdiff_t>(i);
  auto [word, value, order] = *at;
  buffers_[thread].erase(at);
  memory_[word] = value;
  return {word, value};
}

void store_buffers::append_to(std::string& key) const {
  for (auto value : memory_)
    append_number(key, value);
  for (const auto& own : buffers_) {
    append_number(key, static_cast<std::uint8_t>(own.size()));
    for (const auto& [word, value, order] : own) {
      append_number(key, static_cast<std::uint8_t>(word));
      append_number(key, value);
      append_number(key, static_cast<std::uint8_t>(order));
    }
  }
}

}  // namespace maru::test
