// Goal: a file as a device takes, maps and gives back its range, and refuses what would later kill a process that
// touches it. Method: real files on tmpfs and on the temporary folder's file system; a small tmpfs of its own for
// "full"; other processes for what ends a process.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <thread>
#include <vector>

#include "base/bounds.hpp"
#include "cxl/device.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temp_folder.hpp"

namespace maru::cxl {
namespace {

using bounds::MiB;

std::uint64_t allocated(const std::string& path) {
  struct stat now = {};
  return ::stat(path.c_str(), &now) == 0 ? static_cast<std::uint64_t>(now.st_blocks) * 512 : 0;
}

// How many pages of the range this process has in its page table (bit 63 of /proc/self/pagemap).
int pages_present(const std::byte* data, std::size_t size) {
  std::vector<std::uint64_t> entries(size / 4096);
  int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  auto wanted = entries.size() * sizeof(std::uint64_t);
  auto at = reinterpret_cast<std::uintptr_t>(data) / 4096 * sizeof(std::uint64_t);
  EXPECT_EQ(::pread(fd, entries.data(), wanted, static_cast<off_t>(at)), static_cast<ssize_t>(wanted));
  ::close(fd);
  return static_cast<int>(std::count_if(entries.begin(), entries.end(), [](auto e) { return e >> 63 != 0; }));
}

class file_device : public ::testing::Test {
protected:
  std::unique_ptr<device> make(const std::string& name, std::uint64_t size) {
    auto made = open_device({folder / name, size, true});
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : nullptr;
  }
  test::temp_folder folder;
};

TEST_F(file_device, IsMadeWithItsFoldersAtTheSizeAndModeAskedFor) {
  auto old = ::umask(077);
  auto made = open_device({folder / "a/b/pool", 3 * MiB, true, access::read_write, 0660});
  ::umask(old);
  ASSERT_TRUE(made) << made.error().message;
  struct stat now = {};
  ASSERT_EQ(::stat((folder / "a/b/pool").c_str(), &now), 0);
  EXPECT_EQ(now.st_mode & 0777, 0660u);
  EXPECT_EQ(now.st_size, static_cast<off_t>(3 * MiB));
  EXPECT_EQ((*made)->size(), 3 * MiB);
  EXPECT_EQ((*made)->path(), folder / "a/b/pool");
  EXPECT_EQ((*made)->align() % 4096, 0u);
  EXPECT_LT(allocated(folder / "a/b/pool"), MiB) << "storage is taken by reserve(), not before";
}

TEST_F(file_device, KnowsWhatSurvivesAReboot) {
  if (folder.path().string().starts_with("/dev/shm")) {
    EXPECT_EQ(make("pool", MiB)->kind(), "tmpfs");
    EXPECT_FALSE(make("pool", MiB)->survives_reboot());
  }
  test::temp_folder here{"."};
  auto made = open_device({here / "pool", MiB, true});
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->kind() == "file", (*made)->survives_reboot());
}

TEST_F(file_device, KeepsTheSizeOfAnExistingFileAndGrowsItWhereAsked) {
  make("pool", 2 * MiB);
  EXPECT_EQ((*open_device({folder / "pool"}))->size(), 2 * MiB);
  EXPECT_EQ((*open_device({folder / "pool", 4 * MiB, true}))->size(), 4 * MiB);
  EXPECT_EQ((*open_device({folder / "pool", MiB, true}))->size(), MiB);
  EXPECT_EQ(std::filesystem::file_size(folder / "pool"), 4 * MiB) << "a file is never shortened";
}

TEST_F(file_device, FileShorterThanWantedIsNoSpaceAndNamesBoth) {
  make("pool", 2 * MiB);
  auto refused = open_device({folder / "pool", 4 * MiB});
  ASSERT_EQ(refused.code(), ec::no_space);
  EXPECT_NE(refused.error().message.find("2 MiB"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("4 MiB"), std::string::npos) << refused.error().message;
}

TEST_F(file_device, BytesThatAreNoWholePageAreNotUsed) {
  std::ofstream{folder / "odd"} << std::string(5000, 'x');
  auto made = open_device({folder / "odd"});
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->size(), 4096u);
}

TEST_F(file_device, MissingFileIsMissing) {
  EXPECT_EQ(open_device({folder / "none"}).code(), ec::missing);
  EXPECT_EQ(open_device({folder / "no/folder"}).code(), ec::missing);
}

TEST_F(file_device, WhatIsNoRegularFileIsInvalidAndStaysAsItIs) {
  EXPECT_EQ(open_device({folder.path().string(), MiB, true}).code(), ec::invalid);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(open_device({folder / "pipe", 0, false, access::read}).code(), ec::invalid) << "and does not block";
  EXPECT_EQ(open_device({"/dev/null", MiB, true}).code(), ec::invalid);
  EXPECT_EQ(open_device({"", MiB, true}).code(), ec::io);
}

TEST_F(file_device, FileInsideAFileIsAnError) {
  std::ofstream{folder / "file"} << "x";
  EXPECT_EQ(open_device({folder / "file/pool", MiB, true}).code(), ec::io);
}

TEST_F(file_device, LinkToAFileIsFollowedAndALoopRefused) {
  make("real", MiB);
  std::filesystem::create_symlink(folder / "real", folder / "link");
  std::filesystem::create_symlink(folder / "loop", folder / "loop");
  EXPECT_EQ((*open_device({folder / "link"}))->size(), MiB);
  EXPECT_EQ(open_device({folder / "loop", MiB, true}).code(), ec::io);
}

TEST_F(file_device, ReadOnlyFileIsRefusedForWritingAndMappedForReading) {
  std::ofstream{folder / "pool"} << std::string(8192, 'x');
  ASSERT_EQ(::chmod((folder / "pool").c_str(), 0444), 0);
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  // Permissions mean nothing to root: become nobody, in a child.
  auto child = test::in_child([&] {
    if (::geteuid() == 0 && (::setegid(65534) != 0 || ::seteuid(65534) != 0))
      return 10;
    auto refused = open_device({folder / "pool"});
    if (refused || refused.error().message.find("Permission denied") == std::string::npos)
      return 1;
    auto made = open_device({folder / "pool", 0, false, access::read});
    if (!made)
      return 2;
    auto map = (*made)->map(0, 8192, access::read);
    return map && map->data()[8191] == std::byte{'x'} ? 0 : 3;
  });
  EXPECT_EQ(child, 0);
}

TEST_F(file_device, OpenedForReadingItNeitherMapsForWritingNorGrows) {
  make("pool", MiB);
  auto made = open_device({folder / "pool", 0, true, access::read});
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->map(0, 4096, access::read_write).code(), ec::invalid);
  EXPECT_EQ(open_device({folder / "pool", 2 * MiB, true, access::read}).code(), ec::no_space);
  EXPECT_EQ(std::filesystem::file_size(folder / "pool"), MiB);
  EXPECT_FALSE((*made)->reserve(0, 4096));
}

