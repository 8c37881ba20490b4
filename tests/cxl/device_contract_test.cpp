// Goal: what every kind of device promises (device.hpp), whatever is behind it. Method: the same tests on each kind that
// this machine offers, and on the device that MARU_TEST_DEVICE names: its contents are lost. tests/vm runs them so in
// guests, on Device-DAX, FS-DAX, hugetlbfs and memory of a node without CPUs. MARU_TEST_KIND says what it must call itself,
// MARU_TEST_NODE whose memory a file must take.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <ostream>
#include <thread>
#include <vector>

#include "base/bounds.hpp"
#include "cxl/device.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::cxl {
namespace {

using bounds::MiB;

// Where a device under test lies: a new file in `folder`, or what the environment names.
struct place {
  std::string name;
  std::string kind;  // what it must call itself; empty: that is not for the test to know
  std::string folder;
  std::optional<int> node = {};  // whose memory it must take
  std::string path = {};
};

void PrintTo(const place& p, std::ostream* out) { *out << p.name; }

std::vector<place> places() {
  std::vector<place> all{{"memory", "tmpfs", "/dev/shm"}, {"node", "tmpfs", "/dev/shm", 0}, {"disk", "", "."}};
  const char* path = std::getenv("MARU_TEST_DEVICE");
  const char* kind = std::getenv("MARU_TEST_KIND");
  const char* node = std::getenv("MARU_TEST_NODE");
  if (path != nullptr && kind != nullptr)
    all.push_back({"given", kind, {}, node != nullptr ? std::optional{std::atoi(node)} : std::nullopt, path});
  return all;
}

constexpr std::uint64_t file_size = 16 * MiB;

class device_contract : public ::testing::TestWithParam<place> {
protected:
  device_contract() {
    if (GetParam().path.empty())
      folder_.emplace(GetParam().folder);
  }

  void SetUp() override {
    if (GetParam().node && ::syscall(SYS_get_mempolicy, nullptr, nullptr, 0, nullptr, 0) != 0)
      GTEST_SKIP() << "memory policies are not allowed here";
    device_ = open();
    ASSERT_NE(device_, nullptr);
    unit = std::max(device_->align(), 2 * MiB);
    ASSERT_GE(device_->size(), 2 * unit);
    ASSERT_TRUE(device_->reserve(0, 2 * unit));
  }

  // The same device once more, as another process would open it.
  std::unique_ptr<device> open(access mode = access::read_write) const {
    device_options wanted;
    wanted.path = folder_ ? *folder_ / "pool" : GetParam().path;
    wanted.size = folder_ ? file_size : 0;
    wanted.create = folder_.has_value();
    wanted.mode = mode;
    wanted.node = GetParam().node;
    auto made = open_device(wanted);
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : nullptr;
  }

  mapping map(std::uint64_t offset, std::uint64_t size, access mode = access::read_write) const {
    auto made = device_->map(offset, size, mode);
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : mapping{};
  }

