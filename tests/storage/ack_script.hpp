// The batches that ack_writer writes and crash_test expects: a function of their number alone.
#pragma once

#include "tests/storage/samples.hpp"

namespace maru::storage::test {

inline write_batch scripted_batch(std::uint64_t number) {
  std::mt19937_64 random{number * 0x9e3779b97f4a7c15};
  write_batch batch;
  for (auto changes = 1 + random() % 200; changes > 0; --changes) {
    auto hash = hash_of(random() % 5000);
    if (random() % 3 > 0)
      batch.put_entry(hash, entry_of(random()));
    else
      batch.delete_entry(hash);
  }
  batch.put_session(session_of(number % 10));
  return batch;
}

}  // namespace maru::storage::test
