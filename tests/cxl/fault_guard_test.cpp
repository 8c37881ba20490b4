// Goal: memory that fails under a thread costs the bytes that failed and nothing else: the process lives, it knows which bytes
// they were, and a SIGBUS that is nobody's kills as ever. Method: files that are cut short under their mappings, which raises
// the same signal as poisoned memory; other processes for what ends a process. Real poison only where MARU_TEST_HWPOISON=1
// says that this machine is there for it.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "cxl/device.hpp"
#include "cxl/fault_guard.hpp"
#include "tests/support/must.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::cxl {
namespace {

const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

class fault_guard_test : public ::testing::Test {
protected:
  // A file of so many pages, all of them filled with 'x'.
  std::unique_ptr<device> make(std::size_t pages, const std::string& name = "pool") {
    auto made = test::must(open_device({folder / name, pages * page, true}));
    auto all = test::must(made->map(0, pages * page, access::read_write));
    std::memset(all.data(), 'x', all.size());
    return made;
  }
  mapping map(const device& d, std::size_t pages, std::size_t unit = page) {
    auto made = test::must(d.map(0, pages * page, access::read_write));
    made.guard(unit);
    return made;
  }
  void cut(std::size_t pages, const std::string& name = "pool") {
    ASSERT_EQ(::truncate((folder / name).c_str(), static_cast<off_t>(pages * page)), 0);
  }
  static char read(const mapping& m, std::size_t at) { return *reinterpret_cast<const volatile char*>(m.data() + at); }
  static std::span<const std::byte> part(const mapping& m, std::size_t first, std::size_t pages) {
    return m.bytes().subspan(first * page, pages * page);
  }

