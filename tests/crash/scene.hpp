// What a marud left behind, to be damaged in many ways: each case begins with the same files.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "tests/system/process.hpp"

namespace maru::test {

enum class left_by { kill, stop };  // a kill leaves all in RocksDB's log, a stop in its tables

// A pool with `keys` entries, key(0) to key(n - 1), put one by one, so that each is one record of RocksDB's log; and a
// copy of it all that restore() brings back.
class scene {
public:
  explicit scene(left_by how, std::size_t keys = 600);

  static std::string key(std::size_t n) { return "key" + std::to_string(n); }
  std::size_t keys() const { return keys_; }
  marud& server() { return marud_; }
  void restore();

  std::string meta() const { return marud_.pool() + ".meta"; }
  std::string db() const { return marud_.state() + "/db"; }
  // Files of RocksDB with this beginning or end ("MANIFEST", ".sst"), the newest last.
  std::vector<std::string> db_files(const std::string& part) const;

  // What a start finds. Done in this process, with the code that marud starts with: hundreds are feasible.
  struct outcome {
    ec code = ec::ok;  // why it did not start
    std::string message;
    std::set<std::size_t> found;  // keys that a reader would be led to
    std::size_t wrong = 0;        // of these: whose bytes are not theirs
    std::uint64_t dropped = 0;    // maru_recovery_dropped_total
    std::uint64_t corrupted = 0;  // maru_corruption_total
  };
  outcome start_here() const;

private:
  const std::size_t keys_;
  marud marud_;
  temp_folder copy_;
};

// True where `found` is all of the first keys up to some one: what was put later than that is missing.
bool is_prefix(const std::set<std::size_t>& found);

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& bytes);
void flip_bit(const std::string& path, std::uint64_t bit);

}  // namespace maru::test