TEST_F(file_device, MoreThanTheFileSystemHasIsNoSpaceNamesBothNumbersAndLeavesNoFile) {
  struct statvfs fs = {};
  ASSERT_EQ(::statvfs(folder.path().c_str(), &fs), 0);
  if (fs.f_blocks == 0)
    GTEST_SKIP() << "this tmpfs has no limit";
  auto free = static_cast<std::uint64_t>(fs.f_bavail) * fs.f_frsize;
  auto refused = open_device({folder / "pool", (free / MiB + 1024) * MiB, true});
  ASSERT_EQ(refused.code(), ec::no_space);
  EXPECT_NE(refused.error().message.find("it needs"), std::string::npos);
  EXPECT_NE(refused.error().message.find("the file system has"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "pool"));
  EXPECT_EQ(open_device({folder / "pool", ~0ull, true}).code(), ec::invalid);
  EXPECT_EQ(open_device({folder / "pool", INT64_MAX - 4095, true}).code(), ec::no_space);
  EXPECT_FALSE(std::filesystem::exists(folder / "pool"));
}

TEST_F(file_device, RefusalLeavesAFileThatWasThereAsItWas) {
  std::ofstream{folder / "pool"} << "precious";
  ASSERT_FALSE(open_device({folder / "pool", INT64_MAX - 4095, true}));
  EXPECT_EQ(std::filesystem::file_size(folder / "pool"), 8u);
}

TEST_F(file_device, SyncTakesWhatAMappingWrote) {
  auto made = make("pool", 4 * MiB);
  auto map = made->map(0, 4 * MiB, access::read_write);
  ASSERT_TRUE(map);
  map->data()[0] = std::byte{1};
  EXPECT_TRUE(made->sync());
}