  test::temp_folder folder;
};

TEST_F(fault_guard_test, AReaderOfMemoryThatFailedGoesOnAndIsToldOfIt) {
  auto file = make(4);
  auto memory = map(*file, 4);
  EXPECT_FALSE(faulted(memory.bytes()));
  cut(2);
  EXPECT_EQ(read(memory, 2 * page + 7), 0);
  EXPECT_TRUE(faulted(part(memory, 2, 1)));
  EXPECT_TRUE(faulted(memory.bytes().subspan(3 * page - 1, 1)));
  EXPECT_EQ(faults_survived(), 1u);
  EXPECT_EQ(memory.failed(), (std::vector<failed_piece>{{2 * page, page}}));
}

TEST_F(fault_guard_test, TheBytesBesideWhatFailedAreTheDevicesOwn) {
  auto file = make(4);
  auto memory = map(*file, 4);
  cut(2);
  EXPECT_EQ(read(memory, 2 * page), 0);
  EXPECT_EQ(read(memory, 2 * page - 1), 'x');
  EXPECT_FALSE(faulted(part(memory, 0, 2)));
  EXPECT_FALSE(faulted(part(memory, 3, 1))) << "nobody has touched it yet";
  EXPECT_TRUE(faulted(part(memory, 1, 2))) << "a range that begins before what failed";
  EXPECT_FALSE(faulted(memory.bytes().subspan(2 * page, 0))) << "no byte at all";
}

TEST_F(fault_guard_test, AWriterOfMemoryThatFailedGoesOnAndWritesNothingToTheDevice) {
  auto file = make(2);
  auto memory = map(*file, 2);
  cut(1);
  std::memset(memory.data() + page, 'w', page);
  EXPECT_TRUE(faulted(part(memory, 1, 1)));
  ASSERT_EQ(::truncate((folder / "pool").c_str(), static_cast<off_t>(2 * page)), 0);
  EXPECT_EQ(read(map(*file, 2), page), 0);
  EXPECT_TRUE(faulted(part(memory, 1, 1))) << "what failed once stays failed in this mapping";
}

TEST_F(fault_guard_test, AllOfAUnitFailsWhereSmallerPiecesCannotBeReplaced) {
  auto file = make(10);
  auto memory = map(*file, 10, 4 * page);
  cut(5);
  EXPECT_EQ(read(memory, 6 * page), 0);
  EXPECT_EQ(read(memory, 4 * page), 0) << "in the same unit";
  EXPECT_EQ(memory.failed(), (std::vector<failed_piece>{{4 * page, 4 * page}}));
  EXPECT_EQ(read(memory, 9 * page), 0);
  EXPECT_EQ(memory.failed(), (std::vector<failed_piece>{{4 * page, 6 * page}})) << "the last unit is a short one";
  EXPECT_EQ(read(memory, 3 * page), 'x');
}

TEST_F(fault_guard_test, ManyThreadsMayMeetFailedMemoryAtOnce) {
  constexpr std::size_t pages = 256, threads = 8;
  auto file = make(pages);
  auto memory = map(*file, pages);
  cut(0);
  std::barrier start{static_cast<std::ptrdiff_t>(threads)};
  std::atomic<int> missed{0};
  std::vector<std::thread> readers;
  for (std::size_t t = 0; t < threads; ++t)
    readers.emplace_back([&, t] {
      start.arrive_and_wait();
      for (std::size_t i = 0; i < pages; ++i) {  // half of them in the same order, the others from the end
        auto at = t % 2 == 0 ? i : pages - 1 - i;
        missed += read(memory, at * page + t) != 0 || !faulted(part(memory, at, 1)) ? 1 : 0;
      }
    });
  for (auto& r : readers)
    r.join();
  EXPECT_EQ(missed, 0);
  EXPECT_EQ(memory.failed(), (std::vector<failed_piece>{{0, pages * page}}));
}

TEST_F(fault_guard_test, WhoReadsTheZerosOfAnotherThreadsFailureIsToldToo) {
  constexpr std::size_t pages = 512;
  auto file = make(pages);
  auto memory = map(*file, pages);
  std::atomic<bool> over{false};
  std::atomic<int> missed{0};
  std::thread reader{[&] {
    while (!over)
      for (std::size_t i = 0; i < pages; ++i)
        if (read(memory, i * page) != 'x' && !faulted(part(memory, i, 1)))
          ++missed;
  }};
  for (std::size_t left = pages; left-- > 0;) {
    cut(left);
    EXPECT_EQ(read(memory, left * page), 0);
  }
  over = true;
  reader.join();
  EXPECT_EQ(missed, 0);
}

TEST_F(fault_guard_test, MappingsOfTheSameBytesFailEachByItself) {
  auto file = make(2);
  auto one = map(*file, 2), other = map(*file, 2);
  cut(1);
  EXPECT_EQ(read(one, page), 0);
  EXPECT_TRUE(faulted(one.bytes()));
  EXPECT_FALSE(faulted(other.bytes()));
  EXPECT_EQ(read(other, page), 0);
  EXPECT_TRUE(faulted(other.bytes()));
}

TEST_F(fault_guard_test, AMappingIsGuardedWhereItMovesTo) {
  auto file = make(2);
  auto first = map(*file, 2);
  mapping second{std::move(first)};
  mapping third;
  third = std::move(second);
  cut(1);
  EXPECT_EQ(read(third, page), 0);
  EXPECT_EQ(third.failed().size(), 1u);
}

TEST_F(fault_guard_test, WhatFailedInAMappingIsForgottenWithIt) {
  auto file = make(2);
  void* where = nullptr;
  {
    auto memory = map(*file, 2);
    cut(1);
    EXPECT_EQ(read(memory, page), 0);
    where = memory.data();
  }
  std::span at{static_cast<std::byte*>(where), 2 * page};
  EXPECT_FALSE(faulted(at));
  ASSERT_EQ(::mmap(where, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            where);
  fault_guard again{at, page};
  EXPECT_FALSE(faulted(at));
  EXPECT_TRUE(again.failed().empty());
  again = {};
  ::munmap(where, 2 * page);
}

TEST_F(fault_guard_test, ThereMayBeManyGuardsAndTheirPlacesAreUsedAgain) {
  auto file = make(2);
  cut(1);
  for (int round = 0; round < 3; ++round) {
    std::vector<mapping> all;
    ASSERT_EQ(::truncate((folder / "pool").c_str(), static_cast<off_t>(2 * page)), 0);
    for (int i = 0; i < 500; ++i)
      all.push_back(map(*file, 2));
    cut(1);
    for (auto& m : all) {
      EXPECT_EQ(read(m, page), 0);
      EXPECT_EQ(m.failed().size(), 1u);
    }
  }
}

TEST_F(fault_guard_test, ErrnoIsTheSameAfterAFailure) {
  auto file = make(2);
  auto memory = map(*file, 2);
  cut(1);
  errno = ENOTTY;
  (void)read(memory, page);
  EXPECT_EQ(errno, ENOTTY);
}

TEST_F(fault_guard_test, WhoSurvivesLooksAloneIsToldOfWhatALookMet) {
  auto file = make(4);
  auto memory = test::must(file->map(0, 4 * page, access::read_write));
  memory.guard(page, survives::looks);
  EXPECT_TRUE(is_sound(memory.bytes()));
  cut(2);
  EXPECT_TRUE(is_sound(part(memory, 0, 2)));
  EXPECT_FALSE(is_sound(memory.bytes()));
  EXPECT_TRUE(faulted(part(memory, 3, 1)));
  EXPECT_EQ(memory.failed(), (std::vector<failed_piece>{{2 * page, 2 * page}}));
  EXPECT_EQ(read(memory, 3 * page), 0) << "zeros took its place";
}

TEST_F(fault_guard_test, ReadingThroughEndsAtTheFirstFailure) {
  auto file = make(100);
  auto memory = map(*file, 100);
  EXPECT_TRUE(read_through(memory.bytes()));
  cut(1);
  EXPECT_FALSE(read_through(memory.bytes()));
  EXPECT_LT(faults_survived(), 50u);
}

// -- what is not ours. In processes that are started anew, so that the handler comes after what they set up.

class fault_guard_death : public fault_guard_test {
protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  static void stand_by(int) { say_and_end("old handler"); }
  static void stand_by_with_info(int, siginfo_t* info, void*) {
    say_and_end(info->si_code == BUS_ADRERR ? "old handler, past the end" : "old handler");
  }
  [[noreturn]] static void say_and_end(std::string_view words) {
    [[maybe_unused]] auto n = ::write(STDERR_FILENO, words.data(), words.size());
    ::_exit(42);
  }
  static void set_handler(void (*handler)(int)) {  // a sanitizer has one of its own
    struct sigaction a = {};
    a.sa_handler = handler;
    ::sigaction(SIGBUS, &a, nullptr);
  }

  // Guards one file and touches another one that was cut.
  void touch_foreign_memory() {
    auto ours = make(1, "ours"), theirs = make(2, "theirs");
    auto guarded = map(*ours, 1);
    auto foreign = test::must(theirs->map(0, 2 * page, access::read_write));
    cut(1, "theirs");
    (void)read(foreign, page);
  }
};

TEST_F(fault_guard_death, MemoryThatNobodyGuardsKills) {
  EXPECT_EXIT((set_handler(SIG_DFL), touch_foreign_memory()), ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(fault_guard_death, ATouchThatIsNoLookKillsWhereLooksAloneAreSurvived) {
  EXPECT_EXIT(
    {
      set_handler(SIG_DFL);
      auto file = make(2);
      auto memory = test::must(file->map(0, 2 * page, access::read_write));
      memory.guard(page, survives::looks);
      cut(1);
      (void)read(memory, page);
    },
    ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(fault_guard_death, MemoryThatNobodyGuardsKillsAlsoWhereTheSignalWasIgnored) {
  EXPECT_EXIT((set_handler(SIG_IGN), touch_foreign_memory()), ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(fault_guard_death, ASignalThatSomebodySentKillsWhateverAddressItNames) {
  EXPECT_EXIT(
    {
      set_handler(SIG_DFL);
      auto file = make(1);
      auto memory = map(*file, 1);
      siginfo_t forged = {};
      forged.si_code = SI_QUEUE;
      forged.si_addr = memory.data();
      ::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), ::gettid(), SIGBUS, &forged);
      ::_exit(0);
    },
    ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(fault_guard_death, ASignalThatSomebodySentIsIgnoredWhereItWas) {
  EXPECT_EXIT(
    {
      set_handler(SIG_IGN);
      auto file = make(1);
      auto memory = map(*file, 1);
      ::raise(SIGBUS);
      ::_exit(3);
    },
    ::testing::ExitedWithCode(3), "");
}

TEST_F(fault_guard_death, TheHandlerBeforeIsAskedForForeignMemory) {
  EXPECT_EXIT((set_handler(stand_by), touch_foreign_memory()), ::testing::ExitedWithCode(42), "old handler");
}

TEST_F(fault_guard_death, TheHandlerBeforeIsToldAsMuchAsItAskedFor) {
  auto with_info = [] {
    struct sigaction a = {};
    a.sa_sigaction = stand_by_with_info;
    a.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &a, nullptr);
  };
  EXPECT_EXIT((with_info(), touch_foreign_memory()), ::testing::ExitedWithCode(42), "old handler, past the end");
}

TEST_F(fault_guard_death, TheHandlerBeforeIsNotAskedForGuardedMemory) {
  EXPECT_EXIT(
    {
      set_handler(stand_by);
      auto file = make(2);
      auto memory = map(*file, 2);
      cut(1);
      ::_exit(read(memory, page) == 0 && faulted(memory.bytes()) ? 0 : 1);
    },
    ::testing::ExitedWithCode(0), "");
}

TEST_F(fault_guard_death, MemoryIsNotGuardedAnyMoreWhenItsGuardIsGone) {
  EXPECT_EXIT(
    {
      set_handler(SIG_DFL);
      auto file = make(2);
      auto memory = test::must(file->map(0, 2 * page, access::read_write));
      fault_guard(memory.bytes(), page);
      cut(1);
      (void)read(memory, page);
    },
    ::testing::KilledBySignal(SIGBUS), "");
}

// -- the real thing

TEST_F(fault_guard_test, AReaderOfPoisonedMemoryGoesOn) {
  if (auto* asked = std::getenv("MARU_TEST_HWPOISON"); asked == nullptr || std::string_view{asked} != "1")
    GTEST_SKIP() << "memory is poisoned only where MARU_TEST_HWPOISON=1 says that the machine is there for it";
  auto file = make(4);
  auto memory = map(*file, 4), other = map(*file, 4);
  ASSERT_EQ(::madvise(memory.data() + page, page, MADV_HWPOISON), 0) << std::strerror(errno);
  EXPECT_EQ(read(memory, page), 0);
  EXPECT_TRUE(faulted(part(memory, 1, 1)));
  EXPECT_EQ(read(memory, 2 * page), 'x');
  EXPECT_EQ(read(other, page), 0);
  EXPECT_TRUE(faulted(part(other, 1, 1))) << "another mapping meets it, too";
}

}  // namespace
}  // namespace maru::cxl
