// Goal: lookups, pins and views do what net/client.hpp says, and nothing out of bounds is sent.
// Method: as client_test.cpp.
#include "base/bounds.hpp"
#include "tests/net/client_fixture.hpp"

namespace maru::test {
namespace {

using Client = client_fixture;

TEST_F(Client, LookupTellsLocationsAndMisses) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("aaa")));
  auto found = c->lookup(keys{"a", "b", "a"});
  ASSERT_TRUE(found);
  EXPECT_TRUE((*found)[0]);
  EXPECT_FALSE((*found)[1]);
  EXPECT_EQ((*found)[0], (*found)[2]);
  EXPECT_EQ(pool().pins(), 0u);
  EXPECT_EQ(*c->exists(keys{"a", "b"}), (std::vector<bool>{true, false}));
}

TEST_F(Client, PrefixStopAndPinTravelAsFlags) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("1")));
  ASSERT_TRUE(c->store("c", bytes_of("2")));
  auto found = c->lookup(keys{"a", "b", "c"}, {.pin = true, .prefix_stop = true});
  EXPECT_FALSE((*found)[2]);
  EXPECT_EQ(pool().pins(), 1u);
  EXPECT_EQ(*c->pin(keys{"a", "b", "c"}), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(*c->pin(keys{"a", "b", "c"}, true), (std::vector<bool>{true, false, false}));
  auto views = c->retrieve_batch(keys{"a", "b", "c"}, true);
  EXPECT_FALSE((*views)[2]);
  EXPECT_EQ(pool().last_flags(), (std::vector<std::uint8_t>{3, 1, 3, 6}));
}

TEST_F(Client, PinnedLocationsHaveBytes) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto reader = must_open();
  auto found = reader->lookup(keys{"a"}, {.pin = true});
  EXPECT_EQ(text_of(*reader->bytes(*(*found)[0])), "abc");
  location nowhere = *(*found)[0];
  nowhere.page.region = region_id{99};
  EXPECT_EQ(reader->bytes(nowhere).code(), ec::missing);
}

TEST_F(Client, UnpinEndsAsManyPinsAsThereWere) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  ASSERT_TRUE(c->pin(keys{"a", "a"}));
  EXPECT_EQ(pool().pins(), 2u);
  EXPECT_EQ(*c->unpin(keys{"a", "a", "a", "b"}), (std::vector<bool>{true, true, false, false}));
  EXPECT_EQ(pool().pins(), 0u);
}

TEST_F(Client, UnpinLaterEndsThePinsOfManyKeysInFewMessages) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  ASSERT_TRUE(c->pin(keys{"a", "a", "a"}));
  pool().set(op::unpin, treat::hold);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(c->unpin_later(keys{"a"}));
  EXPECT_EQ(*c->unpin(keys{"a"}), (std::vector<bool>{false})) << "a pin may be ended once";
  EXPECT_TRUE(soon([this] { return pool().count(op::unpin) > 0; }));
  pool().set(op::unpin, treat::answer);
  marud.release();
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
  EXPECT_LE(pool().count(op::unpin), 2);
}

TEST_F(Client, UnpinByKeyLeavesAViewsPin) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto v = c->retrieve("a");
  EXPECT_EQ(*c->unpin(keys{"a"}), std::vector<bool>{false});
  EXPECT_EQ(pool().pins(), 1u);
}

TEST_F(Client, AViewsPinEndsWithIt) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  {
    auto v = c->retrieve("a");
    auto moved = std::move(*v);
    EXPECT_TRUE(moved);
    EXPECT_FALSE(*v);
    EXPECT_EQ(pool().pins(), 1u);
  }
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
}