  std::unique_ptr<device> device_;
  std::uint64_t unit = 0;  // tests use the first two of these, and the last

private:
  std::optional<test::temp_folder> folder_;
};

INSTANTIATE_TEST_SUITE_P(Device, device_contract, ::testing::ValuesIn(places()),
                         [](const auto& at) { return at.param.name; });

void fill(std::span<std::byte> bytes, int seed) {
  for (std::size_t i = 0; i < bytes.size(); i += 64)
    bytes[i] = static_cast<std::byte>((i / 64 + i / 4096 + seed) % 251);
}

bool filled(std::span<const std::byte> bytes, int seed) {
  for (std::size_t i = 0; i < bytes.size(); i += 64)
    if (bytes[i] != static_cast<std::byte>((i / 64 + i / 4096 + seed) % 251))
      return false;
  return true;
}

// How many system pages of the range this process has in its page table (bit 63 of /proc/self/pagemap).
std::size_t pages_present(std::span<const std::byte> bytes) {
  std::vector<std::uint64_t> entries(bytes.size() / 4096);
  int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  auto wanted = entries.size() * sizeof(std::uint64_t);
  auto at = reinterpret_cast<std::uintptr_t>(bytes.data()) / 4096 * sizeof(std::uint64_t);
  EXPECT_EQ(::pread(fd, entries.data(), wanted, static_cast<off_t>(at)), static_cast<ssize_t>(wanted));
  ::close(fd);
  return static_cast<std::size_t>(std::count_if(entries.begin(), entries.end(), [](auto e) { return e >> 63 != 0; }));
}

TEST_P(device_contract, IsOfItsKindAndMadeOfWholeUnits) {
  if (!GetParam().kind.empty()) {
    EXPECT_EQ(device_->kind(), GetParam().kind);
  }
  EXPECT_TRUE(std::has_single_bit(device_->align()));
  if (device_->kind() == "devdax") {
    std::uint64_t align = 0;
    std::ifstream{"/sys/bus/dax/devices/" + std::filesystem::path{device_->path()}.filename().string() + "/align"}
      >> align;
    EXPECT_EQ(device_->align(), align);
  }
  EXPECT_EQ(device_->align() % 4096, 0u);
  EXPECT_EQ(device_->size() % device_->align(), 0u);
}

TEST_P(device_contract, MappingsShareTheirBytesAndOutliveTheDevice) {
  auto both = map(0, 2 * unit);
  auto second = map(unit, unit, access::read);
  auto other = open();
  auto elsewhere = other->map(unit, unit, access::read_write);
  ASSERT_TRUE(elsewhere) << elsewhere.error().message;
  device_.reset();
  other.reset();
  fill(both.bytes().subspan(unit), 1);
  EXPECT_TRUE(filled(second.bytes(), 1));
  EXPECT_TRUE(filled(elsewhere->bytes(), 1));
  elsewhere->data()[unit - 1] = std::byte{42};
  EXPECT_EQ(both.data()[2 * unit - 1], std::byte{42});
}

TEST_P(device_contract, AnotherProcessSeesTheBytesAndWritesThem) {
  auto mine = map(0, unit);
  fill(mine.bytes(), 2);
  auto child = test::in_child([&] {
    auto theirs = open();
    auto found = theirs->map(0, unit, access::read_write);
    if (!found || !filled(found->bytes(), 2))
      return 1;
    fill(found->bytes(), 3);
    return 0;
  });
  EXPECT_EQ(child, 0);
  EXPECT_TRUE(filled(mine.bytes(), 3));
}

TEST_P(device_contract, AtomicsOfTwoProcessesLoseNothing) {
  constexpr std::uint64_t rounds = 100'000;
  using word = std::atomic_ref<std::uint64_t>;
  auto at = [](const mapping& m, std::size_t line) {
    return word{*reinterpret_cast<std::uint64_t*>(m.data() + 64 * line)};
  };
  auto mine = map(0, unit);
  at(mine, 0) = at(mine, 1) = 0;
  auto add = [&](const mapping& m) {
    for (at(m, 0).fetch_add(1); at(m, 0).load() != 2;)  // both at once
      std::this_thread::yield();
    for (std::uint64_t i = 0; i < rounds; ++i)
      at(m, 1).fetch_add(1, std::memory_order_relaxed);
  };
  std::thread here{[&] { add(mine); }};
  auto child = test::in_child([&] {
    auto theirs = open()->map(0, unit, access::read_write);
    add(*theirs);
    return 0;
  });
  here.join();
  EXPECT_EQ(child, 0);
  EXPECT_EQ(at(mine, 1).load(), 2 * rounds);
}

TEST_P(device_contract, ContentsStayWhileNobodyHasItOpen) {
  fill(map(0, 2 * unit).bytes(), 4);
  device_.reset();
  device_ = open();
  EXPECT_TRUE(filled(map(0, 2 * unit).bytes(), 4));
}

TEST_P(device_contract, LastByteCanBeWritten) {
  auto at = device_->size() - unit;
  ASSERT_TRUE(device_->reserve(at, unit));
  auto end = map(at, unit);
  end.data()[unit - 1] = std::byte{7};
  EXPECT_EQ(map(at, unit, access::read).data()[unit - 1], std::byte{7});
}

TEST_P(device_contract, RangesOutsideAreRefusedEverywhere) {
  auto size = device_->size(), align = device_->align();
  for (auto [offset, length] : {std::pair{0ul, size + align},
                                {size, align},
                                {size + align, 0ul},
                                {align, ~0ul - align + 1},
                                {~0ul - align + 1, 2 * align}}) {
    EXPECT_EQ(device_->reserve(offset, length).code(), ec::invalid) << offset << '+' << length;
    EXPECT_EQ(device_->release(offset, length).code(), ec::invalid) << offset << '+' << length;
    EXPECT_EQ(device_->map(offset, length, access::read_write).code(), ec::invalid) << offset << '+' << length;
  }
  EXPECT_TRUE(device_->reserve(size, 0));
}

TEST_P(device_contract, UnalignedAndEmptyMappingsAreRefused) {
  auto align = device_->align();
  EXPECT_EQ(device_->map(1, align, access::read).code(), ec::invalid);
  EXPECT_EQ(device_->map(align / 2, align, access::read).code(), ec::invalid);
  EXPECT_EQ(device_->map(0, align - 1, access::read).code(), ec::invalid);
  EXPECT_EQ(device_->map(0, align / 2, access::read).code(), ec::invalid);
  EXPECT_EQ(device_->map(0, 0, access::read).code(), ec::invalid);
}

TEST_P(device_contract, OpenedForReadingItShowsTheBytesAndTakesNone) {
  fill(map(0, unit).bytes(), 5);
  auto reader = open(access::read);
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(reader->map(0, unit, access::read_write).code(), ec::invalid);
  auto view = reader->map(0, unit, access::read);
  ASSERT_TRUE(view) << view.error().message;
  EXPECT_TRUE(filled(view->bytes(), 5));
}

TEST_P(device_contract, WriteThroughAMappingForReadingKillsTheWriter) {
  auto view = map(0, unit, access::read);
  EXPECT_EXIT(
    {
      ::signal(SIGSEGV, SIG_DFL);  // a sanitizer's own handler exits
      *const_cast<volatile std::byte*>(view.data()) = std::byte{1};
    },
    ::testing::KilledBySignal(SIGSEGV), "");
}

TEST_P(device_contract, MappingIsNotInheritedByAForkedChild) {
  auto view = map(0, unit);
  auto child = test::in_child([&] {
    unsigned char there = 0;
    return ::mincore(view.data(), 4096, &there) == -1 ? 0 : 1;
  });
  EXPECT_EQ(child, 0);
}

TEST_P(device_contract, ReserveAgainKeepsTheContents) {
  auto view = map(0, 2 * unit);
  fill(view.bytes(), 6);
  ASSERT_TRUE(device_->reserve(0, 2 * unit));
  EXPECT_TRUE(filled(view.bytes(), 6));
}

TEST_P(device_contract, WhatWasReleasedCanBeReservedAndWrittenAgain) {
  auto view = map(0, 2 * unit);
  fill(view.bytes(), 7);
  auto released = device_->release(unit, unit);
  EXPECT_TRUE(released || released.code() == ec::invalid) << "done, or not for this kind";
  EXPECT_TRUE(filled(view.bytes().first(unit), 7)) << "its neighbour keeps its contents";
  ASSERT_TRUE(device_->reserve(unit, unit));
  fill(view.bytes(), 8);
  EXPECT_TRUE(filled(view.bytes(), 8));
}

TEST_P(device_contract, PopulateMakesPagesPresentAndKeepsTheirBytes) {
  fill(map(0, 2 * unit).bytes(), 9);
  auto view = map(0, 2 * unit);
  ASSERT_TRUE(view.populate(unit + 1, unit - 1));
  EXPECT_EQ(pages_present(view.bytes().subspan(unit)), unit / 4096) << "no page fault is left for the writer";
  EXPECT_TRUE(filled(view.bytes(), 9));
}

TEST_P(device_contract, MemoryComesFromTheNodeAskedFor) {
  auto wanted = GetParam().node;
  if (!wanted)
    return;  // any will do
  auto view = map(0, 2 * unit);
  ASSERT_TRUE(view.populate(0, 2 * unit));
  for (std::size_t at = 0; at < view.size(); at += 4096) {
    int node = -1;
    ASSERT_EQ(::syscall(SYS_get_mempolicy, &node, nullptr, 0, view.data() + at, MPOL_F_NODE | MPOL_F_ADDR), 0);
    ASSERT_EQ(node, *wanted) << "page " << at / 4096;
  }
}

TEST_P(device_contract, PopulateRefusesWhatItCannotWrite) {
  EXPECT_EQ(map(0, unit, access::read).populate(0, unit).code(), ec::invalid);
  auto view = map(0, unit);
  EXPECT_EQ(view.populate(0, unit + 1).code(), ec::invalid);
  EXPECT_EQ(view.populate(~0ull, 2).code(), ec::invalid);
  EXPECT_TRUE(view.populate(unit, 0));
}

TEST_P(device_contract, PopulateLosesNoWriteOfAnotherThread) {
  auto view = map(0, unit);
  std::atomic<bool> stop{false};
  std::thread populating{[&] {
    while (!stop.load(std::memory_order_relaxed))
      EXPECT_TRUE(view.populate(0, 8192));
  }};
  int lost = 0;
  std::atomic_ref<std::byte> byte{view.data()[4096]};
  byte = std::byte{0};
  for (int i = 1; i < 100'000; ++i)
    lost += byte.exchange(static_cast<std::byte>(i), std::memory_order_relaxed) != static_cast<std::byte>(i - 1);
  stop = true;
  populating.join();
  EXPECT_EQ(lost, 0);
}

TEST_P(device_contract, SyncAndFlushTakeWhatAMappingWrote) {
  auto view = map(0, unit);
  fill(view.bytes(), 10);
  EXPECT_TRUE(view.flush(0, unit));
  EXPECT_EQ(view.flush(1, unit).code(), ec::invalid);
  EXPECT_TRUE(device_->sync());
  EXPECT_TRUE(filled(view.bytes(), 10));
}

}  // namespace
}  // namespace maru::cxl
