// ack_writer FOLDER FIRST [COUNT]: writes the scripted batches from number FIRST on, until it is killed or has written
// COUNT, and prints the number of each (8 bytes) once the store has acknowledged it. Its own program, because RocksDB's
// threads do not survive a fork.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/storage/ack_script.hpp"

int main(int argc, char** argv) {
  using namespace maru::storage;
  if (argc < 3)
    return 2;
  auto store = open_rocksdb({.path = argv[1], .write_buffer_bytes = 256 << 10, .block_cache_bytes = 1 << 20});
  if (!store) {
    std::fprintf(stderr, "%s\n", to_string(store.error()).c_str());
    return 1;
  }
  auto first = std::strtoull(argv[2], nullptr, 10);
  auto end = argc > 3 ? first + std::strtoull(argv[3], nullptr, 10) : ~0ull;
  for (std::uint64_t number = first; number < end; ++number) {
    if (auto s = (*store)->write(test::scripted_batch(number), false); !s) {
      std::fprintf(stderr, "%s\n", to_string(s.error()).c_str());
      return 1;
    }
    if (::write(STDOUT_FILENO, &number, sizeof number) != sizeof number)
      return 1;
  }
  return 0;
}
