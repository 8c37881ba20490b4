#include "actors/put_table.hpp"

#include <utility>

namespace maru::actors {

bool put_table::claim(const key_hash& hash, put_item_ref who) {
  auto [at, first] = held_.try_emplace(hash);
  if (first)
    at->second.holder = who;
  else
    at->second.waiters.push_back(who);
  return first;
}

void put_table::begin_removal(const key_hash& hash) {
  auto [at, first] = held_.try_emplace(hash);
  auto& state = at->second;
  if (!first && !state.removal)
    state.waiters.insert(state.waiters.begin(), state.holder);
  state.removal = true;
}

std::vector<put_item_ref> put_table::committed(const key_hash& hash) {
  auto at = held_.find(hash);
  if (at == held_.end())
    return {};
  auto waiters = std::move(at->second.waiters);
  held_.erase(at);
  return waiters;
}

std::optional<put_item_ref> put_table::released(const key_hash& hash) {
  auto at = held_.find(hash);
  if (at == held_.end())
    return std::nullopt;
  auto& state = at->second;
  if (state.waiters.empty()) {
    held_.erase(at);
    return std::nullopt;
  }
  state.removal = false;
  state.holder = state.waiters.front();
  state.waiters.erase(state.waiters.begin());
  return state.holder;
}

}  // namespace maru::actors
