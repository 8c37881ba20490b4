// Goal: a worker reads by itself only what the marud that it knows shows, and a start of another one takes no key away from
// it. Method: a metadata file of the test's own, written as marud writes it.
#include "net/local_pool.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include "cxl/layout.hpp"
#include "tests/cxl/session_file.hpp"

namespace maru::net {
namespace {

constexpr std::uint64_t data_bytes = 4 * bounds::MiB, slot_bytes = 4096, slot = 17, epoch = 3;
constexpr key_hash key{0x123456789abcdef0, 0xfedcba9876543210}, absent{key.low, key.high ^ (1ull << 40)};

struct marud_of_a_test : ::testing::Test {
  cxl::test::session_file file;
  std::string path = file.folder / "pool";
  std::unique_ptr<cxl::device> device;
  cxl::mapping memory;
  cxl::shared_index index;
  cxl::descriptor_table descriptors;
  uuid nonce = random_uuid();
  std::unique_ptr<cxl::held_pages> table = file.worker();

  marud_of_a_test() {
    auto bytes = cxl::metadata_bytes(data_bytes, slot_bytes);
    device = *cxl::open_device({.path = path + ".meta", .size = bytes, .create = true});
    memory = *device->map(0, bytes, cxl::access::read_write);
    index = {memory.bytes().subspan(cxl::index_offset(data_bytes, slot_bytes)), data_bytes / slot_bytes};
    descriptors = {memory.data() + cxl::descriptors_offset, data_bytes / slot_bytes};
    cxl::index_writer::clear(index, 1);
    cxl::descriptor d;
    d.state = cxl::page_state::committed;
    d.gen = 9;
    d.hash = key;
    d.length = 100;
    d.page = cxl::test::page(17);
    descriptors.write(slot, d);
    cxl::index_writer{index, 1}.publish(key, slot);
    cxl::index_writer::open(index, epoch, nonce);
  }

  result<std::shared_ptr<const local_pool>> open_as(const std::string& where, std::uint64_t bytes,
                                                    std::uint64_t slots_of, const uuid& told, std::uint64_t word) {
    net::device_row row{0, std::string(16, 'd'), std::string(16, 'i'), where, where + ".meta", 0, bytes};
    return local_pool::open(pool_devices{client_options{}}, std::span{&row, 1}, slots_of, told, word);
  }
  auto open() { return open_as(path, data_bytes, slot_bytes, nonce, epoch); }
  cxl::sight look(const local_pool& pool, const key_hash& hash) {
    location where;
    std::uint64_t at = 0;
    return pool.look(hash, where, at);
  }
  cxl::sight pin(const local_pool& pool, const key_hash& hash) {
    location where;
    local_pin pinned;
    return pool.pin(hash, false, *table, where, pinned);
  }
};

TEST_F(marud_of_a_test, ShowsItsKeysAndPinsThem) {
  auto pool = open();
  ASSERT_TRUE(pool) << to_string(pool.error());
  location where;
  local_pin pinned;
  EXPECT_EQ((*pool)->pin(key, true, *table, where, pinned), cxl::sight::hit);
  EXPECT_EQ(where, (location{cxl::test::page(17), 100, 9, 0}));
  EXPECT_EQ(pinned.slot, slot);
  EXPECT_TRUE(cxl::test::seen(file.reader(), where.page).by_view);
  EXPECT_EQ(look(**pool, absent), cxl::sight::miss);
  EXPECT_EQ(pin(**pool, absent), cxl::sight::miss);
}

TEST_F(marud_of_a_test, IsNotTakenForAnotherOne) {
  EXPECT_EQ(open_as(path, data_bytes, slot_bytes, random_uuid(), epoch).code(), ec::invalid);
  EXPECT_EQ(open_as(path, data_bytes, slot_bytes, nonce, epoch + 1).code(), ec::invalid);
  EXPECT_EQ(open_as(path, data_bytes, 1, nonce, epoch).code(), ec::invalid);
  EXPECT_EQ(open_as(path, 0, slot_bytes, nonce, epoch).code(), ec::invalid);
  EXPECT_FALSE(open_as(path, 1ull << 40, slot_bytes, nonce, epoch)) << "sizes of another pool";
  EXPECT_FALSE(open_as(path + "2", data_bytes, slot_bytes, nonce, epoch)) << "there is none";
}

TEST_F(marud_of_a_test, HasItsKeysAskedForWhenItIsGone) {
  auto pool = open();
  ASSERT_TRUE(pool);
  EXPECT_TRUE((*pool)->is_open());
  cxl::index_writer::close(index);
  EXPECT_FALSE((*pool)->is_open());
  cxl::index_writer::open(index, epoch + 1, nonce);
  EXPECT_FALSE((*pool)->is_open()) << "that is another one";
}

// A worker that stands still after it has seen the index open goes on with an index that the next start has emptied.
TEST_F(marud_of_a_test, TakesNoKeyAwayByTheStartOfTheNextOne) {
  auto pool = open();
  ASSERT_TRUE(pool && (*pool)->is_open());
  cxl::index_writer::close(index);
  cxl::index_writer::clear(index, 1);
  EXPECT_EQ(look(**pool, key), cxl::sight::unclear);
  EXPECT_EQ(pin(**pool, key), cxl::sight::unclear);
  cxl::index_writer::open(index, epoch + 1, random_uuid());
  EXPECT_EQ(look(**pool, key), cxl::sight::unclear);
  EXPECT_EQ(pin(**pool, key), cxl::sight::unclear);
}

TEST_F(marud_of_a_test, EvictsWhatWasNotPinnedBefore) {
  auto pool = open();
  ASSERT_TRUE(pool);
  auto at = slot;
  descriptors.announce_eviction({&at, 1});
  EXPECT_EQ(pin(**pool, key), cxl::sight::unclear);
  EXPECT_EQ(file.reader().all().size(), 0u);
  descriptors.set_state(slot, cxl::page_state::committed);
  EXPECT_EQ(pin(**pool, key), cxl::sight::hit);
}

TEST_F(marud_of_a_test, WhereTheIndexFailsMarudIsAsked) {
  auto pool = open();
  ASSERT_TRUE(pool);
  EXPECT_EQ(look(**pool, absent), cxl::sight::miss);
  ASSERT_EQ(::truncate((path + ".meta").c_str(), static_cast<off_t>(cxl::index_offset(data_bytes, slot_bytes) + 4096)),
            0);
  std::uint64_t met = 0;
  for (std::uint64_t i = 0; i < 1000 && met == 0; ++i) {
    auto seen = look(**pool, {i * 0x9e3779b97f4a7c15ull, i});
    met = cxl::faults_survived();
    EXPECT_TRUE(met == 0 || seen != cxl::sight::miss) << "zeros say nothing of a key";
  }
  ASSERT_EQ(met, 1u);
  EXPECT_NE(look(**pool, absent), cxl::sight::miss);
  EXPECT_FALSE((*pool)->is_open());
}

}  // namespace
}  // namespace maru::net
