// Goal: publish and acquire reach every line of a range and no other, with each instruction that this CPU has, and
// leave the bytes as they are. Method: real instructions. A coherent machine hides whether they do anything: that the
// contract is kept where it matters is shown by tests/crash/shim_test.cpp. What can be seen here is which lines are
// touched, since a flush of memory that may not be read is a fault.
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/bounds.hpp"
#include "cxl/visibility.hpp"
#include "tests/support/child_process.hpp"

namespace maru::cxl {
namespace {

constexpr std::size_t page = 4096;

// Every instruction that publish and acquire can be made of here.
std::vector<software_visibility> variants() {
  auto have = software_visibility::of_this_cpu();
  std::vector<software_visibility> out;
  if (!have)
    return out;
  out.emplace_back(software_visibility::instructions{});
  if (have->clflushopt)
    out.emplace_back(software_visibility::instructions{.clflushopt = true});
  if (have->clwb)
    out.emplace_back(*have);
  return out;
}

class SoftwareVisibility : public ::testing::Test {
protected:
  // A page that can be used between two that cannot.
  void SetUp() override {
    if (!software_visibility::of_this_cpu())
      GTEST_SKIP() << "software visibility is there for x86-64 only";
    void* at = ::mmap(nullptr, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    before_ = static_cast<std::byte*>(at);
    ASSERT_EQ(::mprotect(before_ + page, page, PROT_READ | PROT_WRITE), 0);
    usable_ = {before_ + page, page};
  }
  void TearDown() override {
    if (before_ != nullptr)
      ::munmap(before_, 3 * page);
  }
  template <class F>
  static bool survives(F body) {
    return test::in_child([&] {
             body();
             return 0;
           })
           == 0;
  }

  std::byte* before_ = nullptr;
  std::span<std::byte> usable_;
};

TEST_F(SoftwareVisibility, LeavesTheBytesAsTheyAre) {
  for (auto& v : variants())
    for (std::size_t offset : {0, 1, 63, 64, 100})
      for (std::size_t size : {0, 1, 63, 64, 65, 1000, 3900}) {
        for (std::size_t i = 0; i < page; ++i)
          usable_[i] = static_cast<std::byte>(i * 7 + offset);
        std::vector<std::byte> wanted{usable_.begin(), usable_.end()};
        v.publish(usable_.subspan(offset, size));
        v.acquire(usable_.subspan(offset, size));
        EXPECT_TRUE(std::equal(usable_.begin(), usable_.end(), wanted.begin())) << offset << " + " << size;
      }
}

TEST_F(SoftwareVisibility, TouchesNoLineBeyondTheRange) {
  for (auto& v : variants())
    for (std::size_t size : {std::size_t{1}, std::size_t{64}, page})
      EXPECT_TRUE(survives([&] {
        v.publish(usable_.first(size));
        v.publish(usable_.last(size));
        v.publish({usable_.data() - 1, 0});
        v.acquire(usable_.first(size));
        v.acquire(usable_.last(size));
        v.acquire({usable_.data() - 1, 0});
      }))
        << size;
}

// The ranges end or begin with a single byte in a page that may not be touched.
TEST_F(SoftwareVisibility, ReachesEveryLineOfTheRange) {
  auto* end = usable_.data() + page;
  for (auto& v : variants())
    for (std::span<const std::byte> bytes : {std::span<const std::byte>{end - 1, 2},
                                             {end - 63, 64},
                                             {end - 100, 101},
                                             {end - page, page + 1},
                                             {usable_.data() - 1, 2},
                                             {usable_.data() - 1, 1}}) {
      EXPECT_FALSE(survives([&] { v.publish(bytes); })) << bytes.size();
      EXPECT_FALSE(survives([&] { v.acquire(bytes); })) << bytes.size();
    }
}

TEST(Visibility, IsMadeForEachMode) {
  EXPECT_TRUE(make_visibility(coherence::hardware));
  auto software = make_visibility(coherence::software);
  EXPECT_EQ(software.code(), software_visibility::of_this_cpu() ? ec::ok : ec::invalid);
}

}  // namespace
}  // namespace maru::cxl
