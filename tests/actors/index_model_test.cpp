// Goal: as index_test, for whatever comes after whatever. Method: random operations beside a model of standard
// containers, compared after each step.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <unordered_map>

#include "actors/index.hpp"
#include "tests/actors/samples.hpp"

namespace maru::actors {
namespace {

using test::place_of;
using hashes = std::vector<key_hash>;
using pin_list = std::vector<pin_id>;

// The same promises, kept the slow and simple way.
class model {
public:
  struct entry {
    location where;
    std::uint64_t size = 0;
    std::uint32_t keys = 0, views = 0;  // pins
    bool evicting = false;
    bool pinned() const { return keys + views > 0; }
    page_grant page() const { return where.as_grant(); }
  };
  std::unordered_map<key_hash, entry> entries;
  std::unordered_map<page_grant, std::uint32_t> detached;
  std::map<std::uint64_t, std::list<key_hash>> recency;  // front: used last; only what may be evicted

  void forget(const key_hash& h) { recency[entries.at(h).size].remove(h); }
  void use(const key_hash& h) {
    forget(h);
    recency[entries.at(h).size].push_front(h);
  }
  bool hits(const key_hash& h) const {
    auto at = entries.find(h);
    return at != entries.end() && !at->second.evicting;
  }
  std::vector<net::found> lookup(const hashes& wanted, index::lookup_flags flags) {
    std::vector<net::found> out(wanted.size());
    hashes hit;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (hits(wanted[i])) {
        out[i] = {ec::ok, entries.at(wanted[i]).where};
        hit.push_back(wanted[i]);
      } else if (flags.prefix_stop) {
        break;
      }
    }
    std::reverse(hit.begin(), hit.end());
    for (const auto& h : hit) {
      auto& e = entries.at(h);
      e.keys += flags.takes == holding::pin ? 1 : 0;
      e.views += flags.takes == holding::view ? 1 : 0;
      if (e.pinned())
        forget(h);
      else
        use(h);
    }
    return out;
  }
  bool unpin(const pin_id& pin) {
    auto at = entries.find(pin.hash);
    if (at == entries.end() || (pin.by_view() && at->second.page() != pin.page)) {
      auto page = detached.find(pin.page);
      if (page == detached.end() || page->second == 0)
        return false;
      --page->second;
      return true;
    }
    auto& count = pin.by_view() ? at->second.views : at->second.keys;
    if (count == 0)
      return false;
    --count;
    if (!at->second.pinned() && !at->second.evicting)
      use(pin.hash);
    return true;
  }
  std::size_t unpin(const pin_list& wanted) {
    std::size_t strays = 0;
    for (auto pin = wanted.rbegin(); pin != wanted.rend(); ++pin)
      strays += unpin(*pin) ? 0 : 1;
    return strays;
  }
  ec pin_again(const pin_id& pin) {
    auto at = entries.find(pin.hash);
    bool on_entry = at != entries.end() && (!pin.by_view() || at->second.page() == pin.page);
    if (!on_entry) {
      auto page = detached.find(pin.page);
      if (page == detached.end())
        return ec::missing;
      ++page->second;
      return ec::ok;
    }
    auto& e = at->second;
    if (e.evicting && (!pin.by_view() || e.views == 0))
      return ec::missing;
    forget(pin.hash);
    ++(pin.by_view() ? e.views : e.keys);
    return ec::ok;
  }
  // True where views hold its page.
  bool drop(const key_hash& h) {
    const auto& e = entries.at(h);
    bool held = e.views > 0;
    if (held)
      detached[e.page()] = e.views;
    entries.erase(h);
    return held;
  }
  std::vector<page_grant> take_unheld() {
    std::vector<page_grant> out;
    for (const auto& [page, views] : detached)
      if (views == 0)
        out.push_back(page);
    for (const auto& page : out)
      detached.erase(page);
    return out;
  }
  void mark(const key_hash& h) {
    forget(h);
    entries.at(h).evicting = true;
  }
};

class index_against_model : public ::testing::TestWithParam<int> {
protected:
  static constexpr std::size_t capacity = 40, keys = 60;
  static constexpr std::uint64_t sizes[] = {4096, 65536};

  hashes batch() {
    hashes out(1 + random.below(6));
    for (auto& h : out)
      h = key();
    return out;
  }
  // Pins of all kinds, mostly such as are there.
  pin_id pin() {
    if (!want.detached.empty() && random.chance(30))
      return {key(), std::next(want.detached.begin(), random.below(want.detached.size()))->first};
    auto h = key();
    auto at = want.entries.find(h);
    if (at == want.entries.end() || random.chance(50))
      return {h, {}};
    return {h, at->second.page()};
  }
  pin_list some_pins() {
    pin_list out(1 + random.below(6));
    for (auto& p : out)
      p = pin();
    return out;
  }
  // Few buckets, so that chains grow.
  key_hash key() {
    auto k = random.below(keys);
    return {k % 7, k};
  }
  void step();
  void compare();

