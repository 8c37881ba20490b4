#include "tests/support/model_program.hpp"

#include <utility>

namespace maru::test {

namespace {

// A run of a thread's function up to its next operation.
struct run {
  const std::vector<std::uint64_t>* given;  // what its operations read
  std::size_t done = 0;
  operation next;
};
run* current = nullptr;

struct stopped {};  // leaves the function

// Every operation comes through here.
std::uint64_t perform(operation op) {
  if (op.what != operation::kind::broken && current->done < current->given->size())
    return (*current->given)[current->done++];
  current->next = std::move(op);
  throw stopped{};
}

}  // namespace

std::uint64_t model_word::load(std::memory_order order) const {
  return perform({.what = operation::kind::load, .target = id, .order = order});
}

void model_word::store(std::uint64_t value, std::memory_order order) const {
  perform({.what = operation::kind::store, .target = id, .value = value, .order = order});
}

void model_words::full_fence() { perform({.what = operation::kind::fence, .order = std::memory_order_seq_cst}); }
void model_words::acquire_fence() { perform({.what = operation::kind::fence, .order = std::memory_order_acquire}); }

void wait_until(model_word word, std::uint64_t value) {
  perform({.what = operation::kind::wait_until, .target = word.id, .value = value, .order = std::memory_order_acquire});
}

void wait_for_end(std::uint32_t thread) { perform({.what = operation::kind::wait_for_end, .target = thread}); }

void require(bool holds, const char* claim) {
  if (!holds)
    perform({.what = operation::kind::broken, .claim = claim});
}

model_word model_program::word(std::string name, std::uint64_t first, word_kind kind) {
  words_.push_back({std::move(name), first, kind});
  return {static_cast<std::uint32_t>(words_.size() - 1)};
}

std::uint32_t model_program::thread(std::string name, std::function<void()> body, mortality fate) {
  auto start = unfold(body, {});
  threads_.push_back({std::move(name), std::move(body), fate, {std::move(start)}});
  return static_cast<std::uint32_t>(threads_.size() - 1);
}

std::uint32_t model_program::after(std::uint32_t thread, std::uint32_t at, std::uint64_t read) {
  auto& of = threads_[thread];
  auto next = static_cast<std::uint32_t>(of.nodes.size());
  auto [known, is_new] = of.nodes[at].after.try_emplace(read, next);
  if (!is_new)
    return known->second;
  auto all = of.nodes[at].read;
  all.push_back(read);
  of.nodes.push_back(unfold(of.body, std::move(all)));
  return next;
}

model_program::node model_program::unfold(const std::function<void()>& body, std::vector<std::uint64_t> read) {
  run here{&read};
  current = &here;
  try {
    body();  // to its end: the operation `end`
  } catch (const stopped&) {}
  current = nullptr;
  return {std::move(read), std::move(here.next), {}};
}

}  // namespace maru::test
