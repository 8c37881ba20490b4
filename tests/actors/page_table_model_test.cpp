// Goal: as page_table_test, for whatever comes after whatever. Method: random operations beside a model that keeps one
// state per page and one owner per extent, and tries every place that there is.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "actors/page_table.hpp"
#include "tests/actors/samples.hpp"

namespace maru::actors {
namespace {

using bounds::MiB;
using test::page_at;

constexpr std::uint64_t extent = 2 * MiB;

cxl::region_row row_of(std::uint32_t id, std::uint64_t offset, std::uint64_t length, std::uint64_t page_bytes) {
  return {region_id{id}, 0, offset, length, page_bytes};
}

class page_table_against_model : public ::testing::TestWithParam<int> {
protected:
  static constexpr std::uint64_t device = 23 * MiB + 512 * 1024;  // the last extent is short
  static constexpr std::uint64_t sizes[] = {512 * 1024, MiB, 3 * MiB, 5 * MiB};
  struct region {
    cxl::region_row row;
    std::vector<page_state> pages;
    bool open = false, draining = false;
    std::uint64_t first() const { return row.offset / extent; }
    std::uint64_t end() const { return (row.offset + row.length + extent - 1) / extent; }
    std::uint64_t count(page_state s) const {
      return static_cast<std::uint64_t>(std::count(pages.begin(), pages.end(), s));
    }
  };

  std::uint64_t size() { return sizes[random.below(4)]; }
  region* any_region() {
    if (regions.empty())
      return nullptr;
    auto at = regions.begin();
    std::advance(at, static_cast<long>(random.below(regions.size())));
    return &at->second;
  }
  const region* owner_of(std::uint64_t e) const {
    for (const auto& [id, r] : regions)
      if (e >= r.first() && e < r.end())
        return &r;
    return nullptr;
  }
  static std::uint64_t extents() { return (device + extent - 1) / extent; }
  static std::uint64_t window_bytes(std::uint64_t first, std::uint64_t n) {
    return std::min((first + n) * extent, device) - first * extent;
  }
  void add();
  void move_one();
  void step();
  void compare();
  std::optional<std::uint64_t> cheapest_cost(std::uint64_t page_bytes) const;
  void check_windows();