  test::random_source random{static_cast<std::uint64_t>(GetParam())};
  index real{capacity, "lru"};
  model want;
  std::uint32_t inserted = 0;
};

void index_against_model::step() {
  switch (random.below(10)) {
    case 0:
    case 1: {
      auto h = key();
      auto size = sizes[random.below(2)];
      auto where = place_of(inserted++);
      auto expected = want.entries.contains(h)          ? ec::exists
                      : want.entries.size() == capacity ? ec::out_of_memory
                                                        : ec::ok;
      ASSERT_EQ(real.insert(h, where, size), expected);
      if (expected != ec::ok)
        break;
      want.entries[h] = {where, size};
      want.use(h);
      break;
    }
    case 2:
    case 3: {
      auto b = batch();
      index::lookup_flags flags{static_cast<holding>(random.below(3)), random.chance(40)};
      ASSERT_EQ(real.lookup(b, flags), want.lookup(b, flags));
      break;
    }
    case 4: {
      auto b = some_pins();
      ASSERT_EQ(real.unpin(b), want.unpin(b));
      break;
    }
    case 5: {
      auto h = key();
      victim v;
      auto expected = !want.hits(h) ? ec::missing : want.entries.at(h).keys > 0 ? ec::pinned : ec::ok;
      ASSERT_EQ(real.mark(h, v), expected);
      if (expected != ec::ok)
        break;
      ASSERT_EQ(v.where, want.entries.at(h).where);
      ASSERT_EQ(v.viewed, want.entries.at(h).views > 0);
      want.mark(h);
      break;
    }
    case 6: {
      auto size = sizes[random.below(2)];
      for (const auto& v : real.mark_coldest(size, random.below(4))) {
        ASSERT_FALSE(want.recency[size].empty());
        ASSERT_EQ(v.hash, want.recency[size].back());
        want.mark(v.hash);
      }
      break;
    }
    case 7: {
      auto p = pin();
      ASSERT_EQ(real.pin_again(pin_list{p}), std::vector{want.pin_again(p)});
      break;
    }
    case 8: {
      auto got = real.take_unheld(), expected = want.take_unheld();
      ASSERT_TRUE(std::is_permutation(got.begin(), got.end(), expected.begin(), expected.end()));
      break;
    }
    default: {
      auto h = key();
      auto at = want.entries.find(h);
      if (at == want.entries.end() || !at->second.evicting)
        break;
      if (random.chance(60)) {
        ASSERT_EQ(real.drop(h), want.drop(h));
      } else {
        real.restore(h);
        at->second.evicting = false;
        if (!at->second.pinned())
          want.use(h);
      }
    }
  }
}

void index_against_model::compare() {
  std::size_t live = 0, evicting = 0;
  std::uint64_t pins = 0, bytes = 0;
  for (const auto& [h, e] : want.entries) {
    live += e.evicting ? 0 : 1;
    evicting += e.evicting ? 1 : 0;
    bytes += e.evicting ? 0 : e.where.length;
    pins += e.keys + e.views;
  }
  for (const auto& [page, views] : want.detached)
    pins += views;
  ASSERT_EQ(real.detached(), want.detached.size());
  ASSERT_EQ(real.size(), live);
  ASSERT_EQ(real.evicting(), evicting);
  ASSERT_EQ(real.pins(), pins);
  ASSERT_EQ(real.bytes(), bytes);
  for (std::size_t k = 0; k < keys; ++k) {
    key_hash h{k % 7, k};
    auto at = want.entries.find(h);
    auto found = real.find(h);
    ASSERT_EQ(found.has_value(), at != want.entries.end());
    ASSERT_EQ(real.contains(h), want.hits(h));
    if (!found)
      continue;
    ASSERT_EQ(found->where, at->second.where);
    ASSERT_EQ(found->pins, at->second.keys + at->second.views);
    ASSERT_EQ(found->evicting, at->second.evicting);
  }
  for (auto size : sizes) {
    const auto& known = want.recency[size];
    ASSERT_EQ(real.coldest(size), known.empty() ? std::nullopt : std::optional{want.entries.at(known.back()).where});
  }
}

TEST_P(index_against_model, RandomOperationsAgree) {
  for (int n = 0; n < 4000; ++n) {
    ASSERT_NO_FATAL_FAILURE(step()) << "step " << n;
    ASSERT_NO_FATAL_FAILURE(compare()) << "step " << n;
  }
  for (auto size : sizes) {  // the whole order at last, not only its end
    hashes gone;
    for (const auto& v : real.mark_coldest(size, capacity))
      gone.push_back(v.hash);
    std::reverse(gone.begin(), gone.end());
    EXPECT_EQ(gone, hashes(want.recency[size].begin(), want.recency[size].end()));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, index_against_model, ::testing::Range(0, 8));

}  // namespace
}  // namespace maru::actors
