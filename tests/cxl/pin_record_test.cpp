// Goal: what a worker has pinned can be read from its session's file at every instant, also after it is killed.
// Method: by example, up to the bounds.
#include "cxl/pin_record.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_folder.hpp"

namespace maru::cxl {
namespace {

pin_id key(std::uint64_t n) { return {{n, ~n}, {}}; }
pin_id view(std::uint64_t n) { return {{n, ~n}, {{region_id{7}, page_index{9}}, n}}; }

class PinRecord : public ::testing::Test {
protected:
  PinRecord() { std::ofstream{path}; }
  std::vector<pin_id> read() const {
    auto out = read_pin_record(path);
    std::sort(out.begin(), out.end(), [](const pin_id& a, const pin_id& b) { return a.hash < b.hash; });
    return out;
  }
  maru::test::temp_folder folder;
  std::string path = folder / "1.lock";
};

TEST_F(PinRecord, HoldsWhatWasAddedAndNotDropped) {
  auto r = pin_record::open(path);
  ASSERT_TRUE(r);
  EXPECT_TRUE(read().empty());
  auto one = (*r)->add(key(1));
  (*r)->add(view(2));
  EXPECT_EQ(read(), (std::vector{key(1), view(2)}));
  (*r)->drop(one);
  EXPECT_EQ(read(), std::vector{view(2)});
  EXPECT_EQ((*r)->add(key(3)), one) << "slots are used again";
}

TEST_F(PinRecord, StaysWhenItsWriterGoesAndBeginsEmptyForTheNext) {
  {
    auto r = pin_record::open(path);
    (*r)->add(key(1));
  }
  EXPECT_EQ(read(), std::vector{key(1)});
  auto next = pin_record::open(path);
  EXPECT_TRUE(read().empty());
}

TEST_F(PinRecord, TakesAsManyKeysAsASessionMayPin) {
  auto r = pin_record::open(path);
  for (std::uint64_t n = 1; n <= bounds::pins_max; ++n)
    ASSERT_NE((*r)->add(key(n)), pin_record::none);
  EXPECT_EQ((*r)->add(key(bounds::pins_max + 1)), pin_record::none);
  EXPECT_EQ(read().size(), bounds::pins_max);
}

TEST_F(PinRecord, SaysWhenThereIsNoStorage) {
  auto r = pin_record::open(path);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 65536;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  for (std::uint64_t n = 1; n <= 2048; ++n)
    EXPECT_NE((*r)->add(key(n)), pin_record::none);
  auto beyond = (*r)->add(key(5000));
  EXPECT_EQ(beyond, pin_record::none);
  (*r)->drop(beyond);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_NE((*r)->add(key(5001)), pin_record::none) << "there is room again";
}

TEST_F(PinRecord, AFileThatIsNotThereIsAnErrorToItsWriterAndEmptyToItsReader) {
  EXPECT_EQ(pin_record::open(folder / "none").code(), ec::io);
  EXPECT_TRUE(read_pin_record(folder / "none").empty());
}

TEST_F(PinRecord, AnEndThatIsNoWholeSlotIsPassedOver) {
  {
    std::ofstream out{path, std::ios::binary};
    const std::uint64_t slots[2][4] = {{5, ~5ull, 0, 0}, {6, 6, 6, 6}};
    out.write(reinterpret_cast<const char*>(slots), sizeof slots - 1);
  }
  EXPECT_EQ(read(), std::vector{key(5)});
}

}  // namespace
}  // namespace maru::cxl