TEST_F(file_device, ReserveTakesStorageOnceAndReleaseGivesItBack) {
  auto made = make("pool", 8 * MiB);
  ASSERT_TRUE(made->reserve(2 * MiB, 4 * MiB));
  auto taken = allocated(folder / "pool");
  EXPECT_GE(taken, 4 * MiB);
  EXPECT_LT(taken, 6 * MiB);
  auto map = made->map(2 * MiB, 4 * MiB, access::read_write);
  ASSERT_TRUE(map);
  map->data()[0] = std::byte{7};
  ASSERT_TRUE(made->reserve(2 * MiB, 4 * MiB));
  EXPECT_EQ(map->data()[0], std::byte{7}) << "reserving again keeps the contents";
  EXPECT_EQ(allocated(folder / "pool"), taken);
  ASSERT_TRUE(made->release(2 * MiB, 4 * MiB));
  EXPECT_LT(allocated(folder / "pool"), MiB);
  EXPECT_EQ(map->data()[0], std::byte{0});
  EXPECT_EQ(std::filesystem::file_size(folder / "pool"), 8 * MiB);
}

TEST_F(file_device, RangesOutsideAreRefusedEverywhere) {
  auto made = make("pool", MiB);
  for (auto [offset, size] :
       {std::pair{0ul, MiB + 4096}, {MiB, 4096ul}, {MiB + 4096, 0ul}, {4096ul, ~0ul - 4095}, {~0ul - 4095, 8192ul}}) {
    EXPECT_EQ(made->reserve(offset, size).code(), ec::invalid) << offset << '+' << size;
    EXPECT_EQ(made->release(offset, size).code(), ec::invalid) << offset << '+' << size;
    EXPECT_EQ(made->map(offset, size, access::read_write).code(), ec::invalid) << offset << '+' << size;
  }
  EXPECT_TRUE(made->reserve(MiB, 0));
}

TEST_F(file_device, UnalignedAndEmptyMappingsAreRefused) {
  auto made = make("pool", MiB);
  EXPECT_EQ(made->map(1, 4096, access::read).code(), ec::invalid);
  EXPECT_EQ(made->map(0, 4095, access::read).code(), ec::invalid);
  EXPECT_EQ(made->map(0, 0, access::read).code(), ec::invalid);
}

TEST_F(file_device, MappingOfATruncatedFileIsRefusedRatherThanDeadly) {
  auto made = make("pool", MiB);
  std::filesystem::resize_file(folder / "pool", MiB / 2);
  EXPECT_EQ(made->map(0, MiB, access::read_write).code(), ec::corrupt);
  EXPECT_TRUE(made->map(0, MiB / 2, access::read_write));
}

TEST_F(file_device, MappingsShareTheirBytesAndOutliveTheDevice) {
  auto made = make("pool", MiB);
  auto one = made->map(4096, 8192, access::read_write);
  auto two = made->map(8192, 4096, access::read);
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  made.reset();
  one->data()[4096] = std::byte{42};
  EXPECT_EQ(two->data()[0], std::byte{42});
  EXPECT_EQ(one->size(), 8192u);
}

TEST_F(file_device, MovedMappingIsUnmappedOnce) {
  auto made = make("pool", MiB);
  auto one = made->map(0, 4096, access::read_write);
  auto two = made->map(4096, 4096, access::read_write);
  auto* first = one->data();
  auto* second = two->data();
  mapping a{std::move(*one)};
  EXPECT_FALSE(*one);
  a = std::move(*two);
  EXPECT_EQ(a.data(), second);
  unsigned char there = 0;
  EXPECT_EQ(::mincore(first, 4096, &there), -1) << "what was assigned over is unmapped";
  EXPECT_EQ(::mincore(second, 4096, &there), 0);
  auto& self = a;
  a = std::move(self);
  EXPECT_EQ(a.data(), second);
  a = mapping{};
  EXPECT_EQ(::mincore(second, 4096, &there), -1);
}

TEST_F(file_device, MappingIsNotInheritedByAForkedChild) {
  auto made = make("pool", MiB);
  auto map = made->map(0, MiB, access::read_write);
  auto child = test::in_child([&] {
    unsigned char there = 0;
    return ::mincore(map->data(), 4096, &there) == -1 ? 0 : 1;
  });
  EXPECT_EQ(child, 0);
}

TEST_F(file_device, PopulateMakesPagesPresentAndKeepsTheirBytes) {
  auto made = make("pool", 4 * MiB);
  auto map = made->map(0, 4 * MiB, access::read_write);
  map->data()[MiB] = std::byte{9};
  ASSERT_TRUE(map->populate(MiB + 1, 2 * MiB - 1));
  EXPECT_EQ(map->data()[MiB], std::byte{9});
  EXPECT_GE(allocated(folder / "pool"), 2 * MiB);
  EXPECT_EQ(pages_present(map->data(), MiB), 0);
  EXPECT_EQ(pages_present(map->data() + MiB, 2 * MiB), 512) << "no page fault is left for the writer";
  EXPECT_EQ(pages_present(map->data() + 3 * MiB, MiB), 0);
}

