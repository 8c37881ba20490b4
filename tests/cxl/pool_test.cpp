// Goal: an open pool keeps its metadata out of workers' reach, never lets a generation be used twice, and opens fast.
// Method: what is on the device is read beside the pool after each step; CPU time is taken on tmpfs.
#include <sys/stat.h>
#include <time.h>

#include <cstring>
#include <iostream>
#include <thread>

#include "base/size.hpp"
#include "tests/cxl/pool_fixture.hpp"

namespace maru::cxl {
namespace {

using bounds::KiB;
using bounds::MiB;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int slowdown = 20;
#else
constexpr int slowdown = 1;
#endif

class pool_test : public pool_fixture {
protected:
  static unsigned mode_of(const std::string& path) {
    struct stat now = {};
    return ::stat(path.c_str(), &now) == 0 ? now.st_mode & 07777 : 0;
  }
  static std::uint64_t allocated(const std::string& path) {
    struct stat now = {};
    return ::stat(path.c_str(), &now) == 0 ? static_cast<std::uint64_t>(now.st_blocks) * 512 : 0;
  }
};

TEST_F(pool_test, MetadataIsFullyReservedAndDataIsNot) {
  auto p = must_open();
  EXPECT_GE(allocated(meta()), metadata_bytes(32 * MiB, 64 * KiB));
  EXPECT_LT(allocated(data()), MiB);
  EXPECT_EQ(std::filesystem::file_size(data()), 32 * MiB);
  EXPECT_EQ(p->data_device().size(), 32 * MiB);
}

TEST_F(pool_test, MetadataThatBecameSparseIsReservedAgain) {
  must_open().reset();
  auto head = bytes_of(meta(), 0, descriptors_offset);
  auto size = std::filesystem::file_size(meta());
  std::filesystem::resize_file(meta(), 0);
  std::filesystem::resize_file(meta(), size);
  overwrite(meta(), 0, head);
  EXPECT_EQ(must_open()->how(), opened_as::opened);
  EXPECT_GE(allocated(meta()), size);
}

TEST_F(pool_test, WorkersMayWriteTheDataAndOnlyReadTheMetadata) {
  auto o = options();
  o.file_mode = 0660;
  must_open(o);
  EXPECT_EQ(mode_of(data()), 0660u);
  EXPECT_EQ(mode_of(meta()), 0640u);
  EXPECT_EQ(mode_of(folder / "pool.lock"), 0600u);
}

TEST_F(pool_test, DataNeedNotBeAMultipleOfTheRegionSize) {
  auto o = options(5 * MiB + 64 * KiB + 1);
  auto p = must_open(o);
  EXPECT_EQ(p->super().data_bytes, 5 * MiB + 64 * KiB);
  EXPECT_EQ(p->members().front()->descriptors().slots(), 81u);
  auto last = p->add_region(4 * MiB, MiB + 64 * KiB, 64 * KiB);
  ASSERT_TRUE(last) << last.error().message;
  EXPECT_EQ(p->slot_of(*last, page_index{last->page_count() - 1}), 80u);
  EXPECT_TRUE(p->data_device().reserve(last->offset, last->length));
}

TEST_F(pool_test, PoolSmallerThanARegionWorks) {
  auto p = must_open(options(64 * KiB));
  EXPECT_TRUE(p->add_region(0, 64 * KiB, 64 * KiB));
}

TEST_F(pool_test, GenerationIsCoveredByTheSuperblockBeforeItIsUsed) {
  auto p = must_open();
  for (generation gen : {1ul, 2ul, 65536ul, 65537ul, 65538ul, 1ul << 40, generation_max - 1, generation_max}) {
    p->note_generation(gen);
    EXPECT_GE(stored(superblock_a_offset).highest, gen);
    EXPECT_GE(stored(superblock_b_offset).highest, gen);
    EXPECT_LE(stored(superblock_a_offset).highest, generation_max);
  }
}

TEST_F(pool_test, KnownGenerationsWriteNothing) {
  auto p = must_open();
  p->note_generation(10);
  auto before = stored(superblock_a_offset).sequence;
  for (generation gen = 0; gen < 60'000; ++gen)
    p->note_generation(gen);
  EXPECT_EQ(stored(superblock_a_offset).sequence, before);
}

TEST_F(pool_test, DamagedPageStartsAboveEveryGenerationEverUsed) {
  auto p = must_open();
  p->note_generation(1000);
  auto first = p->above_highest();
  EXPECT_GT(first, 1000u);
  auto second = p->above_highest();
  EXPECT_GT(second, first) << "the first counts as used";
  p.reset();
  EXPECT_GT(must_open()->above_highest(), second);
}

TEST_F(pool_test, GenerationsAreNotedFromSeveralThreads) {
  auto p = must_open();
  std::vector<std::thread> threads;
  for (generation start : {0ul, 1ul, 2ul, 3ul})
    threads.emplace_back([&p, start] {
      for (generation gen = start; gen < 4'000'000; gen += 4000)
        p->note_generation(gen);
    });
  std::thread regions{[&p] {
    for (std::uint64_t i = 0; i < 16; ++i)
      EXPECT_TRUE(p->add_region(i * 2 * MiB, 2 * MiB, 64 * KiB));
  }};
  for (auto& t : threads)
    t.join();
  regions.join();
  EXPECT_GE(stored(superblock_a_offset).highest, 3'996'003u);
  EXPECT_EQ(stored(superblock_a_offset).next_region, 17u);
  EXPECT_EQ(stored(superblock_a_offset).sequence, stored(superblock_b_offset).sequence);
}

TEST_F(pool_test, WhoWasTakenOverIsToldAndWritesNothingMore) {
  auto p = must_open();
  ASSERT_TRUE(p->beat());
  edit_superblock([](superblock& sb) {  // as another host's marud does
    ++sb.epoch;
    sb.boot_id = random_uuid();
  });
  overwrite(meta(), serving_beat_offset, std::vector<std::byte>(8, std::byte{9}));
  auto theirs = bytes_of(meta(), 0, descriptors_offset);
  EXPECT_FALSE(p->beat());
  p->note_generation(generation{1} << 40);
  EXPECT_EQ(p->add_region(0, 2 * MiB, 64 * KiB).code(), ec::in_use);
  p.reset();
  EXPECT_EQ(bytes_of(meta(), 0, descriptors_offset), theirs);
}

TEST_F(pool_test, DamageIsNotTakenForAnotherMarud) {
  auto p = must_open();
  flip(meta(), superblock_a_offset + 20);
  EXPECT_TRUE(p->beat());
  flip(meta(), superblock_b_offset + 20);
  EXPECT_TRUE(p->beat());
}

TEST_F(pool_test, DurablePoolOpensAndWritesLikeAnother) {
  auto o = options();
  o.contents_survive_reboot = true;
  auto p = must_open(o);
  p->note_generation(77);
  ASSERT_TRUE(p->add_region(0, 2 * MiB, 64 * KiB));
  ASSERT_TRUE(p->remove_region(region_id{1}));
  EXPECT_GE(stored(superblock_a_offset).highest, 77u);
}

// What this thread has computed, in it and in the kernel: open() waits for nothing, and other work on the machine must
// not fail the test.
double cpu_ms() {
  struct timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

// What it takes to make a file of so many bytes and to write each: machines differ, and this one from hour to hour.
double write_ms(const std::string& path, std::uint64_t bytes) {
  auto start = cpu_ms();
  auto file = open_device({path, bytes, true, access::read_write});
  EXPECT_TRUE(file && (*file)->reserve(0, bytes));
  auto map = (*file)->map(0, bytes, access::read_write);
  EXPECT_TRUE(map);
  std::memset(map->data(), 1, bytes);
  auto took = cpu_ms() - start;
  std::filesystem::remove(path);
  return took;
}

TEST_F(pool_test, OpensAsFastAsItsMetadataIsWritten) {
  struct row {
    const char* what;
    std::uint64_t size, page;
  };
  for (auto [what, size, page] : {row{"256 MiB", 256 * MiB, 64 * KiB}, row{"1M slots", 4096 * MiB, 4 * KiB}}) {
    if (std::filesystem::space(folder.path()).available < size + size / 32)
      GTEST_SKIP() << "not enough space for " << what;
    auto o = options(size);
    o.path = folder / what;
    o.page_min = page;
    auto least = write_ms(folder / "as-large", align_up(metadata_bytes(size, page), bounds::layout_align));
    for (auto how : {"format", "open"}) {
      auto start = cpu_ms();
      auto p = must_open(o);
      auto took = cpu_ms() - start;
      std::cout << what << ": " << how << " took " << took << " ms, writing as much " << least << " ms\n";
      EXPECT_LT(took, (20 + 4 * least) * slowdown) << what << ", " << how;
    }
    std::filesystem::remove(o.path);
    std::filesystem::remove(o.path + ".meta");
  }
}

}  // namespace
}  // namespace maru::cxl
