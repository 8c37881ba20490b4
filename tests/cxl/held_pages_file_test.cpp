// Goal: marud reads whatever a worker makes of its file without harm, a worker takes no other file for its own, and a full
// file system costs a place in the table and no life; the log of uses keeps its order. Method: files cut, emptied and
// filled with noise; a small tmpfs of the test's own (skipped where the host forbids to mount).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <numeric>
#include <random>

#include "tests/cxl/session_file.hpp"
#include "tests/support/random_run.hpp"

namespace maru::cxl {
namespace {

namespace fs = std::filesystem;
using test::page;
using test::seen;
using test::session_file;
using slots = std::vector<std::uint64_t>;

constexpr std::size_t all_of_it = held_pages_file::log_entries;

// -- the log of uses

struct log_of_uses : ::testing::Test {
  session_file file;
  std::unique_ptr<held_pages> worker = file.worker();
  held_pages_reader reader = file.reader();
  std::uint64_t cursor = 0;
  slots read(std::size_t max = all_of_it) { return reader.uses_since(cursor, max); }
};

TEST_F(log_of_uses, KeepsTheOrderAndTellsEachOnce) {
  worker->log_use(slots{5, 3, 9});
  worker->log_use(slots{0, 1});
  EXPECT_EQ(read(), (slots{5, 3, 9, 0, 1}));
  EXPECT_EQ(read(), slots{});
  worker->log_use(slots{4});
  EXPECT_EQ(read(), slots{4});
}

TEST_F(log_of_uses, ReversesViewsThatAreDroppedOneAfterTheOther) {
  for (std::uint64_t s : {1, 2, 3})
    worker->log_drop(s);
  EXPECT_EQ(read(), (slots{3, 2, 1}));
}

TEST_F(log_of_uses, ReversesTheViewsOfEachRequestByThemselves) {
  for (std::uint64_t s : {1, 2})
    worker->log_drop(s);
  worker->log_request();
  for (std::uint64_t s : {3, 4})
    worker->log_drop(s);
  worker->log_use(slots{7, 8});
  for (std::uint64_t s : {5, 6})
    worker->log_drop(s);
  EXPECT_EQ(read(), (slots{2, 1, 4, 3, 7, 8, 6, 5}));
}

TEST_F(log_of_uses, GoesOnWhereItWrapsAround) {
  std::uint64_t next = 0;
  for (int round = 0; round < 20; ++round) {
    slots some(5'000 - static_cast<std::size_t>(round) * 3);
    std::iota(some.begin(), some.end(), next);
    next += some.size();
    worker->log_use(some);
    ASSERT_EQ(read(), some) << "in round " << round;
  }
}

TEST_F(log_of_uses, GivesTheNewestWhereMoreWasWrittenThanIsRead) {
  slots many(3 * all_of_it + 17);
  std::iota(many.begin(), many.end(), 0);
  worker->log_use(many);
  auto got = read();
  ASSERT_GE(got.size(), all_of_it / 2);
  EXPECT_TRUE(std::equal(got.rbegin(), got.rend(), many.rbegin()));
  EXPECT_EQ(read(), slots{});
  worker->log_use(slots{1, 2, 3, 4, 5});
  EXPECT_EQ(read(2), (slots{4, 5}));
  EXPECT_EQ(read(), slots{}) << "what was left out is not told later";
}

TEST_F(log_of_uses, BeginsAnewWithAFileThatDoes) {
  worker->log_use(slots{1, 2, 3});
  (void)read();
  worker = file.worker();
  worker->log_use(slots{8});
  EXPECT_EQ(read(), slots{8}) << "though its head lies behind what was read before";
}

// -- numbers

TEST(HeldPagesFile, CountsOfAllThreadsAreSummed) {
  session_file file;
  auto worker = file.worker();
  std::vector<std::thread> threads;
  for (int t = 0; t < 12; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i)
        worker->count({.hits = 4, .misses = 3, .asked = 2, .damaged = 1});
    });
  for (auto& t : threads)
    t.join();
  auto counts = file.reader().counts();
  EXPECT_EQ(counts.hits, 48'000u);
  EXPECT_EQ(counts.misses, 36'000u);
  EXPECT_EQ(counts.asked, 24'000u);
  EXPECT_EQ(counts.damaged, 12'000u);
}

TEST(HeldPagesFile, TheNonceIsTheOneThatWasWrittenLast) {
  session_file file;
  auto worker = file.worker();
  auto first = random_uuid(), second = random_uuid();
  EXPECT_FALSE(file.reader().has_nonce(first));
  worker->write_nonce(first);
  EXPECT_TRUE(file.reader().has_nonce(first));
  worker->write_nonce(second);
  EXPECT_FALSE(file.reader().has_nonce(first));
  EXPECT_TRUE(file.reader().has_nonce(second));
}

// -- the worker's choice of file

void expect_refused(const std::string& path, ec code) {
  auto opened = held_pages::open(path);
  ASSERT_FALSE(opened) << path;
  EXPECT_EQ(opened.code(), code) << to_string(opened.error());
}

TEST(HeldPagesFile, AWorkerEmptiesNothingButASessionsFile) {
  maru::test::temp_folder folder;
  auto precious = folder / "precious";
  std::ofstream{precious} << "bytes";
  fs::create_symlink(precious, folder / "link");
  expect_refused(folder / "link", ec::io);
  expect_refused(folder.path(), ec::io);
  expect_refused(folder / "none", ec::io);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_refused(folder / "pipe", ec::unknown_contents);
  fs::create_hard_link(precious, folder / "twin");
  expect_refused(folder / "twin", ec::unknown_contents);
  EXPECT_EQ(fs::file_size(precious), 5u);
}

TEST(HeldPagesFile, OpeningDropsWhatItHeld) {
  session_file file;
  file.worker()->add({page(1), false});
  EXPECT_EQ(file.reader().all().size(), 1u);
  auto again = file.worker();
  EXPECT_EQ(file.reader().all().size(), 0u);
}

// -- what marud reads

void read_all_of(const held_pages_reader& reader, std::uint64_t cursor) {
  std::vector<page_ref> pages;
  for (std::uint32_t i = 0; i < 200; ++i)
    pages.push_back(page(i));
  std::vector<held_pages_reader::kinds> out(pages.size());
  (void)seen(reader, page(1));
  EXPECT_TRUE(reader.look_up(pages, out));
  (void)reader.all();
  (void)reader.counts();
  (void)reader.has_nonce(uuid{});
  auto uses = reader.uses_since(cursor, 1000);
  EXPECT_LE(uses.size(), 1000u);
  for (auto slot : uses)
    EXPECT_LT(slot, std::uint64_t{1} << 31);
}

TEST(HeldPagesOfAStranger, AFileThatIsNotThereIsToldAsSuch) {
  maru::test::temp_folder folder;
  EXPECT_EQ(held_pages_reader::open(folder / "none").code(), ec::io);
  fs::create_symlink(folder / "elsewhere", folder / "link");
  std::ofstream{folder / "elsewhere"};
  EXPECT_EQ(held_pages_reader::open(folder / "link").code(), ec::io);
}

TEST(HeldPagesOfAStranger, AFileCutAnywhereReadsAsZerosBehindItsEnd) {
  session_file file;
  auto worker = file.worker();
  for (std::uint32_t i = 0; i < 2000; ++i)
    worker->add({page(i), false});
  auto reader = file.reader();
  auto full = fs::file_size(file.path);
  auto held = reader.all().size();
  EXPECT_EQ(held, 2000u);
  worker.reset();  // a store behind the end would be its own death
  for (auto size = full; size > 0; size = size > 5'003 ? size - 5'003 : size - 1 - size / 20) {
    fs::resize_file(file.path, size);
    auto left = reader.all().size();
    ASSERT_LE(left, held) << size;
    held = left;
    read_all_of(reader, 0);
  }
  fs::resize_file(file.path, 0);
  EXPECT_EQ(reader.all().size(), 0u);
  EXPECT_FALSE(seen(reader, page(1)).any());
}

TEST(HeldPagesOfAStranger, NoiseIsReadWithoutHarm) {
  std::mt19937_64 random{maru::test::test_seed()};
  session_file file;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::uint64_t> noise(30'000 + random() % 30'000);
    for (auto& word : noise)
      word = random() >> (random() % 64);
    std::ofstream out{file.path, std::ios::binary | std::ios::trunc};
    out.write(reinterpret_cast<const char*>(noise.data()), static_cast<std::streamsize>(noise.size() * 8));
    out.close();
    read_all_of(file.reader(), random());
    read_all_of(file.reader(), 0);
  }
}

TEST(HeldPagesOfAStranger, WhatCannotBeReadIsNoAnswer) {
  maru::test::temp_folder folder;
  auto reader = held_pages_reader::open(folder.path());  // a folder opens, and gives no bytes
  ASSERT_TRUE(reader);
  auto p = page(1);
  held_pages_reader::kinds out;
  EXPECT_FALSE(reader->look_up({&p, 1}, {&out, 1}));
}

// -- a full file system

class full_file_system : public ::testing::Test {
protected:
  void SetUp() override {
    // While this process has one thread: then a user namespace, which needs no privilege, may be taken.
    bool own = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!own || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      GTEST_SKIP() << "this host forbids to mount: " << std::strerror(errno);
  }
  void TearDown() override { ::umount2(folder_.path().c_str(), MNT_DETACH); }

  void give_room_for(std::size_t bytes) {
    auto size = "size=" + std::to_string((bytes + 4095) / 4096 * 4096);
    ASSERT_EQ(::mount("none", folder_.path().c_str(), "tmpfs", 0, size.c_str()), 0) << std::strerror(errno);
    std::ofstream{path_};
  }

  maru::test::temp_folder folder_;
  std::string path_ = folder_ / "session";
};

TEST_F(full_file_system, CostsTheNextLevelAndNothingElse) {
  ASSERT_NO_FATAL_FAILURE(give_room_for(held_pages_file::file_bytes(2) + 8192));
  auto worker = held_pages::open(path_);
  ASSERT_TRUE(worker) << to_string(worker.error());
  auto pages = test::pages_of_one_line(3, 20);
  test::state s;
  for (std::size_t i = 0; i < 20; ++i) {
    auto at = i % 2 ? (*worker)->pin({pages[i], false}, s(), 2) : (*worker)->add({pages[i], false});
    EXPECT_EQ(at == held_pages::none, i >= 16) << i;
  }
  auto reader = held_pages_reader::open(path_);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->all().size(), 16u);
  // With room again it grows.
  ASSERT_EQ(::mount("none", folder_.path().c_str(), "tmpfs", MS_REMOUNT, "size=8m"), 0);
  EXPECT_NE((*worker)->add({pages[17], false}), held_pages::none);
  EXPECT_EQ(reader->all().size(), 17u);
}

TEST_F(full_file_system, FromTheFirstLevelOnHasEverythingGoByMessage) {
  ASSERT_NO_FATAL_FAILURE(give_room_for(8192));
  auto worker = held_pages::open(path_);
  ASSERT_TRUE(worker);
  test::state s;
  EXPECT_EQ((*worker)->add({page(1), false}), held_pages::none);
  EXPECT_EQ((*worker)->pin({page(1), false}, s(), 2), held_pages::none);
  (*worker)->drop(held_pages::none);
  auto nonce = random_uuid();
  (*worker)->write_nonce(nonce);
  (*worker)->log_use(slots{1, 2, 3});
  (*worker)->log_drop(1);
  (*worker)->log_request();
  (*worker)->count({.hits = 1});
  auto reader = held_pages_reader::open(path_);
  ASSERT_TRUE(reader);
  EXPECT_FALSE(reader->has_nonce(nonce)) << "so marud refuses local reads";
  EXPECT_EQ(reader->all().size(), 0u);
}

}  // namespace
}  // namespace maru::cxl
