#include "app/bench/local_calls.hpp"

#include <algorithm>

namespace maru::bench {

namespace {

using names = std::span<const std::string_view>;
using answer = std::optional<std::size_t>;

// How many items of an answer are as they should be; empty, and a note, where there is none.
template <class T, class Good>
answer count(const result<T>& items, first_problem& problem, Good good) {
  if (!items) {
    problem.note(items.error());
    return std::nullopt;
  }
  return static_cast<std::size_t>(std::count_if(items->begin(), items->end(), good));
}

answer retrieve(client& pool, names keys, first_problem& problem) {
  if (keys.size() > 1)
    return count(pool.retrieve_batch(keys), problem, [](const view& v) { return static_cast<bool>(v); });
  auto found = pool.retrieve(keys.front());
  if (found || found.code() == ec::missing)
    return found ? 1 : 0;
  problem.note(found.error());
  return std::nullopt;
}

answer pin_unpin(client& pool, names keys, first_problem& problem) {
  auto yes = [](bool x) { return x; };
  auto pinned = count(pool.pin(keys), problem, yes);
  return pinned ? count(pool.unpin(keys), problem, yes) : pinned;
}

}  // namespace

void first_problem::note(const error& e) {
  std::lock_guard lock(mutex_);
  if (text_.empty())
    text_ = to_string(e);
}

std::string first_problem::text() const {
  std::lock_guard lock(mutex_);
  return text_;
}

loop_call call_of(const local_op& op, client& pool, first_problem& problem) {
  std::string_view name = op.name;
  if (name == "retrieve+drop")
    return [&](names keys) { return retrieve(pool, keys, problem); };
  if (name == "pin+unpin")
    return [&](names keys) { return pin_unpin(pool, keys, problem); };
  if (name == "lookup")
    return [&](names keys) { return count(pool.lookup(keys), problem, [](auto& where) { return where.has_value(); }); };
  return [&, there = !op.absent](names keys) {
    return count(pool.exists(keys), problem, [there](bool x) { return x == there; });
  };
}

}  // namespace maru::bench
