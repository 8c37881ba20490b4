// Goal: a wiped device is blank to the next marud, and what must not be wiped stays. Method: pools and foreign files in a
// temporary folder, looked at before and after, and opened again.
#include "cxl/wipe.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <fstream>

#include "base/file_lock.hpp"
#include "tests/cxl/pool_fixture.hpp"

namespace maru::cxl {
namespace {

using bounds::MiB;

class wipe_test : public pool_fixture {
protected:
  inspection look(const std::string& path) {
    auto found = inspect(path);
    EXPECT_TRUE(found) << found.error().message;
    return found ? *found : inspection{};
  }
  static std::uint64_t allocated(const std::string& path) {
    struct stat now = {};
    return ::stat(path.c_str(), &now) == 0 ? static_cast<std::uint64_t>(now.st_blocks) * 512 : 0;
  }
};

TEST_F(wipe_test, PoolIsBlankAfterwardsAndTheNextOneIsAnother) {
  auto old = make_pool();
  ASSERT_EQ(*committed_chunks(look(data())), 1u);
  ASSERT_GT(allocated(data()), 0u);
  auto done = wipe(look(data()));
  ASSERT_TRUE(done) << done.error().message;
  auto found = look(data());
  EXPECT_EQ(found.top.kind, head_kind::blank);
  EXPECT_TRUE(found.data_blank);
  EXPECT_EQ(found.bytes, 32 * MiB) << "the size stays";
  EXPECT_EQ(allocated(data()) + allocated(meta()), 0u) << "and the storage is given back";
  auto p = must_open();
  ASSERT_TRUE(p);
  EXPECT_EQ(p->how(), opened_as::formatted);
  EXPECT_NE(p->super().pool, old.pool);
}

TEST_F(wipe_test, StateThatKnowsThePoolFindsItsContentsLost) {
  auto known = make_pool();
  ASSERT_TRUE(wipe(look(data())));
  auto p = must_open(known);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->how(), opened_as::contents_lost);
}

TEST_F(wipe_test, ServedPoolIsLeftAlone) {
  make_pool();
  auto serving = must_open();
  auto found = look(data());
  EXPECT_TRUE(*is_served(data()));
  EXPECT_EQ(wipe(found).code(), ec::in_use);
  serving.reset();
  EXPECT_FALSE(*is_served(data()));
  EXPECT_EQ(look(data()).top.kind, head_kind::valid);
  EXPECT_TRUE(wipe(found));
}

TEST_F(wipe_test, ForeignFileOfAnySizeIsZerosOfThatSize) {
  for (std::size_t size : {std::size_t{1}, std::size_t{4097}, std::size_t{3} << 20}) {
    std::ofstream{data()} << std::string(size, 'x');
    ASSERT_FALSE(look(data()).data_blank);
    ASSERT_TRUE(wipe(look(data())));
    EXPECT_EQ(bytes_of(data(), 0, size), std::vector<std::byte>(size)) << size;
    EXPECT_EQ(std::filesystem::file_size(data()), size);
  }
}

TEST_F(wipe_test, WorkerThatStillMapsItIsNotKilled) {
  make_pool();
  auto device = open_device({data()});
  ASSERT_TRUE(device);
  auto map = (*device)->map(0, 2 * MiB, access::read_write);
  ASSERT_TRUE(map);
  map->data()[0] = std::byte{1};
  ASSERT_TRUE(wipe(look(data())));
  EXPECT_EQ(map->data()[0], std::byte{0});
  map->data()[4096] = std::byte{1};
}

TEST_F(wipe_test, NothingIsMadeWhereNothingIs) {
  EXPECT_EQ(wipe(look(data())).code(), ec::missing);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST_F(wipe_test, LockThatItLeavesBelongsToWhoeverOwnsTheData) {
  if (::getuid() != 0)
    GTEST_SKIP() << "only root gives files away";
  std::ofstream{data()} << "x";
  ASSERT_EQ(::chown(data().c_str(), 65534, 65534), 0);
  ASSERT_TRUE(wipe(look(data())));
  struct stat now = {};
  ASSERT_EQ(::stat(serving_lock_path(data()).c_str(), &now), 0);
  EXPECT_EQ(now.st_uid, 65534u) << "marud of that user opens it, too";
}

}  // namespace
}  // namespace maru::cxl
