// A worker on a host of its own, over memory that is not coherent, and the mistakes that can be made with its
// visibility.
#pragma once

#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>

#include "net/client.hpp"
#include "tests/support/incoherent_memory.hpp"

namespace maru::test {

// What is left out, or done too early or too late. Named for test names.
enum class mistake : std::uint8_t {
  none,
  no_publish_at_commit,
  no_publish_of_abandoned_pages,
  no_acquire_in_retrieve,
  no_acquire_in_bytes,
  last_line_not_published,
  published_before_the_last_store,
  acquired_after_the_read,
  no_publish_of_what_is_cut_off,
  copy_not_finished,         // its stores are under way when the key is committed, and may take any time
  last_line_of_copy_cached,  // the line that is copied in part is not written back
  copy_finished_after_the_commit,
};

struct tally {
  std::uint64_t wrong = 0;    // pieces read that were not what belongs to the key
  std::uint64_t foreign = 0;  // pieces read of chunks that another host wrote
  std::uint64_t commits = 0, abandoned = 0, removed = 0, misses = 0;
  std::string first_wrong;  // the first of `wrong`, for people

  tally& operator+=(const tally& other);
};

// Puts, reads and removes keys in small steps, a few lines at a time, with the adversary at work between any two. A
// chunk's bytes follow from its key, so every piece that is read can be held against what it must be.
// Concurrency: one thread. What it does next depends on the seed only, but not where marud puts a page.
class shim_worker {
public:
  shim_worker(std::string server, std::shared_ptr<incoherent_memory> memory, std::uint64_t seed, std::string key_prefix,
              mistake wrong);
  ~shim_worker();
  // Does a little of what is under way, or begins something. Throws where marud is not there.
  void step();
  const tally& seen() const { return seen_; }

private:
  class flawed;
  // Which of the product's calls runs, for mistakes that concern one of them only.
  enum class place : std::uint8_t { elsewhere, commit, abandon, shrink, retrieve, bytes };

  void open();
  void reopen();
  void put_copy();
  void begin_put();
  void write_on();
  void commit();
  void cut_off();
  void count_commit(const std::string& key, const status& done);
  void begin_read();
  void read_on();
  void end_read();
  void remove();
  std::size_t roll(std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n - 1}(random_); }
  std::string some_key() { return prefix_ + std::to_string(roll(keys)); }

  static constexpr std::size_t keys = 24;  // those of the rounds before fill the pool

  const std::string server_;
  const std::string prefix_;
  const std::shared_ptr<incoherent_host> host_;
  const std::shared_ptr<flawed> visible_;
  std::mt19937_64 random_;
  std::shared_ptr<client> client_;
  tally seen_;
  std::set<std::string> mine_;  // keys that this host committed last, as far as it knows

  std::string put_key_, put_bytes_;
  page_buffer page_;
  std::size_t written_ = 0;

  std::string read_key_, read_bytes_;
  view view_;                           // of a retrieve
  std::span<const std::byte> reading_;  // of that view, or found by bytes()
  std::size_t read_ = 0;
};

}  // namespace maru::test
