// Goal: publish, acquire and copy reach every line of a range and no other, with each instruction that this CPU has, and
// leave the bytes right. Method: which lines are asked for is seen with instructions that only write down what they are
// asked; real ones are run over memory that ends, since a flush of memory that may not be read is a fault. A coherent
// machine hides whether they do anything: that the contract is kept where it matters is shown by
// tests/crash/shim_test.cpp.
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/bounds.hpp"
#include "cxl/visibility.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/random_run.hpp"

namespace maru::cxl {
namespace {

constexpr std::size_t page = 4096;

// -- what is asked for

// What was asked of made-up instructions, as {first byte, past the last}.
using range = std::pair<std::uintptr_t, std::uintptr_t>;
std::vector<range> written_back, dropped, copied;

range range_of(const std::byte* begin, const std::byte* end) {
  return {reinterpret_cast<std::uintptr_t>(begin), reinterpret_cast<std::uintptr_t>(end)};
}

cache_instructions that_write_down(std::size_t line_bytes) {
  written_back.clear();
  dropped.clear();
  copied.clear();
  auto copy = [](std::byte* to, const std::byte* from, std::size_t size) {
    copied.push_back(range_of(to, to + size));
    std::memcpy(to, from, size);
  };
  return {line_bytes,
          {{"", [](const std::byte* line, const std::byte* end) { written_back.push_back(range_of(line, end)); }}},
          {{"", [](const std::byte* line, const std::byte* end) { dropped.push_back(range_of(line, end)); }}},
          {{"", copy}}};
}

// The lines that ranges touch.
std::vector<std::uintptr_t> lines_of(const std::vector<range>& ranges, std::size_t line_bytes) {
  std::vector<std::uintptr_t> out;
  for (auto [begin, end] : ranges)
    for (auto line = begin - begin % line_bytes; begin < end && line < end; line += line_bytes)
      out.push_back(line);
  std::sort(out.begin(), out.end());
  return out;
}

// Line sizes of today's processors, and ranges that begin and end at lines, beside them and in the middle.
class EachRange : public ::testing::TestWithParam<std::size_t> {
protected:
  template <class F>
  void for_each(F check) {
    auto line = GetParam();
    for (std::size_t offset : {std::size_t{0}, std::size_t{1}, line / 2, line - 1, line, line + 1})
      for (std::size_t size :
           {std::size_t{0}, std::size_t{1}, line - 1, line, line + 1, 2 * line - 1, 2 * line, 5 * line + 3})
        check(std::span{memory_}.subspan(offset, size));
  }

