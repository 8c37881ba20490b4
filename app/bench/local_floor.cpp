#include "app/bench/local_floor.hpp"

#include "app/bench/cell_worker.hpp"

namespace maru::bench {

namespace {

constexpr std::uint32_t length = 4096;  // of every location: shows that the entry itself was read

}  // namespace

floor_maps::floor_maps(std::uint64_t keys) {
  secret_.fill(0x5a);
  by_text_.reserve(keys);
  by_hash_.reserve(keys);
  key_batch one(1);
  for (std::uint64_t number = 0; number < keys; ++number) {
    one.set(0, number);
    auto key = one.keys().front();
    location where{.page = {region_id{1}, page_index{static_cast<std::uint32_t>(number)}}, .length = length, .gen = 1};
    by_text_.emplace(key, where);
    by_hash_.emplace(hash_key(secret_, key), where);
  }
}

loop_call floor_maps::by_text() const {
  return [this](std::span<const std::string_view> keys) -> std::optional<std::size_t> {
    thread_local std::string text;
    std::size_t found = 0;
    for (auto key : keys) {
      text.assign(key);
      auto it = by_text_.find(text);
      found += it != by_text_.end() && it->second.length == length;
    }
    return found;
  };
}

loop_call floor_maps::by_hash() const {
  return [this](std::span<const std::string_view> keys) -> std::optional<std::size_t> {
    std::size_t found = 0;
    for (auto key : keys) {
      auto it = by_hash_.find(hash_key(secret_, key));
      found += it != by_hash_.end() && it->second.length == length;
    }
    return found;
  };
}

loop_call no_call() {
  return [](std::span<const std::string_view> keys) -> std::optional<std::size_t> { return keys.size(); };
}

}  // namespace maru::bench
