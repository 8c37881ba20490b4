// Goal: whatever instant marud is killed at while it opens, formats or resets a pool, the next start finds a pool that
// is whole, and never takes lost bytes for kept ones. Method: the opening process is killed after its first, second, ...
// last system call. (Kills between two stores: superblock_pair_test.cpp.)
#include "tests/cxl/pool_fixture.hpp"
#include "tests/support/child_process.hpp"

namespace maru::cxl {
namespace {

class pool_kill : public pool_fixture {
protected:
  // Prepares, kills an open() after each of its system calls in turn, and checks each time.
  template <class Prepare, class Check>
  void after_each_system_call(const pool_options& o, Prepare prepare, Check check) {
    for (int n = 1;; ++n) {
      std::optional<known_pool> known = prepare();
      auto how = test::kill_at_system_call([&] { return static_cast<int>(pool::open(o, known).code()); }, n);
      if (how == test::cut::not_allowed)
        GTEST_SKIP() << "tracing is not allowed here";
      SCOPED_TRACE("killed after system call " + std::to_string(n));
      check(known);
      if (HasFatalFailure() || HasNonfatalFailure())
        return;
      if (how == test::cut::finished) {
        EXPECT_GT(n, 20);
        return;
      }
    }
  }

  void remove_pool() {
    std::filesystem::remove(data());
    std::filesystem::remove(meta());
  }
  void expect_empty(pool& p) {
    EXPECT_TRUE(p.regions().empty());
    EXPECT_EQ(p.damaged_rows(), 0u);
    for (std::uint64_t slot = 0; slot < 4; ++slot)
      EXPECT_EQ(p.descriptors().read(slot), descriptor{});
    EXPECT_EQ(bytes_of(data(), 0, 1)[0], std::byte{0});
  }
};

TEST_F(pool_kill, FirstFormatIsBegunAgainOrFinished) {
  after_each_system_call(
    options(), [&] { return remove_pool(), std::nullopt; },
    [&](auto) {
      auto p = must_open();
      ASSERT_TRUE(p);
      EXPECT_NE(p->how(), opened_as::contents_lost);
      expect_empty(*p);
    });
}

TEST_F(pool_kill, LossByRebootStaysALoss) {
  auto prepare = [&] {
    remove_pool();
    auto known = make_pool();
    edit_superblock([](superblock& sb) { sb.boot_id = random_uuid(); });
    return known;
  };
  after_each_system_call(options(), prepare, [&](const auto& known) {
    auto p = must_open(known);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->how(), opened_as::contents_lost);
    EXPECT_EQ(p->super().pool, known->pool);
    expect_empty(*p);
  });
}

TEST_F(pool_kill, LossOfTheMetadataStaysALoss) {
  auto prepare = [&] {
    remove_pool();
    auto known = make_pool();
    std::filesystem::remove(meta());
    return known;
  };
  after_each_system_call(options(), prepare, [&](const auto& known) {
    auto p = must_open(known);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->how(), opened_as::contents_lost);
    expect_empty(*p);
  });
}

TEST_F(pool_kill, LossOfTheDataFileStaysALoss) {
  auto prepare = [&] {
    remove_pool();
    auto known = make_pool();
    std::filesystem::remove(data());
    return known;
  };
  after_each_system_call(options(), prepare, [&](const auto& known) {
    auto p = must_open(known);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->how(), opened_as::contents_lost) << "the data is lost, whether or not a file is there again";
    expect_empty(*p);
  });
}

TEST_F(pool_kill, PoolThatIsFormattedOverIsWholeOrNobodys) {
  auto o = options();
  o.format_foreign = true;
  known_pool other;
  auto prepare = [&] {
    remove_pool();
    other = make_pool();
    return known_pool{random_uuid(), random_uuid()};
  };
  after_each_system_call(o, prepare, [&](const auto& mine) {
    auto as_before = pool::open(options(), other);
    if (as_before && (*as_before)->how() == opened_as::opened) {
      EXPECT_EQ((*as_before)->regions().size(), 1u);
      EXPECT_EQ((*as_before)->descriptors().read(0)->gen, 5u);
      EXPECT_EQ(bytes_of(data(), 0, 1)[0], std::byte{0x77});
    } else if (as_before) {
      expect_empty(**as_before);
    } else {
      EXPECT_EQ(as_before.code(), ec::unknown_contents) << as_before.error().message;
      auto p = must_open(options(), mine);
      ASSERT_TRUE(p) << "the format had ended";
      expect_empty(*p);
    }
  });
}

TEST_F(pool_kill, OpenOfAGoodPoolLosesNothing) {
  remove_pool();
  auto known = make_pool();
  std::uint64_t last = 1;
  after_each_system_call(
    options(), [&] { return known; },
    [&](auto) {
      auto p = must_open(known);
      ASSERT_TRUE(p);
      EXPECT_EQ(p->how(), opened_as::opened);
      EXPECT_GT(p->epoch(), last);
      last = p->epoch();
      EXPECT_EQ(p->regions().size(), 1u);
      EXPECT_EQ(p->descriptors().read(0)->gen, 5u);
      EXPECT_EQ(bytes_of(data(), 0, 1)[0], std::byte{0x77});
    });
}

}  // namespace
}  // namespace maru::cxl
