// Client side of a cell: the same loop for every system, over a small interface that each system fills in.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/bench/cell.hpp"
#include "base/error.hpp"

namespace maru::bench {

// One connection to a key-value system. Each call sends its keys as one batch and answers how many succeeded: were
// found, stored, or pinned and unpinned.
class kv_target {
public:
  virtual ~kv_target() = default;
  virtual result<std::size_t> lookup(std::span<const std::string_view> keys) = 0;
  virtual result<std::size_t> exists(std::span<const std::string_view> keys) = 0;
  virtual result<std::size_t> pin_unpin(std::span<const std::string_view> keys) = 0;
  virtual result<std::size_t> put(std::span<const std::string_view> keys) = 0;
  virtual result<std::size_t> remove(std::span<const std::string_view> keys) = 0;
};

// A batch of benchmark keys, each of `key_bytes` bytes, made from numbers.
class key_batch {
public:
  explicit key_batch(std::size_t size);
  void set(std::size_t position, std::uint64_t number);
  std::span<const std::string_view> keys() const { return views_; }
  std::span<const std::string_view> first(std::size_t n) const { return std::span{views_}.first(n); }

private:
  std::string text_;
  std::vector<std::string_view> views_;
};

// Does the parent's commands until `stop`. Starts with reporting step 1: connected.
void serve_cell(const cell_job& job, kv_target& target, cell_control& control, cell_client& shared);

// Serves the cell that the parent handed on under `inherited_fd`. The exit code of the process.
int run_cell_client(const cell_job& job, result<std::unique_ptr<kv_target>> target);

}  // namespace maru::bench
