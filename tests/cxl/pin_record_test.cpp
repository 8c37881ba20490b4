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

key_hash hash(std::uint64_t n) { return {n, ~n}; }

class PinRecord : public ::testing::Test {
protected:
  PinRecord() { std::ofstream{path}; }
  std::vector<key_hash> read() const {
    auto out = read_pin_record(path);
    std::sort(out.begin(), out.end());
    return out;
  }
  maru::test::temp_folder folder;
  std::string path = folder / "1.lock";
};

TEST_F(PinRecord, HoldsWhatWasAddedAndNotDropped) {
  auto r = pin_record::open(path);
  ASSERT_TRUE(r);
  EXPECT_TRUE(read().empty());
  auto one = (*r)->add(hash(1));
  (*r)->add(hash(2));
  EXPECT_EQ(read(), (std::vector{hash(1), hash(2)}));
  (*r)->drop(one);
  EXPECT_EQ(read(), std::vector{hash(2)});
  EXPECT_EQ((*r)->add(hash(3)), one) << "slots are used again";
}

TEST_F(PinRecord, StaysWhenItsWriterGoesAndBeginsEmptyForTheNext) {
  {
    auto r = pin_record::open(path);
    (*r)->add(hash(1));
  }
  EXPECT_EQ(read(), std::vector{hash(1)});
  auto next = pin_record::open(path);
  EXPECT_TRUE(read().empty());
}

TEST_F(PinRecord, TakesAsManyKeysAsASessionMayPin) {
  auto r = pin_record::open(path);
  for (std::uint64_t n = 1; n <= bounds::pins_max; ++n)
    ASSERT_NE((*r)->add(hash(n)), pin_record::none);
  EXPECT_EQ((*r)->add(hash(0)), pin_record::none);
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
  for (std::uint64_t n = 1; n <= 4096; ++n)
    EXPECT_NE((*r)->add(hash(n)), pin_record::none);
  auto beyond = (*r)->add(hash(5000));
  EXPECT_EQ(beyond, pin_record::none);
  (*r)->drop(beyond);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_NE((*r)->add(hash(5001)), pin_record::none) << "there is room again";
}

TEST_F(PinRecord, AFileThatIsNotThereIsAnErrorToItsWriterAndEmptyToItsReader) {
  EXPECT_EQ(pin_record::open(folder / "none").code(), ec::io);
  EXPECT_TRUE(read_pin_record(folder / "none").empty());
}

TEST_F(PinRecord, AnEndThatIsNoWholeSlotIsPassedOver) {
  {
    std::ofstream out{path, std::ios::binary};
    auto h = hash(5);
    out.write(reinterpret_cast<const char*>(&h), sizeof h);
    out.write("rest", 4);
  }
  EXPECT_EQ(read(), std::vector{hash(5)});
}

}  // namespace
}  // namespace maru::cxl
