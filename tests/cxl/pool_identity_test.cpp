// Goal: nobody's data is overwritten and no stale data is served: what a pool finds at its path decides between
// opening, formatting and refusing. Method: real files brought into every state that a crash, a reboot, an operator or
// a flipped bit leaves.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>

#include "base/size.hpp"
#include "tests/cxl/pool_fixture.hpp"
#include "tests/support/child_process.hpp"

namespace maru::cxl {
namespace {

using bounds::KiB;
using bounds::MiB;

class pool_identity : public pool_fixture {};

TEST_F(pool_identity, EmptyPlaceWithoutStateIsFormatted) {
  auto p = must_open();
  ASSERT_TRUE(p);
  EXPECT_EQ(p->how(), opened_as::formatted);
  EXPECT_EQ(p->epoch(), 1u);
  EXPECT_FALSE(p->super().pool.is_nil());
  EXPECT_FALSE(p->super().incarnation.is_nil());
  EXPECT_NE(p->super().secret, hash_secret{});
  EXPECT_EQ(p->super().boot_id, host_boot_id());
  EXPECT_EQ(p->super().data_bytes, 32 * MiB);
  EXPECT_EQ(p->super().extent_bytes, 2 * MiB);
  EXPECT_EQ(p->members().front()->descriptors().slots(), 512u);
  EXPECT_TRUE(p->regions().empty());
}

TEST_F(pool_identity, EmptyFilesCountAsAnEmptyPlace) {
  std::ofstream{data()};
  std::ofstream{meta()};
  EXPECT_EQ(must_open()->how(), opened_as::formatted);
}

TEST_F(pool_identity, ZeroFilledFilesCountAsAnEmptyPlace) {
  overwrite(data(), 0, std::vector<std::byte>(3 * MiB));
  overwrite(meta(), 0, std::vector<std::byte>(3 * MiB));
  EXPECT_EQ(must_open()->how(), opened_as::formatted);
}

TEST_F(pool_identity, KnownPoolIsOpenedAgainWithTheNextEpoch) {
  auto known = make_pool();
  for (std::uint64_t epoch = 2; epoch < 6; ++epoch) {
    auto p = must_open(known);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->how(), opened_as::opened);
    EXPECT_EQ(p->epoch(), epoch);
    EXPECT_EQ(stored(superblock_a_offset).epoch, epoch) << "on the device before open returns";
    EXPECT_EQ(stored(superblock_b_offset).epoch, epoch);
    EXPECT_EQ(p->super().incarnation, known.incarnation);
    EXPECT_EQ(p->regions().size(), 1u);
    EXPECT_EQ(p->descriptors().read(0)->gen, 5u);
  }
}

TEST_F(pool_identity, PoolWithoutStateIsOpened) {
  auto before = make_pool();
  auto p = must_open();
  EXPECT_EQ(p->how(), opened_as::opened);
  EXPECT_EQ(p->super().pool, before.pool);
  EXPECT_EQ(p->super().incarnation, before.incarnation);
}

TEST_F(pool_identity, SizeZeroTakesTheExistingSizeAndIsNotEnoughForANewPool) {
  expect_refused(pool::open(options(0), {}), ec::bad_option, {"needs a size"});
  EXPECT_FALSE(std::filesystem::exists(data()));
  EXPECT_FALSE(std::filesystem::exists(meta()));
  make_pool();
  EXPECT_EQ(must_open(options(0))->super().data_bytes, 32 * MiB);
}

TEST_F(pool_identity, AnotherPoolThanTheKnownOneIsRefused) {
  auto before = make_pool();
  known_pool other{random_uuid(), before.incarnation};
  expect_refused(pool::open(options(), other), ec::unknown_contents,
                 {"--format", to_string(before.pool), to_string(other.pool)});
  EXPECT_EQ(must_open(before)->how(), opened_as::opened) << "a refusal changes nothing";
}

TEST_F(pool_identity, ForeignFormatOverwritesAnotherPoolUnderTheKnownName) {
  auto before = make_pool();
  known_pool mine{random_uuid(), random_uuid()};
  auto o = options();
  o.format_foreign = true;
  auto p = must_open(o, mine);
  EXPECT_EQ(p->how(), opened_as::contents_lost) << "entries of the state directory are to be dropped";
  EXPECT_EQ(p->super().pool, mine.pool);
  EXPECT_NE(p->super().incarnation, before.incarnation);
  EXPECT_TRUE(p->regions().empty());
  EXPECT_EQ(p->descriptors().read(0), descriptor{});
  EXPECT_EQ(bytes_of(data(), 0, 1)[0], std::byte{0});
}

TEST_F(pool_identity, ForeignFormatOpensAPoolThatFits) {
  auto known = make_pool();
  auto o = options();
  o.format_foreign = true;
  EXPECT_EQ(must_open(o, known)->how(), opened_as::opened);
}

TEST_F(pool_identity, VisibilityIsFixedAtFormat) {
  auto o = options();
  o.mode = coherence::software;
  EXPECT_EQ(must_open(o)->super().mode, coherence::software);
  EXPECT_EQ(must_open(o)->super().mode, coherence::software) << "the same is accepted";
  o.mode = coherence::hardware;
  expect_refused(pool::open(o, std::nullopt), ec::bad_option, {"software", "hardware", "--visibility", "--format"});
  o.format_foreign = true;
  EXPECT_EQ(must_open(o)->super().mode, coherence::hardware);
}

TEST_F(pool_identity, ZeroHeadOfAKnownPoolMeansItsContentsAreLost) {
  auto known = make_pool();
  overwrite(meta(), 0, std::vector<std::byte>(descriptors_offset));
  auto p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::contents_lost);
  EXPECT_EQ(p->super().pool, known.pool);
  EXPECT_NE(p->super().incarnation, known.incarnation);
  EXPECT_GT(p->epoch(), 1000u) << "above every epoch that workers of the lost pool can have seen";
  EXPECT_TRUE(p->regions().empty());
  EXPECT_EQ(p->descriptors().read(0), descriptor{});
  known.incarnation = p->super().incarnation;
  auto epoch = p->epoch();
  p.reset();
  p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::opened);
  EXPECT_EQ(p->epoch(), epoch + 1);
}

