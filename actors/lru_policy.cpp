#include "actors/eviction_policy.hpp"
#include "actors/lazy_array.hpp"

namespace maru::actors {

namespace {

// Least recently used: a doubly linked list through an array of its own, so that moving a node touches three compact
// 8-byte cells and not three 64-byte entries.
class lru_policy final : public eviction_policy {
public:
  explicit lru_policy(std::size_t capacity) : links_(capacity + 1), head_(static_cast<std::uint32_t>(capacity)) {
    links_[head_] = {head_, head_};
  }

  void add(std::uint32_t node) override {
    auto first = links_[head_].next;
    links_[node] = {head_, first};
    links_[first].previous = node;
    links_[head_].next = node;
    ++size_;
  }

  void touch(std::uint32_t node) override {
    if (links_[head_].next == node)
      return;
    take(node);
    add(node);
  }

  void take(std::uint32_t node) override {
    auto [previous, next] = links_[node];
    links_[previous].next = next;
    links_[next].previous = previous;
    --size_;
  }

  std::uint32_t coldest() const override { return size_ == 0 ? none : links_[head_].previous; }
  void prefetch(std::uint32_t node) const override { links_.prefetch(node); }
  std::size_t size() const override { return size_; }

private:
  struct link {
    std::uint32_t previous, next;
  };
  lazy_array<link> links_;
  std::uint32_t head_;  // sentinel: next is the most, previous the least recently used
  std::size_t size_ = 0;
};

}  // namespace

std::unique_ptr<eviction_policy> make_eviction_policy(std::string_view name, std::size_t capacity) {
  if (name == "lru")
    return std::make_unique<lru_policy>(capacity);
  return nullptr;
}

}  // namespace maru::actors
