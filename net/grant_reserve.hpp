// The pages granted to a client's session, and what each is used for. Plain bookkeeping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/types.hpp"

namespace maru::net {

// Every granted page is in one of four states: idle (in reserve), out (a page_buffer has it), in doubt (its commit was sent and
// no answer came: it must not be written again before the outcome is known), or aside (this process cannot use it any more).
// Concurrency: none of its own; the client guards it.
class grant_reserve {
public:
  // New grants, idle. One that is known already is ignored; a page of an older generation is no longer ours as that.
  void add(std::span<const page_grant> grants);

  // `n` idle pages become out; all or none. The page that came back last goes first: it is warm.
  std::optional<std::vector<page_grant>> take(std::size_t n);
  // The same for one page.
  std::optional<page_grant> take_one();

  // These tell whether the page was held (in the state named).
  bool put_back(const page_grant& grant);   // out or in doubt -> idle
  bool doubt(const page_grant& grant);      // out -> in doubt
  bool set_aside(const page_grant& grant);  // out -> aside
  bool forget(const page_grant& grant);     // any -> no longer ours
  bool holds(const page_grant& grant) const;
  bool doubtful(const page_grant& grant) const;

  // Up to `n` pages, aside ones first and then idle ones, which are no longer ours: to be given back.
  std::vector<page_grant> recall(std::size_t n);
  // Pages that are out or in doubt, by region; regions without any are left out.
  using use_by_region = std::unordered_map<region_id, std::uint64_t>;
  use_by_region uses() const;
  // Everything held, in no particular order.
  std::vector<page_grant> held() const;
  void clear();

  std::size_t idle() const { return idle_.size(); }
  std::size_t in_doubt() const { return in_doubt_; }

private:
  enum class use : std::uint8_t { idle, out, doubt, aside };
  struct entry {
    generation gen;
    use state;
  };
  const entry* find(const page_grant& grant) const;
  entry* find(const page_grant& grant);

  using page_map = std::unordered_map<page_ref, entry>;
  page_map pages_;
  // In pages_, whose elements do not move.
  std::vector<page_map::value_type*> idle_, aside_;
  std::size_t in_doubt_ = 0;
};

}  // namespace maru::net