TEST_F(pool_identity, RebootedTmpfsMeansTheContentsAreLost) {
  auto known = make_pool();
  std::filesystem::remove(data());
  std::filesystem::remove(meta());
  auto p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::contents_lost);
  EXPECT_EQ(p->super().pool, known.pool);
}

TEST_F(pool_identity, LostMetadataOfAKnownPoolMeansTheContentsAreLost) {
  auto known = make_pool();
  std::filesystem::remove(meta());
  EXPECT_EQ(must_open(known)->how(), opened_as::contents_lost);
}

TEST_F(pool_identity, LostDataFileMeansTheContentsAreLost) {
  auto known = make_pool();
  std::filesystem::remove(data());
  auto p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::contents_lost);
  EXPECT_NE(p->super().incarnation, known.incarnation);
  EXPECT_EQ(std::filesystem::file_size(data()), 32 * MiB);
  EXPECT_TRUE(p->regions().empty());
}

TEST_F(pool_identity, ChangedBootIdMeansTheContentsAreLostUnlessTheDeviceKeepsThem) {
  auto known = make_pool();
  auto reboot = [&] { edit_superblock([](superblock& sb) { sb.boot_id = random_uuid(); }); };
  reboot();
  auto o = options();
  o.contents_survive_reboot = true;
  auto p = must_open(o, known);
  EXPECT_EQ(p->how(), opened_as::opened);
  EXPECT_EQ(p->super().boot_id, host_boot_id());
  EXPECT_EQ(p->descriptors().read(0)->gen, 5u);
  auto before = p->super();
  p.reset();

  reboot();
  p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::contents_lost);
  EXPECT_EQ(p->super().pool, known.pool);
  EXPECT_NE(p->super().incarnation, known.incarnation);
  EXPECT_EQ(p->epoch(), before.epoch + 1);
  EXPECT_EQ(p->super().next_region, before.next_region) << "region ids are never used twice";
  EXPECT_GE(p->super().highest, before.highest);
  EXPECT_TRUE(p->regions().empty());
  EXPECT_EQ(p->descriptors().read(0), descriptor{});
  EXPECT_EQ(bytes_of(data(), 0, 1)[0], std::byte{0});
}

TEST_F(pool_identity, ChangedBootIdWithoutStateIsLostToo) {
  make_pool();
  edit_superblock([](superblock& sb) { sb.boot_id = random_uuid(); });
  EXPECT_EQ(must_open()->how(), opened_as::contents_lost);
}

TEST_F(pool_identity, AnotherIncarnationThanTheKnownOneMeansTheContentsAreLost) {
  auto known = make_pool();
  known.incarnation = random_uuid();
  auto p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::contents_lost);
  EXPECT_NE(p->super().incarnation, known.incarnation);
  EXPECT_TRUE(p->regions().empty());
}