  test::random_source random{static_cast<std::uint64_t>(GetParam())};
  page_table real{device, extent};
  std::map<std::uint32_t, region> regions;
  std::uint32_t next_id = 1;
};

void page_table_against_model::add() {
  auto page_bytes = size();
  auto wanted = (page_bytes + extent - 1) / extent;
  bool possible = false;
  for (std::uint64_t first = 0; first + wanted <= extents(); ++first) {
    bool free = window_bytes(first, wanted) >= page_bytes;
    for (auto e = first; free && e < first + wanted; ++e)
      free = owner_of(e) == nullptr;
    possible |= free;
  }
  auto place = real.find_place(page_bytes);
  ASSERT_EQ(place.has_value(), possible);
  if (!place)
    return;
  ASSERT_EQ(place->length, window_bytes(place->offset / extent, wanted));
  auto id = next_id++;
  region r{row_of(id, place->offset, place->length, page_bytes), {}, false, false};
  for (auto e = r.first(); e < r.end(); ++e)
    ASSERT_EQ(owner_of(e), nullptr);
  ASSERT_TRUE(real.add_region(r.row));
  r.pages.assign(r.row.page_count(), page_state::free);
  if (random.chance(30))
    for (std::uint32_t i = 0; i < r.pages.size(); ++i)
      if (random.chance(50)) {
        r.pages[i] = static_cast<page_state>(random.below(5));
        real.restore(page_at(id, i), r.pages[i]);
      }
  regions[id] = r;
}

void page_table_against_model::move_one() {
  auto* r = any_region();
  if (!r)
    return;
  auto i = random.below(r->pages.size());
  auto from = random.chance(80) ? r->pages[i] : static_cast<page_state>(random.below(5));
  auto to = static_cast<page_state>(random.below(5));
  auto legal = from == r->pages[i] && from != page_state::free && from != to;
  ASSERT_EQ(real.move(page_at(value_of(r->row.id), static_cast<std::uint32_t>(i)), from, to),
            legal ? ec::ok : ec::invalid);
  if (legal)
    r->pages[i] = to;
}

void page_table_against_model::step() {
  switch (random.below(10)) {
    case 0: ASSERT_NO_FATAL_FAILURE(add()); break;
    case 1:
      if (auto* r = any_region()) {
        real.open_region(r->row.id);
        r->open = true;
      }
      break;
    case 2:
      if (auto* r = any_region()) {
        r->draining = random.chance(40);
        real.set_draining(r->row.id, r->draining);
      }
      break;
    case 3:
      if (auto* r = any_region()) {
        bool empty = r->count(page_state::free) == r->pages.size();
        ASSERT_EQ(bool{real.remove_region(r->row.id)}, empty);
        if (empty)
          regions.erase(value_of(r->row.id));
      }
      break;
    case 4:
    case 5: {
      auto page_bytes = size();
      auto count = random.below(6);
      auto free = real.free_pages(page_bytes);
      auto pages = real.grant(page_bytes, count);
      ASSERT_EQ(pages.size(), std::min<std::uint64_t>(count, free));
      for (auto page : pages) {
        auto& r = regions.at(value_of(page.region));
        auto& state = r.pages.at(value_of(page.page));
        ASSERT_TRUE(r.open && !r.draining && r.row.page_bytes == page_bytes);
        ASSERT_EQ(state, page_state::free);
        state = page_state::granted;
      }
      break;
    }
    default: ASSERT_NO_FATAL_FAILURE(move_one());
  }
}

void page_table_against_model::compare() {
  state_counts all, bytes;
  std::uint64_t assigned = 0;
  for (const auto& [id, r] : regions) {
    auto counts = real.counts_of(r.row.id);
    ASSERT_EQ(counts.total(), r.pages.size());
    for (auto s : {page_state::free, page_state::granted, page_state::committed, page_state::evicting,
                   page_state::quarantined}) {
      ASSERT_EQ(counts.of(s), r.count(s));
      all.of(s) += r.count(s);
      bytes.of(s) += r.count(s) * r.row.page_bytes;
    }
    for (std::uint32_t i = 0; i < r.pages.size(); ++i)
      ASSERT_EQ(*real.state_of(page_at(id, i)), r.pages[i]);
    ASSERT_EQ(*real.find(r.row.id), r.row);
    assigned += window_bytes(r.first(), r.end() - r.first());
  }
  ASSERT_EQ(real.rows().size(), regions.size());
  ASSERT_EQ(real.counts().total(), all.total());
  ASSERT_EQ(real.counts().committed, all.committed);
  ASSERT_EQ(real.bytes().total(), bytes.total());
  ASSERT_EQ(real.unassigned_bytes(), device - assigned);
  for (auto page_bytes : sizes) {
    std::uint64_t grantable = 0, total = 0;
    for (const auto& [id, r] : regions)
      if (r.row.page_bytes == page_bytes) {
        grantable += r.open && !r.draining ? r.count(page_state::free) : 0;
        total += r.pages.size();
      }
    ASSERT_EQ(real.free_pages(page_bytes), grantable);
    ASSERT_EQ(real.counts(page_bytes).total(), total);
    ASSERT_GE(real.capacity(page_bytes), total);
  }
}

// What the cheapest run of extents costs, found by trying them all.
std::optional<std::uint64_t> page_table_against_model::cheapest_cost(std::uint64_t page_bytes) const {
  auto wanted = (page_bytes + extent - 1) / extent;
  std::optional<std::uint64_t> best;
  for (std::uint64_t first = 0; first + wanted <= extents(); ++first) {
    std::set<const region*> inside;
    bool usable = window_bytes(first, wanted) >= page_bytes;
    std::uint64_t cost = 0;
    for (auto e = first; e < first + wanted; ++e)
      if (auto* r = owner_of(e))
        inside.insert(r);
    for (auto* r : inside) {
      usable &= r->open && !r->draining && r->row.page_bytes != page_bytes;
      usable &= r->count(page_state::free) + r->count(page_state::committed) == r->pages.size();
      cost += r->count(page_state::committed) * r->row.page_bytes;
    }
    if (usable && !inside.empty())
      best = std::min(best.value_or(cost), cost);
  }
  return best;
}

void page_table_against_model::check_windows() {
  for (auto page_bytes : sizes) {
    auto window = real.cheapest_window(page_bytes);
    auto expected = cheapest_cost(page_bytes);
    ASSERT_EQ(window.empty(), !expected);
    std::uint64_t cost = 0;
    for (auto id : window) {
      const auto& r = regions.at(value_of(id));
      cost += r.count(page_state::committed) * r.row.page_bytes;
    }
    ASSERT_EQ(cost, expected.value_or(0));
  }
}

TEST_P(page_table_against_model, RandomOperationsAgree) {
  for (int n = 0; n < 3000; ++n) {
    ASSERT_NO_FATAL_FAILURE(step()) << "step " << n;
    ASSERT_NO_FATAL_FAILURE(compare()) << "step " << n;
    if (n % 10 == 0) {
      ASSERT_NO_FATAL_FAILURE(check_windows()) << "step " << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, page_table_against_model, ::testing::Range(0, 6));

}  // namespace
}  // namespace maru::actors
