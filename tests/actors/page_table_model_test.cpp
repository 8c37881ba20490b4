// Goal: as page_table_test, for whatever comes after whatever. Method: random operations beside a model that keeps one
// state and one session per page and one owner per extent, and tries every place that there is.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/actors/page_table_fixture.hpp"

namespace maru::actors {
namespace {

using bounds::MiB;
using test::extent;
using test::page_at;
using test::row_of;

class page_table_against_model : public ::testing::TestWithParam<int> {
protected:
  static constexpr std::uint64_t device = 23 * MiB + 512 * 1024;  // the last extent is short
  static constexpr std::uint64_t sizes[] = {512 * 1024, MiB, 3 * MiB, 5 * MiB};
  struct region {
    cxl::region_row row;
    std::vector<page_state> pages;
    std::vector<session_id> owners;
    std::vector<bool> open;
    std::uint32_t border = 0;  // pages below are a session's where `assigned`
    bool assigned = false, draining = false;
    std::optional<page_table::step> opening;

    bool in(std::size_t page, page_part part) const {
      return part == page_part::all || (part == page_part::assigned) == (assigned && page < border);
    }
    std::uint64_t grantable(page_part part) const {
      std::uint64_t n = 0;
      for (std::size_t i = 0; i < pages.size() && !draining; ++i)
        n += open[i] && in(i, part) && pages[i] == page_state::free ? 1 : 0;
      return n;
    }
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
  page_part any_part() { return static_cast<page_part>(random.below(3)); }
  session_id any_session() { return session_id{1 + random.below(3)}; }
  void add();
  void open_one();
  void grant_some();
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
  auto bytes = page_bytes * (1 + random.below(4));
  auto wanted = (bytes + extent - 1) / extent;
  bool possible = false;
  for (std::uint64_t first = 0; first + wanted <= extents(); ++first) {
    bool free = window_bytes(first, wanted) >= bytes;
    for (auto e = first; free && e < first + wanted; ++e)
      free = owner_of(e) == nullptr;
    possible |= free;
  }
  auto place = real.find_place(bytes);
  ASSERT_EQ(place.has_value(), possible);
  if (!place)
    return;
  ASSERT_EQ(place->length, window_bytes(place->offset / extent, wanted));
  auto id = next_id++;
  region r;
  r.row = row_of(id, place->offset, place->length, page_bytes);
  for (auto e = r.first(); e < r.end(); ++e)
    ASSERT_EQ(owner_of(e), nullptr);
  ASSERT_TRUE(real.add_region(r.row));
  r.pages.assign(r.row.page_count(), page_state::free);
  r.owners.resize(r.pages.size());
  r.open.resize(r.pages.size());
  if (random.chance(50)) {
    r.border = static_cast<std::uint32_t>(1 + random.below(r.pages.size()));
    r.assigned = true;
    real.assign(r.row.id, r.border);
  }
  if (random.chance(30))
    for (std::uint32_t i = 0; i < r.pages.size(); ++i)
      if (random.chance(50)) {
        r.pages[i] = static_cast<page_state>(random.below(6));
        real.restore(page_at(id, i), r.pages[i]);
        r.owners[i] = any_session();
        real.restore_owner(page_at(id, i), r.owners[i]);
      }
  regions[id] = r;
}

void page_table_against_model::move_one() {
  auto* r = any_region();
  if (!r)
    return;
  auto i = random.below(r->pages.size());
  auto from = random.chance(80) ? r->pages[i] : static_cast<page_state>(random.below(6));
  auto to = static_cast<page_state>(random.below(6));
  auto legal = from == r->pages[i] && from != to && from != page_state::retired
               && (from != page_state::free || to == page_state::retired);
  ASSERT_EQ(real.move(page_at(value_of(r->row.id), static_cast<std::uint32_t>(i)), from, to),
            legal ? ec::ok : ec::invalid);
  if (legal)
    r->pages[i] = to;
}

void page_table_against_model::open_one() {
  auto* r = any_region();
  if (!r)
    return;
  if (r->opening) {
    bool ready = random.chance(80);
    real.end_step(*r->opening, ready);
    for (auto i = r->opening->first; ready && i < r->opening->first + r->opening->count; ++i)
      r->open[i] = true;
    r->opening.reset();
    return;
  }
  auto part = any_part();
  bool closed = false;
  for (std::size_t i = 0; i < r->pages.size() && !r->draining; ++i)
    closed |= !r->open[i] && r->in(i, part);
  auto next = real.next_step(r->row.id, part);
  ASSERT_EQ(next.has_value(), closed);
  if (!next)
    return;
  ASSERT_GT(next->count, 0u);
  ASSERT_EQ(next->offset, r->row.offset + next->first * r->row.page_bytes);
  ASSERT_EQ(next->length, next->count * r->row.page_bytes);
  ASSERT_LE(next->length, std::max(extent, r->row.page_bytes));
  for (auto i = next->first; i < next->first + next->count; ++i)
    ASSERT_TRUE(!r->open[i] && r->in(i, next->part));
  real.begin_step(*next);
  r->opening = next;
}

void page_table_against_model::grant_some() {
  auto page_bytes = size();
  auto part = any_part();
  auto count = random.below(6);
  auto who = any_session();
  auto* one = random.chance(30) ? any_region() : nullptr;
  auto free = one ? real.free_pages_in(one->row.id, part) : real.free_pages(page_bytes, part);
  auto granted = one ? real.grant_from(one->row.id, count, who, part) : real.grant(page_bytes, count, who, part);
  ASSERT_EQ(granted.size(), std::min<std::uint64_t>(count, free));
  for (auto page : granted) {
    auto& r = regions.at(value_of(page.region));
    auto i = value_of(page.page);
    ASSERT_TRUE(r.open.at(i) && !r.draining && r.in(i, part));
    ASSERT_TRUE(one ? &r == one : r.row.page_bytes == page_bytes);
    ASSERT_EQ(r.pages[i], page_state::free);
    r.pages[i] = page_state::granted;
    r.owners[i] = who;
  }
}

void page_table_against_model::step() {
  switch (random.below(12)) {
    case 0: ASSERT_NO_FATAL_FAILURE(add()); break;
    case 1:
    case 2: ASSERT_NO_FATAL_FAILURE(open_one()); break;
    case 3:
      if (auto* r = any_region()) {
        r->draining = random.chance(40);
        real.set_draining(r->row.id, r->draining);
      }
      break;
    case 4:
      if (auto* r = any_region()) {
        bool removable = r->count(page_state::free) == r->pages.size() && !r->opening;
        ASSERT_EQ(bool{real.remove_region(r->row.id)}, removable);
        if (removable)
          regions.erase(value_of(r->row.id));
      }
      break;
    case 5:
      if (auto* r = any_region(); r && random.chance(20)) {
        r->assigned = false;
        real.release(r->row.id);
      }
      break;
    case 6:
    case 7: ASSERT_NO_FATAL_FAILURE(grant_some()); break;
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
                   page_state::quarantined, page_state::retired}) {
      ASSERT_EQ(counts.of(s), r.count(s));
      all.of(s) += r.count(s);
      bytes.of(s) += r.count(s) * r.row.page_bytes;
    }
    std::map<session_id, page_use> uses;
    for (std::uint32_t i = 0; i < r.pages.size(); ++i) {
      ASSERT_EQ(*real.state_of(page_at(id, i)), r.pages[i]);
      uses[r.owners[i]].granted += r.pages[i] == page_state::granted ? 1 : 0;
      uses[r.owners[i]].committed += r.pages[i] == page_state::committed ? 1 : 0;
    }
    for (std::uint64_t who = 1; who <= 3; ++who)
      ASSERT_EQ(real.uses().of(session_id{who}, r.row.id), uses[session_id{who}]);
    ASSERT_EQ(real.opening(r.row.id), r.opening.has_value());
    ASSERT_EQ(*real.find(r.row.id), r.row);
    assigned += window_bytes(r.first(), r.end() - r.first());
  }
  ASSERT_EQ(real.rows().size(), regions.size());
  ASSERT_EQ(real.counts().total(), all.total());
  ASSERT_EQ(real.counts().committed, all.committed);
  ASSERT_EQ(real.bytes().total(), bytes.total());
  ASSERT_EQ(real.unassigned_bytes(), device - assigned);
  for (auto page_bytes : sizes) {
    std::uint64_t total = 0, usable = 0;
    for (const auto& [id, r] : regions) {
      total += r.row.page_bytes == page_bytes ? r.pages.size() : 0;
      usable += r.row.page_bytes == page_bytes ? r.pages.size() - r.count(page_state::retired) : 0;
    }
    for (auto part : {page_part::assigned, page_part::nobodys, page_part::all}) {
      std::uint64_t grantable = 0;
      for (const auto& [id, r] : regions)
        grantable += r.row.page_bytes == page_bytes ? r.grantable(part) : 0;
      ASSERT_EQ(real.free_pages(page_bytes, part), grantable);
    }
    ASSERT_EQ(real.counts(page_bytes).total(), total);
    ASSERT_GE(real.capacity(page_bytes), usable);
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
      usable &= !r->opening && !r->draining && r->row.page_bytes != page_bytes;
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