TEST_F(pool_identity, CrashAfterALossIsFoundAgainUntilTheStateKnowsTheNewIncarnation) {
  auto known = make_pool();
  edit_superblock([](superblock& sb) { sb.boot_id = random_uuid(); });
  EXPECT_EQ(must_open(known)->how(), opened_as::contents_lost);  // and killed before RocksDB heard of it
  auto p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::contents_lost);
  known.incarnation = p->super().incarnation;
  p.reset();
  EXPECT_EQ(must_open(known)->how(), opened_as::opened);
}

TEST_F(pool_identity, SomebodysFileIsRefusedAndUntouched) {
  std::ofstream{data()} << "the only copy of a thesis";
  for (auto known : {std::optional<known_pool>{}, std::optional{known_pool{random_uuid(), random_uuid()}}}) {
    expect_refused(pool::open(options(), known), ec::unknown_contents, {"--format", data()});
    EXPECT_EQ(std::filesystem::file_size(data()), 25u);
    EXPECT_FALSE(std::filesystem::exists(meta()));
  }
  auto o = options();
  o.format_foreign = true;
  EXPECT_EQ(must_open(o)->how(), opened_as::formatted);
}

TEST_F(pool_identity, SomebodysFileThatStartsWithZerosIsRefused) {
  overwrite(data(), MiB, std::vector<std::byte>(100, std::byte{1}));
  expect_refused(pool::open(options(), {}), ec::unknown_contents, {"--format"});
}

TEST_F(pool_identity, UnknownMetadataIsRefusedAtWhateverLength) {
  for (std::size_t size : {1ul, 100ul, 4096ul, 2 * MiB + 1, 8 * MiB}) {
    std::filesystem::remove(meta());
    overwrite(meta(), 0, std::vector<std::byte>(size, std::byte{0x5a}));
    expect_refused(pool::open(options(), {}), ec::unknown_contents, {"--format"});
    EXPECT_EQ(std::filesystem::file_size(meta()), size);
  }
  auto o = options();
  o.format_foreign = true;
  auto p = must_open(o);
  EXPECT_EQ(p->how(), opened_as::formatted);
  for (std::uint64_t slot = 0; slot < p->members().front()->descriptors().slots(); ++slot)
    ASSERT_EQ(p->descriptors().read(slot), descriptor{});
  EXPECT_EQ(p->damaged_rows(), 0u);
}

TEST_F(pool_identity, AnotherLayoutVersionIsRefusedByItsNumber) {
  make_pool();
  for (auto copy : {superblock_a_offset, superblock_b_offset})
    overwrite(meta(), copy + 8, std::vector{std::byte{9}});
  expect_refused(pool::open(options(), {}), ec::unknown_contents, {"version 9", "--format"});
}

TEST_F(pool_identity, OneDamagedSuperblockIsRepairedFromTheOther) {
  auto known = make_pool();
  for (auto copy : {superblock_a_offset, superblock_b_offset})
    for (std::uint64_t i = 0; i < superblock_bytes; i += 5) {
      flip(meta(), copy + i);
      auto p = must_open(known);
      ASSERT_TRUE(p);
      ASSERT_EQ(p->how(), opened_as::opened);
      ASSERT_EQ(stored(superblock_a_offset).epoch, p->epoch());
      ASSERT_EQ(stored(superblock_b_offset).epoch, p->epoch());
    }
}

TEST_F(pool_identity, NoEpochIsUsedTwiceThoughTheNewerSuperblockIsLost) {
  auto known = make_pool();
  std::uint64_t last = 1;
  for (auto copy : {superblock_a_offset, superblock_b_offset, superblock_a_offset}) {
    overwrite(meta(), copy, std::vector<std::byte>(superblock_bytes));
    auto p = must_open(known);
    EXPECT_EQ(p->epoch(), last + 1);
    last = p->epoch();
  }
}

TEST_F(pool_identity, TwoDamagedSuperblocksAreCorrupt) {
  auto known = make_pool();
  flip(meta(), superblock_a_offset + 20);
  flip(meta(), superblock_b_offset + 200);
  expect_refused(pool::open(options(), known), ec::corrupt, {"--format", meta()});
  expect_refused(pool::open(options(), {}), ec::corrupt);
  auto o = options();
  o.format_foreign = true;
  EXPECT_EQ(must_open(o, known)->how(), opened_as::contents_lost);
}

