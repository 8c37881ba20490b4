// A small parallel program to be explored: shared words, and threads that are functions over them. What a thread does
// follows from what it has read, so each one is unfolded into a tree, by running it: a node is the thread's next
// operation, and each value that this may read leads to another node. The function runs anew for each node, with the
// values on the way to it given, and is left by an exception at its next operation. So it has no other effects, decides by
// nothing but what it reads, and lets exceptions pass.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace maru::test {

// What a thread does to a word; usable in the functions of threads only.
struct model_word {
  std::uint32_t id = 0;
  std::uint64_t load(std::memory_order order) const;
  void store(std::uint64_t value, std::memory_order order) const;
  // For words of the kind `ghost`, where no order applies.
  std::uint64_t load() const { return load(std::memory_order_relaxed); }
  void store(std::uint64_t value) const { store(value, std::memory_order_relaxed); }
};

// The policy for templates that are written over one.
struct model_words {
  using word = model_word;
  static void named() {}  // a kill there is one between two steps
  static void full_fence();
  static void acquire_fence();
};

// In a thread: goes on once the word has this value, and with all that its writer knew: a message that came.
void wait_until(model_word word, std::uint64_t value);
// In a thread: goes on once that thread has ended or was killed, and none of its stores is under way: proof of death.
void wait_for_end(std::uint32_t thread);
// In a thread: a claim that must hold whenever it gets here.
void require(bool holds, const char* claim);

struct operation {
  enum class kind : std::uint8_t { load, store, fence, wait_until, wait_for_end, end, broken };
  kind what = kind::end;
  std::uint32_t target = 0;  // a word; of wait_for_end a thread
  std::uint64_t value = 0;   // to store, or to wait for
  std::memory_order order = std::memory_order_relaxed;
  std::string claim;  // that did not hold
};

// Concurrency: one thread; one program is unfolded at a time.
class model_program {
public:
  // shared: an atomic word. plain: bytes that are no atomics. ghost: of the proof, not of the machine; what is done to it
  // is done in one step with the operation before it.
  enum class word_kind : std::uint8_t { shared, plain, ghost };
  enum class mortality : std::uint8_t { immortal, mortal };  // a mortal thread may be killed between any two steps

  struct word_info {
    std::string name;
    std::uint64_t first = 0;  // value at the start
    word_kind kind = word_kind::shared;
  };

  model_word word(std::string name, std::uint64_t first = 0, word_kind kind = word_kind::shared);
  // Returns the thread's number: 0, 1, ...
  std::uint32_t thread(std::string name, std::function<void()> body, mortality = mortality::immortal);

  const std::vector<word_info>& words() const { return words_; }
  std::size_t threads() const { return threads_.size(); }
  const std::string& thread_name(std::uint32_t thread) const { return threads_[thread].name; }
  bool mortal(std::uint32_t thread) const { return threads_[thread].fate == mortality::mortal; }

  // Nodes are numbers, of the thread's own; 0 is its start.
  const operation& next(std::uint32_t thread, std::uint32_t at) const { return threads_[thread].nodes[at].op; }
  // The node after that operation, given what it read (0 where it reads nothing). What next() returned is
  // gone with it.
  std::uint32_t after(std::uint32_t thread, std::uint32_t at, std::uint64_t read);

private:
  struct node {
    std::vector<std::uint64_t> read;  // by all operations before this one
    operation op;
    std::map<std::uint64_t, std::uint32_t> after;
  };
  struct model_thread {
    std::string name;
    std::function<void()> body;
    mortality fate;
    std::vector<node> nodes;
  };
  static node unfold(const std::function<void()>& body, std::vector<std::uint64_t> read);

  std::vector<word_info> words_;
  std::vector<model_thread> threads_;
};

}  // namespace maru::test