  alignas(page) std::byte memory_[page] = {};
};

TEST_P(EachRange, IsPublishedAndAcquiredByWholeLines) {
  for_each([&](std::span<std::byte> bytes) {
    software_visibility v{that_write_down(GetParam())};
    auto wanted = lines_of({range_of(bytes.data(), bytes.data() + bytes.size())}, GetParam());
    v.publish(bytes);
    EXPECT_EQ(lines_of(written_back, GetParam()), wanted);
    EXPECT_TRUE(dropped.empty());
    v.acquire(bytes);
    EXPECT_EQ(lines_of(dropped, GetParam()), wanted);
    for (auto& [line, end] : written_back)
      EXPECT_EQ(line % GetParam(), 0u);
  });
}

TEST_P(EachRange, IsCopiedByWholeLinesAndItsEndsWrittenBack) {
  for_each([&](std::span<std::byte> to) {
    software_visibility v{that_write_down(GetParam())};
    std::vector<std::byte> from(to.size(), std::byte{7});
    v.copy(to, from);
    auto both = written_back;
    for (auto& [begin, end] : copied) {
      EXPECT_EQ(begin % GetParam(), 0u) << "cut lines are not for copying";
      EXPECT_EQ(end % GetParam(), 0u);
      both.push_back({begin, end});
    }
    EXPECT_EQ(lines_of(both, GetParam()), lines_of({range_of(to.data(), to.data() + to.size())}, GetParam()))
      << "each line is published, once";
    EXPECT_TRUE(std::equal(to.begin(), to.end(), from.begin()));
    EXPECT_EQ(static_cast<std::size_t>(std::count(std::begin(memory_), std::end(memory_), std::byte{7})), to.size());
    std::fill(to.begin(), to.end(), std::byte{0});
  });
}

INSTANTIATE_TEST_SUITE_P(LineBytes, EachRange, ::testing::Values(32, 64, 128, 256),
                         [](auto& size) { return "Of" + std::to_string(size.param); });

// -- real instructions

// Every instruction that publish, acquire and copy can be made of here.
std::vector<software_visibility> variants() {
  auto& have = cache_instructions::of_this_processor();
  std::vector<software_visibility> out;
  for (std::size_t i = 0; have && i < std::max({have->write_back.size(), have->drop.size(), have->copy.size()}); ++i) {
    auto nth = [i](auto& list) { return std::vector{list[i % list.size()]}; };
    out.emplace_back(cache_instructions{have->line_bytes, nth(have->write_back), nth(have->drop), nth(have->copy)});
  }
  return out;
}

class SoftwareVisibility : public ::testing::Test {
protected:
  // A page that can be used between two that cannot.
  void SetUp() override {
    if (!cache_instructions::of_this_processor())
      GTEST_SKIP() << "software visibility is there for x86-64 and Arm64 only";
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

// From every alignment to every alignment: the wide loads and stores must not mind.
TEST_F(SoftwareVisibility, CopiesTheBytesAndNoOther) {
  std::vector<std::byte> source(page);
  for (std::size_t i = 0; i < page; ++i)
    source[i] = static_cast<std::byte>(1 + i % 251);
  for (auto& v : variants())
    for (std::size_t from : {0, 1, 17, 63, 64})
      for (std::size_t to : {0, 1, 31, 63, 64, 100})
        for (std::size_t size : {0, 1, 63, 64, 65, 127, 128, 1000, 3900}) {
          std::fill(usable_.begin(), usable_.end(), std::byte{0});
          v.copy(usable_.subspan(to, size), std::span{source}.subspan(from, size));
          std::vector<std::byte> wanted(page);
          std::copy_n(source.begin() + static_cast<std::ptrdiff_t>(from), size,
                      wanted.begin() + static_cast<std::ptrdiff_t>(to));
          ASSERT_TRUE(std::equal(usable_.begin(), usable_.end(), wanted.begin()))
            << from << " to " << to << ", " << size;
        }
}

TEST_F(SoftwareVisibility, CopiesOfNothingTouchNothing) {
  for (auto& v : variants()) {
    v.copy({}, {});
    v.copy({usable_.data() - 1, 0}, {});
  }
}

TEST_F(SoftwareVisibility, TouchesNoLineBeyondTheRange) {
  std::vector<std::byte> source(page);
  for (auto& v : variants())
    for (std::size_t size : {std::size_t{1}, std::size_t{64}, page - 1, page})
      EXPECT_TRUE(survives([&] {
        v.publish(usable_.first(size));
        v.publish(usable_.last(size));
        v.publish({usable_.data() - 1, 0});
        v.acquire(usable_.first(size));
        v.acquire(usable_.last(size));
        v.acquire({usable_.data() - 1, 0});
        v.copy(usable_.first(size), std::span{source}.first(size));
        v.copy(usable_.last(size), std::span{source}.first(size));
      }))
        << size;
}

// The ranges end or begin with a single byte in a page that may not be touched.
TEST_F(SoftwareVisibility, ReachesEveryLineOfTheRange) {
  auto* end = usable_.data() + page;
  auto publishes = [](const software_visibility& v, std::span<const std::byte> bytes) {
    return survives([&] { v.publish(bytes); });
  };
#if defined(__aarch64__)
  if (survives([&] { asm volatile("dc cvac, %0" : : "r"(end) : "memory"); }))
    GTEST_SKIP() << "this emulator does not look at the addresses of cache instructions";
#endif
  for (auto& v : variants())
    for (std::span<const std::byte> bytes : {std::span<const std::byte>{end - 1, 2},
                                             {end - 63, 64},
                                             {end - 100, 101},
                                             {end - page, page + 1},
                                             {usable_.data() - 1, 2},
                                             {usable_.data() - 1, 1}}) {
      EXPECT_FALSE(publishes(v, bytes)) << bytes.size();
      EXPECT_FALSE(survives([&] { v.acquire(bytes); })) << bytes.size();
    }
}

TEST(CacheInstructions, AreThereForEachTask) {
  auto& have = cache_instructions::of_this_processor();
  if (!have)
    GTEST_SKIP() << "there are none for this architecture";
  EXPECT_FALSE(have->write_back.empty());
  EXPECT_FALSE(have->drop.empty());
  EXPECT_FALSE(have->copy.empty());
}

// Where it is known from elsewhere: scripts/test-arm knows the processors that it emulates.
TEST(CacheInstructions, KnowTheSizeOfALine) {
  auto& have = cache_instructions::of_this_processor();
  if (!have)
    GTEST_SKIP() << "there are none for this architecture";
  EXPECT_EQ(have->line_bytes, test::number_from_environment("MARU_LINE_BYTES", have->line_bytes));
  EXPECT_GE(have->line_bytes, 16u);
  EXPECT_EQ(have->line_bytes & (have->line_bytes - 1), 0u) << "a power of two";
}

TEST(Visibility, IsMadeForEachMode) {
  EXPECT_TRUE(make_visibility(coherence::hardware));
  auto software = make_visibility(coherence::software);
  EXPECT_EQ(software.code(), cache_instructions::of_this_processor() ? ec::ok : ec::invalid);
}

TEST(Visibility, OfHardwareCopies) {
  std::vector<std::byte> from(1000, std::byte{3}), to(1000);
  hardware_visibility{}.copy(to, from);
  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace maru::cxl