TEST_F(pool_identity, FormatThatWasKilledIsBegunAgain) {
  auto known = make_pool();
  for (auto copy : {superblock_a_offset, superblock_b_offset}) {
    auto magic = std::as_bytes(std::span{&formatting_magic, 1});
    overwrite(meta(), copy, magic);
  }
  auto p = must_open();
  EXPECT_EQ(p->how(), opened_as::formatted);
  EXPECT_NE(p->super().pool, known.pool);
  EXPECT_TRUE(p->regions().empty());
}

TEST_F(pool_identity, AnotherSlotSizeIsRefusedWithBothValues) {
  make_pool();
  auto o = options();
  o.page_min = 4 * KiB;
  expect_refused(pool::open(o, {}), ec::bad_option, {"64 KiB", "4 KiB", "leave the page size out"});
  o.page_min = 0;
  EXPECT_EQ(must_open(o)->super().slot_bytes, 64 * KiB) << "as the pool has it";
  o.page_min = 4 * KiB;
  o.format_foreign = true;
  EXPECT_EQ(must_open(o)->super().slot_bytes, 4 * KiB);
}

TEST_F(pool_identity, AnotherDataSizeIsRefusedWithBothValues) {
  make_pool();
  expect_refused(pool::open(options(64 * MiB), {}), ec::bad_option, {"32 MiB", "64 MiB"});
  expect_refused(pool::open(options(16 * MiB), {}), ec::bad_option, {"32 MiB", "16 MiB"});
  EXPECT_EQ(must_open(options(32 * MiB + 100))->how(), opened_as::opened) << "less than a page more is the same size";
}

TEST_F(pool_identity, AnotherRegionSizeIsRefusedWithBothValues) {
  make_pool();
  auto o = options();
  o.extent_bytes = 4 * MiB;
  expect_refused(pool::open(o, {}), ec::bad_option, {"2 MiB", "4 MiB"});
  o.extent_bytes = 2 * MiB;
  EXPECT_EQ(must_open(o)->how(), opened_as::opened);
}

TEST_F(pool_identity, TruncatedMetadataIsCorrupt) {
  auto known = make_pool();
  auto full = std::filesystem::file_size(meta());
  auto index = index_offset(32 * MiB, 64 * bounds::KiB);
  ASSERT_LT(index, full);
  for (auto size : {index - 1, index - 2 * MiB, 4 * MiB, 3 * MiB, 300ul}) {
    std::filesystem::resize_file(meta(), size);
    expect_refused(pool::open(options(), known), ec::corrupt, {"truncated", "--format"});
    EXPECT_EQ(std::filesystem::file_size(meta()), size);
  }
}

// That of an older layout ends there, and what is behind is made anew by each start.
TEST_F(pool_identity, MetadataThatEndsBeforeTheIndexGetsOne) {
  auto known = make_pool();
  auto full = std::filesystem::file_size(meta());
  std::filesystem::resize_file(meta(), index_offset(32 * MiB, 64 * bounds::KiB));
  auto p = pool::open(options(), known);
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ((*p)->how(), opened_as::opened);
  EXPECT_EQ(std::filesystem::file_size(meta()), full);
  EXPECT_EQ((*p)->members().front()->index_for_readers().open_word(), 0u);
}

TEST_F(pool_identity, TruncatedDataIsCorrupt) {
  auto known = make_pool();
  std::filesystem::resize_file(data(), 31 * MiB);
  expect_refused(pool::open(options(), known), ec::corrupt, {"truncated", "31 MiB", "32 MiB", "--format"});
}

TEST_F(pool_identity, ThePathMustNameAFile) {
  auto o = options();
  o.path = folder.path().string();
  expect_refused(pool::open(o, {}), ec::invalid, {"not a regular file"});
  o.path = "/dev/null";
  expect_refused(pool::open(o, {}), ec::invalid);
  o.path = "";
  expect_refused(pool::open(o, {}), ec::bad_option);
  std::ofstream{folder / "file"} << "x";
  o.path = folder / "file/pool";
  EXPECT_FALSE(pool::open(o, {}));
  std::filesystem::create_directory(meta());
  expect_refused(pool::open(options(), {}), ec::invalid, {".meta"});
}

TEST_F(pool_identity, FoldersOnTheWayAreMade) {
  auto o = options();
  o.path = folder / "a/b/c/pool";
  EXPECT_TRUE(must_open(o));
}