TEST_F(file_device, PopulateRefusesWhatItCannotWrite) {
  auto made = make("pool", MiB);
  auto map = made->map(0, MiB, access::read);
  EXPECT_EQ(map->populate(0, MiB).code(), ec::invalid);
  auto writable = made->map(0, MiB, access::read_write);
  EXPECT_EQ(writable->populate(0, MiB + 1).code(), ec::invalid);
  EXPECT_EQ(writable->populate(~0ull, 2).code(), ec::invalid);
  EXPECT_TRUE(writable->populate(MiB, 0));
  EXPECT_TRUE(writable->flush(0, MiB));
  EXPECT_EQ(writable->flush(1, MiB).code(), ec::invalid);
}

TEST_F(file_device, PopulateOfATruncatedFileIsAnErrorAndNotASignal) {
  auto made = make("pool", MiB);
  auto map = made->map(0, MiB, access::read_write);
  std::filesystem::resize_file(folder / "pool", 0);
  EXPECT_FALSE(map->populate(0, MiB));
}

TEST_F(file_device, TouchingPagesMakesThemPresentWithoutLosingAWrite) {
  auto made = make("pool", 4 * MiB);
  auto map = made->map(0, 4 * MiB, access::read_write);
  touch_pages(map->bytes());
  EXPECT_GE(allocated(folder / "pool"), 4 * MiB);
  EXPECT_TRUE(std::all_of(map->data(), map->data() + map->size(), [](std::byte b) { return b == std::byte{0}; }));
  std::atomic<bool> stop{false};
  std::thread toucher{[&] {
    while (!stop.load(std::memory_order_relaxed))
      touch_pages(map->bytes().first(8192));
  }};
  int lost = 0;
  std::atomic_ref<std::byte> byte{map->data()[4096]};
  for (int i = 1; i < 500'000; ++i)
    lost += byte.exchange(static_cast<std::byte>(i), std::memory_order_relaxed) != static_cast<std::byte>(i - 1);
  stop = true;
  toucher.join();
  EXPECT_EQ(lost, 0);
}

long resident_pages() {
  long size = 0, resident = 0;
  std::ifstream{"/proc/self/statm"} >> size >> resident;
  return resident;
}

// In private memory a read maps the one page of zeros, which is not counted: only a write makes a page.
TEST_F(file_device, TouchingPagesIsAWriteAccess) {
  constexpr std::size_t size = 32 * MiB;
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  auto before = resident_pages();
  touch_pages({static_cast<std::byte*>(at), size});
  EXPECT_GT(resident_pages() - before, static_cast<long>(size / 4096 * 3 / 4));
  ::munmap(at, size);
}

// On a tmpfs of 16 MiB in a mount namespace of the child.
TEST(FullTmpfs, ReserveFailsWithNoSpaceAndWhatWasReservedStays) {
  test::temp_folder folder;
  auto child = test::in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      return 77;
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=16m") != 0)
      return 77;
    auto made = open_device({folder / "pool", 12 * MiB, true});
    if (!made || !(*made)->reserve(0, 4 * MiB))
      return 1;
    auto map = (*made)->map(0, 4 * MiB, access::read_write);
    map->data()[0] = std::byte{5};
    auto other = open_device({folder / "other", 10 * MiB, true});  // fits while the pool is sparse
    if (!other || !(*other)->reserve(0, 10 * MiB))
      return 2;
    if ((*made)->reserve(4 * MiB, 8 * MiB).code() != ec::no_space)
      return 3;
    if (!(*made)->reserve(0, 4 * MiB) || map->data()[0] != std::byte{5})
      return 4;
    auto third = open_device({folder / "third", 4 * MiB, true});
    if (third.code() != ec::no_space || third.error().message.find("4 MiB") == std::string::npos
        || third.error().message.find("2 MiB") == std::string::npos)
      return 5;
    // A file that has its storage already needs no more of it.
    return open_device({folder / "other", 10 * MiB, true}) ? 0 : 6;
  });
  if (child == 77)
    GTEST_SKIP() << "mounting is not allowed here";
  EXPECT_EQ(child, 0);
}

}  // namespace
}  // namespace maru::cxl
