#include "tests/support/message_views.hpp"

#include <algorithm>

namespace maru::test {

message_views::message_views(const model_program& program) {
  for (const auto& word : program.words())
    plain_.push_back(word.kind == model_program::word_kind::plain);
  view nothing(plain_.size() * (program.threads() + 1));
  for (const auto& word : program.words())
    stores_.push_back({{word.first, nothing}});
  threads_.assign(program.threads(), {nothing, nothing, nothing});
  total_order_ = nothing;
}

void message_views::join(view& to, const view& from) {
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = std::max(to[i], from[i]);
}

std::vector<std::uint8_t> message_views::readable(std::uint32_t thread, const operation& op) const {
  const auto& all = stores_[op.target];
  auto newest = static_cast<std::uint8_t>(all.size() - 1);
  if (plain_[op.target])
    return {newest};  // or it is a race
  auto oldest = threads_[thread].now[op.target];
  if (op.order == std::memory_order_seq_cst)
    oldest = std::max(oldest, total_order_[op.target]);
  std::vector<std::uint8_t> out;
  for (unsigned n = oldest; n <= newest; ++n)
    if (op.what == operation::kind::load || all[n].value == op.value)
      out.push_back(static_cast<std::uint8_t>(n));
  return out;
}

std::size_t message_views::ways(std::uint32_t thread, const operation& op) const {
  return op.what == operation::kind::load || op.what == operation::kind::wait_until ? readable(thread, op).size() : 1;
}

std::uint64_t message_views::perform(std::uint32_t thread, const operation& op, std::size_t way) {
  switch (op.what) {
    case operation::kind::store: write(thread, op); return 0;
    case operation::kind::fence: fence(thread, op.order); return 0;
    default: {
      auto value = read(thread, op, readable(thread, op)[way]);
      return op.what == operation::kind::load ? value : 0;
    }
  }
}

std::uint64_t message_views::read(std::uint32_t thread, const operation& op, std::uint8_t number) {
  auto& own = threads_[thread];
  const auto& from = stores_[op.target][number];
  if (plain_[op.target]) {
    if (own.now[op.target] != number)
      fault_ = "a race: bytes are read while they may be written";
    ++own.now[read_count(thread, op.target)];
    return from.value;
  }
  own.now[op.target] = number;
  if (op.order == std::memory_order_relaxed)
    join(own.at_acquire_fence, from.released);
  else
    join(own.now, from.released);
  if (op.order == std::memory_order_seq_cst)
    total_order_[op.target] = std::max(total_order_[op.target], number);
  return from.value;
}

void message_views::write(std::uint32_t thread, const operation& op) {
  auto& own = threads_[thread];
  auto& all = stores_[op.target];
  if (plain_[op.target]) {
    bool known = own.now[op.target] == all.size() - 1;
    for (std::uint32_t other = 0; other < threads_.size(); ++other) {
      auto reads = read_count(other, op.target);
      known = known && own.now[reads] == threads_[other].now[reads];
    }
    if (!known)
      fault_ = "a race: bytes are written while they may be read or written";
  }
  auto number = static_cast<std::uint8_t>(all.size());
  own.now[op.target] = number;
  all.push_back({op.value, op.order == std::memory_order_relaxed ? own.at_release_fence : own.now});
  all.back().released[op.target] = number;
  if (op.order == std::memory_order_seq_cst)
    total_order_[op.target] = number;
}

void message_views::fence(std::uint32_t thread, std::memory_order order) {
  auto& own = threads_[thread];
  join(own.now, own.at_acquire_fence);
  if (order != std::memory_order_seq_cst)
    return;
  join(own.now, total_order_);
  for (std::size_t word = 0; word < plain_.size(); ++word)
    if (!plain_[word])
      total_order_[word] = own.now[word];
  own.at_release_fence = own.now;
}

void message_views::append_to(std::string& key) const {
  auto append = [&key](const view& v) { key.append(reinterpret_cast<const char*>(v.data()), v.size()); };
  for (const auto& all : stores_) {
    append_number(key, static_cast<std::uint8_t>(all.size()));
    for (const auto& s : all) {
      append_number(key, s.value);
      append(s.released);
    }
  }
  for (const auto& own : threads_) {
    append(own.now);
    append(own.at_acquire_fence);
    append(own.at_release_fence);
  }
  append(total_order_);
  append_number(key, fault_ != nullptr);
}

}  // namespace maru::test