TEST_F(pool_identity, UnusableOptionsAreRefused) {
  for (auto page : {1ul, 4095ul, 5000ul, 2 * bounds::GiB}) {
    auto o = options();
    o.page_min = page;
    expect_refused(pool::open(o, {}), ec::bad_option);
  }
  auto o = options();
  o.extent_bytes = 3 * MiB;
  expect_refused(pool::open(o, {}), ec::bad_option);
  expect_refused(pool::open(options(1000), {}), ec::bad_option, {"1000 B", "64 KiB"});
  expect_refused(pool::open(options(~0ull), {}), ec::bad_option);
  EXPECT_FALSE(std::filesystem::exists(data()));
}

TEST_F(pool_identity, MoreThanTheFileSystemHasIsNoSpaceAndLeavesNoFiles) {
  auto free = std::filesystem::space(folder.path()).available;
  if (free == 0)
    GTEST_SKIP() << "this tmpfs has no limit";
  for (auto size : {align_up(free, MiB) + MiB, align_up(free, MiB) * 100, 1ul << 60}) {
    expect_refused(pool::open(options(size), {}), ec::no_space, {"it needs", "the file system has"});
    EXPECT_FALSE(std::filesystem::exists(data()));
    EXPECT_FALSE(std::filesystem::exists(meta()));
  }
}

// On a tmpfs of 40 MiB in a mount namespace of the child: the pool fits with its metadata to the page, or not at all.
TEST_F(pool_identity, SizeIsHeldAgainstTheFileSystemTogetherWithTheMetadata) {
  auto child = test::in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
      return 77;
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=42m") != 0)
      return 77;
    if (pool::open(options(33 * MiB), {}).code() != ec::no_space)
      return 1;
    if (std::filesystem::exists(data()) || std::filesystem::exists(meta()))
      return 2;
    auto p = pool::open(options(32 * MiB), {});
    if (!p || !(*p)->data_device().reserve(0, 32 * MiB))
      return 3;
    known_pool known{(*p)->super().pool, random_uuid()};
    p = error{ec::ok, ""};
    p = pool::open(options(32 * MiB), known);  // a loss with all storage taken
    if (!p || (*p)->how() != opened_as::contents_lost)
      return 4;
    p = error{ec::ok, ""};
    overwrite(meta(), 0, std::vector<std::byte>(descriptors_offset));
    p = pool::open(options(32 * MiB), known);
    return p && (*p)->how() == opened_as::contents_lost ? 0 : 5;
  });
  if (child == 77)
    GTEST_SKIP() << "mounting is not allowed here";
  EXPECT_EQ(child, 0);
}

TEST_F(pool_identity, SecondMarudIsRefusedAndTheFirstUnharmed) {
  auto p = must_open();
  auto epoch = p->epoch();
  auto code = test::in_child([&] {
    auto second = pool::open(options(), {});
    return static_cast<int>(second.code());
  });
  EXPECT_EQ(code, static_cast<int>(ec::in_use));
  auto o = options();
  o.format_foreign = true;
  expect_refused(pool::open(o, {}), ec::in_use, {"another marud"});
  EXPECT_EQ(stored(superblock_a_offset).epoch, epoch);
  p.reset();
  EXPECT_TRUE(must_open());
}

TEST_F(pool_identity, SecondMarudThroughALinkIsRefused) {
  auto p = must_open();
  std::filesystem::create_directory(folder / "elsewhere");
  std::filesystem::create_symlink(data(), folder / "elsewhere/alias");
  auto o = options();
  o.path = folder / "elsewhere/alias";
  expect_refused(pool::open(o, {}), ec::in_use);
  p.reset();
  p = must_open(o);
  EXPECT_EQ(p->how(), opened_as::opened);
  EXPECT_EQ(p->data_device().path(), data());
  EXPECT_FALSE(std::filesystem::exists(folder / "elsewhere/alias.meta"));
}

TEST_F(pool_identity, LinkToNowhereIsRefused) {
  std::filesystem::create_symlink(folder / "nowhere", data());
  expect_refused(pool::open(options(), {}), ec::invalid);
  EXPECT_FALSE(std::filesystem::exists(folder / "nowhere"));
}

TEST_F(pool_identity, KilledMarudLeavesAPoolThatOpens) {
  auto known = make_pool();
  auto died = test::in_child([&] {
    auto p = pool::open(options(), known);
    return p ? ::kill(::getpid(), SIGKILL) : 1;
  });
  EXPECT_FALSE(died) << "by a signal";
  auto p = must_open(known);
  EXPECT_EQ(p->how(), opened_as::opened);
  EXPECT_EQ(p->epoch(), 3u);
}

}  // namespace
}  // namespace maru::cxl
