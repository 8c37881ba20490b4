// Goal: what write() acknowledged survives the death of the process, whatever it was doing. Method: another process
// (ack_writer) writes batches that are a function of their number and reports each one that was acknowledged; it is
// killed at a random moment, and the store must hold the batches up to the last report, or one more, and nothing else.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "tests/storage/ack_script.hpp"
#include "tests/support/temp_folder.hpp"

using namespace maru;
using namespace maru::storage;
using namespace maru::storage::test;
using namespace std::chrono_literals;

namespace {

class ack_writer {
public:
  ack_writer(const std::string& folder, std::uint64_t first) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      throw std::runtime_error{"pipe2"};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::string program = MARU_ACK_WRITER, from = std::to_string(first), path = folder;
    char* arguments[] = {program.data(), path.data(), from.data(), nullptr};
    auto failure = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    acks_ = ends[0];
    if (failure != 0)
      throw std::runtime_error{"posix_spawn " + program};
  }
  ~ack_writer() {
    kill_and_drain();
    ::close(acks_);
  }

  // Waits for one more report. False when the writer has ended.
  bool next_ack() {
    std::uint64_t number = 0;
    if (::read(acks_, &number, sizeof number) != sizeof number)
      return false;
    last_ = number;
    return true;
  }

  // The last batch that was reported before the kill; empty: none was.
  std::optional<std::uint64_t> kill_and_drain() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(std::exchange(pid_, -1), nullptr, 0);
      while (next_ack()) {}
    }
    return last_;
  }

private:
  pid_t pid_ = -1;
  int acks_ = -1;
  std::optional<std::uint64_t> last_;
};

struct model {
  contents entries;
  std::map<std::uint64_t, session_record> sessions;
  std::uint64_t batches = 0;  // the numbers below are in it

  void apply_next() {
    auto batch = scripted_batch(batches++);
    for (auto& change : batch.entries) {
      std::string key{view(entry_key(change.hash))};
      if (change.record)
        entries[key] = *change.record;
      else
        entries.erase(key);
    }
    for (auto& change : batch.sessions)
      sessions[value_of(change.id)] = *change.record;
  }

  bool equals(const metadata_store& store) const {
    std::vector<session_record> expected;
    for (auto& [id, record] : sessions)
      expected.push_back(record);
    return read_all(store) == entries && *store.sessions() == expected;
  }
};

result<std::unique_ptr<metadata_store>> open(const std::string& folder) {
  return open_rocksdb({.path = folder, .write_buffer_bytes = 256 << 10, .block_cache_bytes = 1 << 20});
}

}  // namespace

TEST(Crash, AcknowledgedBatchesSurviveAKillAtAnyMoment) {
  auto seed = test_seed();
  SCOPED_TRACE("MARU_SEED=" + std::to_string(seed));
  std::mt19937_64 random{seed};
  maru::test::temp_folder folder;
  model expected;
  for (int round = 0; round < 20; ++round) {
    ack_writer writer{folder / "db", expected.batches};
    // Every third round does not wait for a report: the kill hits the opening of the store, or its recovery.
    auto wanted = round % 3 == 2 ? 0 : 1 + random() % 200;
    for (; wanted > 0; --wanted) {
      ASSERT_TRUE(writer.next_ack());
    }
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 20000});
    auto last = writer.kill_and_drain();
    while (last && expected.batches <= *last)
      expected.apply_next();
    // Half the rounds leave the recovery to the next writer.
    if (random() % 2 == 0 && round != 19)
      continue;
    auto store = open(folder / "db");
    ASSERT_TRUE(store) << store.error().message;
    if (!expected.equals(**store))
      expected.apply_next();  // written, not reported
    ASSERT_TRUE(expected.equals(**store)) << "round " << round << ", batch " << expected.batches;
  }
  EXPECT_GT(expected.batches, 100u);
}

TEST(Crash, StoreIsInUseWhileAnotherProcessHasIt) {
  maru::test::temp_folder folder;
  ack_writer writer{folder / "db", 0};
  ASSERT_TRUE(writer.next_ack());
  auto store = open(folder / "db");
  ASSERT_FALSE(store);
  EXPECT_EQ(store.code(), ec::in_use);
  EXPECT_NE(store.error().message.find(folder / "db"), std::string::npos) << store.error().message;
  writer.kill_and_drain();
  EXPECT_TRUE(open(folder / "db")) << "the lock ends with the process";
}
