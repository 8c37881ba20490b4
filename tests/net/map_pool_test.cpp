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
    reply.devices.push_back({std::string(16, 'd'), path_, 1 << 20, 4096});
    return net::map_pool({}, reply);
  }

  temp_folder folder_;
  std::string path_ = folder_ / "pool";
};

TEST_F(MapPool, ChunksArePublishedAsThePoolNeedsIt) {
  auto hardware = map(cxl::coherence::hardware);
  ASSERT_TRUE(hardware);
  EXPECT_TRUE(dynamic_cast<const cxl::hardware_visibility*>((*hardware)->visible.get()));
#if defined(__x86_64__)
  auto software = map(cxl::coherence::software);
  ASSERT_TRUE(software);
  EXPECT_TRUE(dynamic_cast<const cxl::software_visibility*>((*software)->visible.get()));
#else
  EXPECT_EQ(map(cxl::coherence::software).code(), ec::invalid) << "rather than wrong bytes";
#endif
}

using Client = client_fixture;

TEST_F(Client, AVisibilityThatNobodyKnowsIsRefused) {
  pool().visibility = 2;
  auto o = options();
  o.timeout = 200ms;
  EXPECT_EQ(client::open(o).code(), ec::corrupt);
}

}  // namespace
}  // namespace maru::test
