// Goal: a client makes a chunk's bytes visible in the way that its pool needs. Method: the pool's file alone, and what
// marud tells of it.
#include <filesystem>
#include <fstream>

#include "net/session.hpp"
#include "tests/net/client_fixture.hpp"

namespace maru::test {
namespace {

class MapPool : public ::testing::Test {
protected:
  MapPool() {
    std::ofstream{path_};
    std::filesystem::resize_file(path_, 1 << 20);
  }
  auto map(cxl::coherence mode) {
    net::hello_reply reply;
    reply.visibility = static_cast<std::uint8_t>(mode);
    reply.devices.push_back({0, std::string(16, 'd'), std::string(16, 'i'), path_, path_ + ".meta", 0, 1 << 20});
    return net::map_pool({}, reply);
  }

  temp_folder folder_;
  std::string path_ = folder_ / "pool";
};

TEST_F(MapPool, ChunksArePublishedAsThePoolNeedsIt) {
  auto hardware = map(cxl::coherence::hardware);
  ASSERT_TRUE(hardware);
  EXPECT_TRUE(dynamic_cast<const cxl::hardware_visibility*>((*hardware)->visible.get()));
#if defined(__x86_64__) || defined(__aarch64__)
  auto software = map(cxl::coherence::software);
  ASSERT_TRUE(software);
  EXPECT_TRUE(dynamic_cast<const cxl::software_visibility*>((*software)->visible.get()));
#else
  EXPECT_EQ(map(cxl::coherence::software).code(), ec::invalid) << "rather than wrong bytes";
#endif
}

TEST_F(MapPool, TheLongestFittingPathOfTheMapIsTaken) {
  client_options o;
  o.path_map = {{"/pools", "/mnt"}, {"/pools/a/", "/a/"}, {"/pools/b.data", "/b"}};
  EXPECT_EQ(net::local_path(o, "/pools/c/pool"), "/mnt/c/pool");
  EXPECT_EQ(net::local_path(o, "/pools/a/pool"), "/a/pool");
  EXPECT_EQ(net::local_path(o, "/pools/b.data"), "/b");
  EXPECT_EQ(net::local_path(o, "/pools/b.data2"), "/mnt/b.data2") << "a name's head is no folder";
  EXPECT_EQ(net::local_path(o, "/poolside/x"), "/poolside/x");
}

TEST_F(MapPool, SlashesAtTheEndOfAMapsPathsDoNotMatter) {
  client_options o;
  o.path_map = {{"/dev/shm/pools", "/mnt/pools"}, {"/dev/shm/pools/b", "/data/b/"}};
  EXPECT_EQ(net::local_path(o, "/dev/shm/pools/a"), "/mnt/pools/a");
  EXPECT_EQ(net::local_path(o, "/dev/shm/pools/b"), "/data/b");
  EXPECT_EQ(net::local_path(o, "/dev/shm/pools/b/0"), "/data/b/0");
  EXPECT_EQ(net::local_path(o, "/dev/shm/pools-of-others"), "/dev/shm/pools-of-others");
  o.path_map = {{"/", "/host"}};
  EXPECT_EQ(net::local_path(o, "/dev/dax0.0"), "/host/dev/dax0.0");
}

using Client = client_fixture;

TEST_F(Client, PoolAndLockAreFoundThroughTheMap) {
  temp_folder elsewhere;
  auto link = elsewhere / "mounted";
  std::filesystem::create_directory_symlink(pool().folder(), link);
  // Where marud has them nobody sees them: only the map leads there.
  pool().told_folder = "/nowhere";
  auto o = options();
  o.timeout = 500ms;
  EXPECT_EQ(client::open(o).code(), ec::io);
  o.timeout = 5s;
  o.path_map = {{"/nowhere", link}};
  auto c = must_open(o);
  ASSERT_TRUE(c);
  EXPECT_EQ(c->info().pool_path, link + "/pool");
  EXPECT_TRUE(c->store("a", bytes_of("abc")));
}

TEST_F(Client, AVisibilityThatNobodyKnowsIsRefused) {
  pool().visibility = 2;
  auto o = options();
  o.timeout = 200ms;
  EXPECT_EQ(client::open(o).code(), ec::corrupt);
}

}  // namespace
}  // namespace maru::test