TEST_F(Client, ManyViewsAreUnpinnedInFewMessages) {
  auto o = options();
  o.grant_batch = 100;
  auto c = must_open(o);
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i)
    names.push_back("key" + std::to_string(i));
  for (auto& n : names)
    ASSERT_TRUE(c->store(n, bytes_of(n)));
  auto views = c->retrieve_batch(keys(names.begin(), names.end()));
  ASSERT_TRUE(views);
  EXPECT_EQ(pool().pins(), 100u);
  pool().set(op::unpin, treat::hold);
  views->clear();
  EXPECT_TRUE(soon([this] { return pool().count(op::unpin) == 1; }));
  pool().set(op::unpin, treat::answer);
  marud.release();
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
  EXPECT_LE(pool().count(op::unpin), 2);
}

TEST_F(Client, AViewDoesNotKeepItsKeyFromBeingRemovedOrStoredAgain) {
  auto c = must_open();
  ASSERT_TRUE(c->store("a", bytes_of("abc")));
  auto old = c->retrieve("a");
  ASSERT_TRUE(old);
  EXPECT_EQ((*c->remove(keys{"a"}))[0], ec::ok);
  EXPECT_EQ(c->retrieve("a").code(), ec::missing);
  ASSERT_TRUE(c->store("a", bytes_of("new")));
  auto next = c->retrieve("a");
  EXPECT_EQ(text_of(old->bytes()), "abc");
  EXPECT_EQ(text_of(next->bytes()), "new");
  EXPECT_EQ(*c->unpin(keys{"a"}), std::vector<bool>{false}) << "an unpin by key ends no view's";
  EXPECT_EQ(pool().pins(), 2u);
  old = error{};
  EXPECT_TRUE(soon([this] { return pool().pins() == 1; }));
  next = error{};
  EXPECT_TRUE(soon([this] { return pool().pins() == 0; }));
}

TEST_F(Client, RefusesKeysAndBatchesOutOfBoundsWithoutSending) {
  auto c = must_open();
  std::string big(bounds::key_bytes_max + 1, 'k'), most(bounds::key_bytes_max, 'k');
  keys many(bounds::batch_items_max + 1, "k");
  EXPECT_EQ(c->lookup(keys{"a", ""}).code(), ec::invalid);
  EXPECT_EQ(c->lookup(keys{big}).code(), ec::too_large);
  EXPECT_EQ(c->lookup(many).code(), ec::too_large);
  EXPECT_EQ(c->exists(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->exists(many).code(), ec::too_large);
  EXPECT_EQ(c->pin(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->pin(many).code(), ec::too_large);
  EXPECT_EQ(c->unpin(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->unpin(many).code(), ec::too_large);
  EXPECT_EQ(c->remove(keys{""}).code(), ec::invalid);
  EXPECT_EQ(c->remove(many).code(), ec::too_large);
  EXPECT_EQ(c->retrieve("").code(), ec::invalid);
  EXPECT_EQ(c->retrieve_batch(many).code(), ec::too_large);
  EXPECT_EQ(c->store("", bytes_of("x")).code(), ec::invalid);
  EXPECT_EQ(c->store(big, bytes_of("x")).code(), ec::too_large);
  for (auto what : {op::lookup, op::exists, op::unpin, op::remove, op::commit})
    EXPECT_EQ(pool().count(what), 0);
  EXPECT_TRUE(c->lookup(keys{most}));
  many.pop_back();
  EXPECT_EQ(c->lookup(many)->size(), bounds::batch_items_max);
  EXPECT_EQ(c->lookup(keys{})->size(), 0u);
}

TEST_F(Client, FuturesAreReadyWhenTheAnswerIsThere) {
  auto c = must_open();
  pool().set(op::exists, treat::hold);
  auto first = c->exists_async(keys{"a"});
  auto second = c->exists_async(keys{"a", "b"});
  EXPECT_TRUE(soon([this] { return pool().count(op::exists) == 2; })) << "both are under way at once";
  EXPECT_FALSE(first.ready());
  marud.release();
  EXPECT_TRUE(soon([&] { return first.ready() && second.ready(); }));
  EXPECT_EQ(second.get()->size(), 2u);
  EXPECT_EQ(first.get()->size(), 1u);
  EXPECT_EQ(future<std::vector<bool>>{}.get().code(), ec::invalid);
}

}  // namespace
}  // namespace maru::test
